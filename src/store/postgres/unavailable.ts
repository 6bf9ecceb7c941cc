import { DatabaseError } from "pg";
import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import { Failure, failure } from "../../domain/failure.ts";

/**
 * SQLSTATEs that say that the database cannot be used now: lost connections, resources (a full disk, too many connections), a
 * statement that took too long, a server that ends, starts, or takes no writes, its disk, a password that was changed.
 */
const UNAVAILABLE = /^(08|53|58|28)|^(57014|57P0[1-5]|25006|25P03|25P04|55P03|3D000)$/;
/** SQLSTATEs after which the same transaction may well succeed: it was not serializable, or stood in a deadlock. */
const REPEATABLE = /^(40001|40P01)$/;

/** The SQLSTATE that the server sent, or "" for anything that did not come from it. */
export function sqlstateOf(error: unknown): string {
  return error instanceof DatabaseError ? (error.code ?? "") : "";
}

/** Whether an error is the server's word on one statement, so that the connection goes on. */
export function isAnswer(error: unknown): boolean {
  return error instanceof DatabaseError && !UNAVAILABLE.test(error.code ?? "") && !isOutdated(error);
}

/** Whether a statement that the connection prepared fits its tables no longer: a newer program changed them under this one. */
export function isOutdated(error: unknown): boolean {
  return error instanceof DatabaseError && error.code === "0A000" && error.routine === "RevalidateCachedQuery";
}

/** Whether the server took a transaction back for a reason that is gone at the next try, on a sound connection. */
export function isWorthRepeating(error: unknown): boolean {
  return REPEATABLE.test(sqlstateOf(error)) || isOutdated(error);
}

/**
 * What an error of the driver means to a caller: UNAVAILABLE with the error as its cause, or the error itself when it is a
 * refusal already or a fault of ours.
 */
export function translate(error: unknown): unknown {
  if (error instanceof Failure || error instanceof TypeError || error instanceof RangeError) return error;
  if (error instanceof DatabaseError) {
    return UNAVAILABLE.test(error.code ?? "") || isWorthRepeating(error) ? unavailable(error) : error;
  }
  // Everything else that the driver gives tells of its connection, mostly without a code.
  return unavailable(error);
}

/** The refusal of a call that the database did not take, or whose outcome is not known. */
export function unavailable(cause: unknown): Failure {
  const refused = failure(
    ErrorReason.UNAVAILABLE,
    "The database cannot be used now. Try again, with the same idempotency key.",
  );
  refused.cause = cause;
  return refused;
}
