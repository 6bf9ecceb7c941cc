import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import { MAX_CLIENT_SLEEP_MS } from "../../domain/client-attempt.ts";
import { errorForm, reasonName } from "../../domain/error-form.ts";
import type { Refusal } from "../../domain/failure.ts";
import type { RateLimited } from "../admission.ts";

/** A refusal as a response of the JSON transport. */
export type ErrorResponse = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
};

/**
 * A refusal in the documented form. The source is a JSON pointer for a field of the body, and a
 * parameter (`page[size]`) for one of the path or query. `bodyField` is the request's field that
 * the body fills.
 */
export function errorResponse(
  refusal: Refusal | RateLimited,
  at: { hasBody: boolean; bodyField: string | undefined },
): ErrorResponse {
  const { reason, detail, pointer, retryAfterMs } = refusal;
  const { httpStatus, code, title } = errorForm(reason);
  const headers: Record<string, string> = {};
  if (retryAfterMs !== undefined) headers["retry-after"] = String(Math.max(1, Math.ceil(retryAfterMs / 1000)));
  if ("rateLimit" in refusal) {
    headers["x-ratelimit-limit"] = String(refusal.rateLimit.limit);
    headers["x-ratelimit-remaining"] = String(refusal.rateLimit.remaining);
    headers["x-ratelimit-reset"] = headers["retry-after"] ?? "1";
  }
  // The official client retries every 409 and 5xx after `retry-after`, however long; these retries
  // are futile.
  const isFutile = httpStatus === 409 || httpStatus === 501 || (retryAfterMs ?? 0) > MAX_CLIENT_SLEEP_MS;
  if (isFutile) headers["x-should-retry"] = "false";
  if (reason === ErrorReason.UNAUTHENTICATED) headers["www-authenticate"] = "Bearer";
  const error = {
    code,
    title,
    detail,
    ...(pointer !== undefined && { source: sourceOf(pointer, at) }),
    meta: { reason: reasonName(reason) },
  };
  return { status: httpStatus, headers, body: JSON.stringify({ errors: [error] }) };
}

function sourceOf(pointer: string, at: { hasBody: boolean; bodyField: string | undefined }) {
  if (at.hasBody) {
    const prefix = `/${at.bodyField}/`;
    return { pointer: pointer.startsWith(prefix) ? pointer.slice(prefix.length - 1) : pointer };
  }
  const [first, ...rest] = pointer.slice(1).split("/");
  return { parameter: `${first}${rest.map((part) => `[${part}]`).join("")}` };
}
