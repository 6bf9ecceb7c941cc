import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import { type Failure, failure, type Refusal } from "../domain/failure.ts";
import { quoted } from "../domain/text.ts";

/** What the HTTP port's own library refuses by itself, in our words; `mostBytes` is what the method takes. */
export function transportRefusal(error: unknown, mostBytes: number): Refusal {
  const { code, statusCode } = error as { code?: string; statusCode?: number };
  if (code === "FST_ERR_CTP_BODY_TOO_LARGE") return tooLarge(mostBytes).refusal;
  if (code === "FST_ERR_CTP_INVALID_MEDIA_TYPE") {
    return {
      reason: ErrorReason.UNSUPPORTED_MEDIA_TYPE,
      detail: "The body must be JSON, with the header `Content-Type: application/json`.",
    };
  }
  if (statusCode !== undefined && statusCode < 500) {
    return { reason: ErrorReason.BAD_REQUEST, detail: "The request could not be read; check its length and encoding." };
  }
  return { reason: ErrorReason.INTERNAL, detail: "Something went wrong here; try again." };
}

/** A body whose encoding is not taken; `header` is where the encoding was named. */
export function encodingNotTaken(header: string, encoding: string): Refusal {
  return {
    reason: ErrorReason.UNSUPPORTED_MEDIA_TYPE,
    detail: `${header} ${quoted(encoding)} is not taken; send the body without compression.`,
  };
}

function tooLarge(mostBytes: number): Failure {
  return failure(ErrorReason.REQUEST_TOO_LARGE, `The body is larger than ${mostBytes / 1024} KiB; make it smaller.`);
}

/** The refusal of a method that the contract does not have. */
export const UNKNOWN_METHOD: Refusal = {
  reason: ErrorReason.NOT_IMPLEMENTED,
  detail: "There is no method at this path; rebuild the client from our protos.",
};
