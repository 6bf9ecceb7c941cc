import type { ClientBase, QueryConfig, QueryResult } from "pg";
import { createSession, type Session } from "./session.ts";

/** How work in a database ended: with what it gave, by an error of the database or the way to it, or by what it threw itself. */
export type Outcome<Result> =
  | { readonly kind: "done"; readonly result: Result }
  | { readonly kind: "failed"; readonly error: unknown }
  | { readonly kind: "thrown"; readonly error: unknown };

/**
 * One transaction on a connection that pipelines: BEGIN leaves together with the first statements of `work`, and COMMIT together
 * with those that `work` did not wait for; any statement that fails fails the transaction, also where `work` did not look. When
 * `work` throws it is rolled back, and so is one of which a statement failed. Rejects when the connection is lost: if COMMIT had
 * left by then, nobody knows what became of the transaction.
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
        // Those after it fail because of it.
        failure ??= { error };
        reject(error);
      });
    });

  /** It is looked at when the transaction ends, so that nobody has to wait for it. */
  const quietly = <Taken>(promise: Promise<Taken>): Promise<Taken> => {
    promise.catch(() => {});
    return promise;
  };

  const session = createSession((statement, values, take) => {
    if (isOver) return Promise.reject(new TypeError("This transaction is over."));
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
  // What could not be read on our side failed nothing on the server's.
  const isGood = outcome.kind === "done" && failure === undefined;
  const { command } = await send({ text: isGood ? "COMMIT" : "ROLLBACK" });
  if (failure !== undefined) return { kind: "failed", error: failure.error };
  if (isGood && command !== "COMMIT") throw new Error(`COMMIT was answered with ${command}.`);
  return outcome;
}
