import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import type { Refusal } from "../domain/failure.ts";
import { LIMITS } from "../domain/limits.ts";
import { type Authenticate, type Caller, UNAUTHENTICATED } from "./authentication.ts";

/** Who may come in, by the headers alone: the caller, or why not. Asked before a body is read. */
export type Admit = (authorization: string | undefined) => { readonly caller: Caller } | { readonly refusal: Refusal };

export type AdmissionParts = {
  readonly authenticate: Authenticate;
  /** Calls a second that each API key may make, in bursts of one second's worth; 0 for no limit. */
  readonly callsPerSecond: number;
  /** Calls under way now. */
  readonly inFlight: () => number;
  /** Milliseconds of a clock that nobody sets: rates are spans. */
  readonly elapsed: () => number;
};

/**
 * Admission by key, by the key's own rate, and by how much is under way: under overload new calls are refused at once, so that those
 * that were accepted are finished in time.
 */
export function createAdmission({ authenticate, callsPerSecond, inFlight, elapsed }: AdmissionParts): Admit {
  // When each key's bucket is empty again: one number instead of a count and a time (virtual scheduling).
  const emptyAt = new Map<string, number>();
  const interval = 1000 / callsPerSecond;

  const withinRate = (apiKeyId: string): Refusal | undefined => {
    const now = elapsed();
    const at = Math.max(now, emptyAt.get(apiKeyId) ?? now) + interval;
    if (at - now > 1000 + interval / 2) return tooMany(callsPerSecond, at - now - 1000);
    emptyAt.set(apiKeyId, at);
    return undefined;
  };

  return (authorization) => {
    const caller = authenticate(authorization);
    if (caller === undefined) return { refusal: UNAUTHENTICATED };
    if (inFlight() >= LIMITS.inFlight) return { refusal: OVERLOADED };
    const refusal = callsPerSecond > 0 ? withinRate(caller.apiKeyId) : undefined;
    return refusal === undefined ? { caller } : { refusal };
  };
}

const OVERLOADED: Refusal = {
  reason: ErrorReason.UNAVAILABLE,
  detail: "The server has as much under way as it can finish in time; try again in a second.",
  retryAfterMs: 1000,
};

function tooMany(limit: number, retryAfterMs: number): Refusal {
  return {
    reason: ErrorReason.TOO_MANY_REQUESTS,
    detail: `The API key may make ${limit} calls a second; slow down.`,
    retryAfterMs,
    rateLimit: { limit, remaining: 0 },
  };
}
