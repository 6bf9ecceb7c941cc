import { RETRY_WINDOW_MS } from "./limits.ts";

/** Which attempt of the official client a send without an idempotency key is. */
export type ClientAttempt = {
  /** 0 for the first attempt. */
  readonly retryCount: number;
  /** How long the client waits for a response. */
  readonly timeoutMs: number;
};

const DEFAULT_TIMEOUT_SECONDS = 60;
const MAX_TIMEOUT_SECONDS = 600;
const MAX_RETRY_COUNT = 10;
/**
 * Time between two attempts besides the client's timeout: back-off of at most 8 s, and the network.
 */
const BACKOFF_MS = 10_000;
/**
 * The longest Retry-After that the client still waits for by itself; after a longer one it gives
 * up.
 */
export const MAX_CLIENT_SLEEP_MS = 60_000;

/**
 * Reads the headers `x-stainless-retry-count` and `x-stainless-timeout` (seconds); an invalid value
 * counts as absent.
 */
export function clientAttempt(retryCount: string | undefined, timeout: string | undefined): ClientAttempt | undefined {
  if (retryCount === undefined || !/^\d+$/.test(retryCount)) return undefined;
  const isValidTimeout = timeout !== undefined && /^\d+(\.\d+)?$/.test(timeout);
  const seconds = isValidTimeout
    ? Math.min(Math.max(Number(timeout), 1), MAX_TIMEOUT_SECONDS)
    : DEFAULT_TIMEOUT_SECONDS;
  return { retryCount: Math.min(Number(retryCount), MAX_RETRY_COUNT), timeoutMs: seconds * 1000 };
}

/** The longest time between the first attempt and this retry. */
export function lookBackMs({ retryCount, timeoutMs }: ClientAttempt): number {
  return Math.min(retryCount * (timeoutMs + BACKOFF_MS + MAX_CLIENT_SLEEP_MS), RETRY_WINDOW_MS);
}
