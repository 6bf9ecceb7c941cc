import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import { type Failure, failure } from "../../domain/failure.ts";

/** Result codes after which the process cannot trust the file. */
const LOST = /^SQLITE_(IOERR|CORRUPT|NOTADB|CANTOPEN)/;
/** Result codes after which a later write may succeed. */
const REFUSED = /^SQLITE_(FULL|BUSY|READONLY)/;

/** Whether the result code of an error says that the disk or the file failed. */
export function isLoss(code: string): boolean {
  return LOST.test(code);
}

/** Whether the result code of an error says that the file takes no write now. */
export function isRefusal(code: string): boolean {
  return REFUSED.test(code);
}

/** The refusal of a call that the store did not execute. */
export function unavailable(detail: string, cause?: unknown): Failure {
  const refused = failure(ErrorReason.UNAVAILABLE, `${detail} Try again, with the same idempotency key.`);
  refused.cause = cause;
  return refused;
}
