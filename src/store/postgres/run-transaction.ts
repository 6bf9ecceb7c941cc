import type { ClientBase, QueryConfig, QueryResult } from "pg";
import { createSession, type Session } from "./session.ts";

/**
 * The outcome of work in a database: its result, an error of the database or the network, or what
 * the work threw.
 */
export type Outcome<Result> =
  | { readonly kind: "done"; readonly result: Result }
  | { readonly kind: "failed"; readonly error: unknown }
  | { readonly kind: "thrown"; readonly error: unknown };

/**
 * One transaction on a connection that pipelines: sends BEGIN together with the first statements of
 * `work`, and COMMIT together with those that `work` did not await. A statement that fails fails
 * the transaction, also one that `work` did not await. Rolls back when `work` throws or a statement
 * failed. Rejects when the connection is lost: after COMMIT was sent, the outcome is then unknown.
 */
export async function runTransaction<Result>(
  client: ClientBase,
  begin: string,
  work: (session: Session) => Promise<Result>,
): Promise<Outcome<Result>> {
  let isOver = false;
  let failure: { readonly error: unknown } | undefined;

  const send = (query: QueryConfig): Promise<QueryResult> =>
    new Promise((resolve, reject) => {
      client.query(query, (error: Error | null, result) => {
        if (error === null || error === undefined) return resolve(result);
        // Later statements fail because of this one.
        failure ??= { error };
        reject(error);
      });
    });

  /** The end of the transaction checks every statement, so that callers need not await them. */
  const quietly = <Taken>(promise: Promise<Taken>): Promise<Taken> => {
    promise.catch(() => {});
    return promise;
  };

  const session = createSession((statement, values, take) => {
    if (isOver) return Promise.reject(new TypeError("The transaction has ended."));
    return quietly(send({ ...statement, values: values as unknown[] }).then(take));
  });

  quietly(send({ text: begin }));
  let outcome: Outcome<Result>;
  try {
    outcome = { kind: "done", result: await work(session) };
  } catch (error) {
    outcome = { kind: "thrown", error };
  }
  isOver = true;
  // A result that this side cannot read is no failure on the server.
  const isGood = outcome.kind === "done" && failure === undefined;
  const { command } = await send({ text: isGood ? "COMMIT" : "ROLLBACK" });
  if (failure !== undefined) return { kind: "failed", error: failure.error };
  if (isGood && command !== "COMMIT") throw new Error(`The server answered COMMIT with ${command}.`);
  return outcome;
}
