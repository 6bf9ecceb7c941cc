import { createHash } from "node:crypto";

/** A statement of SQL that each connection prepares once, and the type of its rows. */
export type Statement<Row = unknown> = {
  /** The name of the prepared statement; equal texts have equal names. */
  readonly name: string;
  readonly text: string;
  /** Exists only for the compiler. */
  readonly row?: Row;
};

/** The value of a parameter; lists become arrays, undefined becomes null. */
export type Value = Scalar | readonly Scalar[];
type Scalar = string | number | boolean | Uint8Array | null | undefined;

/**
 * SQL with parameters $1, $2, … that is prepared at its first use on a connection. Create it once,
 * not per call.
 */
export function statement<Row = unknown>(text: string): Statement<Row> {
  // Two texts with one name would fail only on a connection that prepares both.
  return { name: `numberpool_${createHash("sha256").update(text).digest("hex").slice(0, 24)}`, text };
}
