import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import type { Refusal } from "../domain/failure.ts";
import { type Authenticate, type Caller, UNAUTHENTICATED } from "./authentication.ts";
import { TRANSPORT_LIMITS } from "./limits.ts";

/** A refusal by rate: calls a second, and how many are left. */
export type RateLimited = Refusal & { readonly rateLimit: { readonly limit: number; readonly remaining: number } };

/** Admits or refuses a call by its `Authorization` header alone, before its body is read. */
export type Admit = (authorization: string | undefined) => { readonly caller: Caller } | { readonly refusal: Refusal };

export type AdmissionParts = {
  readonly authenticate: Authenticate;
  /** Calls a second of each API key, in bursts of one second's calls; 0: no limit. */
  readonly callsPerSecond: number;
  /** Calls in flight now. */
  readonly inFlight: () => number;
  /** Monotonic milliseconds. */
  readonly elapsedMs: () => number;
};

/**
 * Admission by key, by the key's rate, and by the calls in flight. Under overload new calls are
 * refused at once, so that accepted ones finish in time.
 */
export function createAdmission({ authenticate, callsPerSecond, inFlight, elapsedMs }: AdmissionParts): Admit {
  // When each key's bucket is empty again: one number instead of a count and a time (GCRA).
  const emptyAtMs = new Map<string, number>();
  const intervalMs = 1000 / callsPerSecond;

  const chargeRate = (apiKeyId: string): Refusal | undefined => {
    const nowMs = elapsedMs();
    const atMs = Math.max(nowMs, emptyAtMs.get(apiKeyId) ?? nowMs) + intervalMs;
    if (atMs - nowMs > 1000 + intervalMs / 2) return rateExceeded(callsPerSecond, atMs - nowMs - 1000);
    emptyAtMs.set(apiKeyId, atMs);
    return undefined;
  };

  return (authorization) => {
    const caller = authenticate(authorization);
    if (caller === undefined) return { refusal: UNAUTHENTICATED };
    if (inFlight() >= TRANSPORT_LIMITS.inFlight) return { refusal: OVERLOADED };
    const refusal = callsPerSecond > 0 ? chargeRate(caller.apiKeyId) : undefined;
    return refusal === undefined ? { caller } : { refusal };
  };
}

const OVERLOADED: Refusal = {
  reason: ErrorReason.UNAVAILABLE,
  detail: "The server is overloaded; try again in a second.",
  retryAfterMs: 1000,
};

function rateExceeded(limit: number, retryAfterMs: number): RateLimited {
  return {
    reason: ErrorReason.TOO_MANY_REQUESTS,
    detail: `The API key exceeded its rate of ${limit} calls a second; slow down.`,
    retryAfterMs,
    rateLimit: { limit, remaining: 0 },
  };
}
