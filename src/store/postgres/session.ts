import type { QueryResult } from "pg";
import type { Changes } from "../../domain/plan/changes.ts";
import type { Statement, Value } from "./statement.ts";

/** Runs prepared statements. */
export type Session = {
  readonly all: <Row>(statement: Statement<Row>, ...values: readonly Value[]) => Promise<Row[]>;
  /** The first row. */
  readonly get: <Row>(statement: Statement<Row>, ...values: readonly Value[]) => Promise<Row | undefined>;
  /** Gives the count of affected rows. */
  readonly run: (statement: Statement, ...values: readonly Value[]) => Promise<number>;
  /** Records the changes of a transaction for the observer of commits. */
  readonly note?: (changes: Changes) => void;
};

/** Sends one statement and gives `take` of its result. */
export type Submit = <Taken>(
  statement: Statement,
  values: readonly Value[],
  take: (result: QueryResult) => Taken,
) => Promise<Taken>;

/** A session that sends its statements by `submit`. */
export function createSession(submit: Submit): Session {
  return {
    all: (statement, ...values) => submit(statement, values, ({ rows }) => rows),
    get: (statement, ...values) => submit(statement, values, ({ rows }) => rows[0]),
    run: (statement, ...values) => submit(statement, values, ({ rowCount }) => rowCount ?? 0),
  };
}
