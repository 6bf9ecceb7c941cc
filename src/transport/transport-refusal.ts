import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import { type Failure, failure, type Refusal } from "../domain/failure.ts";
import { quoted } from "../domain/text.ts";

/** An error of the HTTP library as a refusal; `maxBytes` is the method's body limit. */
export function transportRefusal(error: unknown, maxBytes: number): Refusal {
  const { code, statusCode } = error as { code?: string; statusCode?: number };
  if (code === "FST_ERR_CTP_BODY_TOO_LARGE") return tooLarge(maxBytes).refusal;
  if (code === "FST_ERR_CTP_INVALID_MEDIA_TYPE") {
    return {
      reason: ErrorReason.UNSUPPORTED_MEDIA_TYPE,
      detail: "The body must be JSON, with the header `Content-Type: application/json`.",
    };
  }
  if (statusCode !== undefined && statusCode < 500) {
    return { reason: ErrorReason.BAD_REQUEST, detail: "The request is unreadable; check its length and encoding." };
  }
  return { reason: ErrorReason.INTERNAL, detail: "Internal error; try again." };
}

/** The refusal of a compressed body; `header` is the header that names its encoding. */
export function unsupportedEncoding(header: string, encoding: string): Refusal {
  return {
    reason: ErrorReason.UNSUPPORTED_MEDIA_TYPE,
    detail: `${header} ${quoted(encoding)} is not supported; send the body without compression.`,
  };
}

function tooLarge(maxBytes: number): Failure {
  return failure(ErrorReason.REQUEST_TOO_LARGE, `The body is larger than ${maxBytes / 1024} KiB; make it smaller.`);
}

/** The refusal of a method that the contract does not have. */
export const UNKNOWN_METHOD: Refusal = {
  reason: ErrorReason.NOT_IMPLEMENTED,
  detail: "Unknown method; regenerate the client from this server's protos.",
};
