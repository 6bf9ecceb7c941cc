import { createHash } from "node:crypto";

/** A statement of SQL that each connection prepares once, and the shape of the rows it gives. */
export type Statement<Row = unknown> = {
  /** What the server knows it by; the same for the same text. */
  readonly name: string;
  readonly text: string;
  /** Only for the compiler. */
  readonly row?: Row;
};

/** What a parameter may be; lists become arrays, undefined becomes null. */
export type Value = Scalar | readonly Scalar[];
type Scalar = string | number | boolean | Uint8Array | null | undefined;

/** SQL with parameters $1, $2, … that is prepared at its first use on a connection. Make it once, not per call. */
export function statement<Row = unknown>(text: string): Statement<Row> {
  // Two texts under one name would be an error that only shows when both meet on one connection.
  return { name: `numberpool_${createHash("sha256").update(text).digest("hex").slice(0, 24)}`, text };
}
