import { DatabaseError } from "pg";
import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import { Failure, failure } from "../../domain/failure.ts";

/**
 * SQLSTATEs of a database that cannot be used now: lost connections, resources (a full disk, too
 * many connections), a statement timeout, a server that stops, starts, or refuses writes, its disk,
 * a changed password.
 */
const UNAVAILABLE = /^(08|53|58|28)|^(57014|57P0[1-5]|25006|25P03|25P04|55P03|3D000)$/;
/**
 * SQLSTATEs after which the same transaction may succeed: a serialization failure or a deadlock.
 */
const REPEATABLE = /^(40001|40P01)$/;

/** The SQLSTATE of an error of the server, or "" for any other error. */
export function sqlstateOf(error: unknown): string {
  return error instanceof DatabaseError ? (error.code ?? "") : "";
}

/**
 * Whether an error is the server's answer to one statement, so that the connection stays usable.
 */
export function isAnswer(error: unknown): boolean {
  return error instanceof DatabaseError && !UNAVAILABLE.test(error.code ?? "") && !isOutdated(error);
}

/**
 * Whether a prepared statement no longer matches its tables, because a newer program changed them.
 */
export function isOutdated(error: unknown): boolean {
  return error instanceof DatabaseError && error.code === "0A000" && error.routine === "RevalidateCachedQuery";
}

/**
 * Whether the server rolled a transaction back for a reason that the next attempt does not meet, on
 * a usable connection.
 */
export function isWorthRepeating(error: unknown): boolean {
  return REPEATABLE.test(sqlstateOf(error)) || isOutdated(error);
}

/**
 * The meaning of a driver's error for a caller: UNAVAILABLE with the error as its cause, or the
 * error itself when it is a refusal or a programming error.
 */
export function translate(error: unknown): unknown {
  if (error instanceof Failure || error instanceof TypeError || error instanceof RangeError) return error;
  if (error instanceof DatabaseError) {
    return UNAVAILABLE.test(error.code ?? "") || isWorthRepeating(error) ? unavailable(error) : error;
  }
  // Every other error of the driver concerns its connection, mostly without a code.
  return unavailable(error);
}

/** The refusal of a call that the database did not execute, or whose outcome is unknown. */
export function unavailable(cause: unknown): Failure {
  const refused = failure(
    ErrorReason.UNAVAILABLE,
    "The database cannot be used now. Try again, with the same idempotency key.",
  );
  refused.cause = cause;
  return refused;
}
