import { RETRY_WINDOW_MS } from "./limits.ts";

/** Which attempt of the official client's a send without a key is. */
export type ClientAttempt = {
  /** 0 with the first attempt. */
  readonly retryCount: number;
  /** How long the client waits for an answer, milliseconds. */
  readonly timeoutMs: number;
};

const DEFAULT_TIMEOUT_SECONDS = 60;
const MAX_TIMEOUT_SECONDS = 600;
const MAX_RETRY_COUNT = 10;
/** What passes between two attempts beside the wait for an answer, milliseconds: back-off of at most 8 s, and the way. */
const PAUSE = 10_000;
/** The longest Retry-After after which the client may come back by itself; a longer one forbids it to. Milliseconds. */
export const MAX_CLIENT_SLEEP_MS = 60_000;

/** Reads the client's headers `x-stainless-retry-count` and `x-stainless-timeout` (seconds); what is no such number counts as absent. */
export function clientAttempt(retryCount: string | undefined, timeout: string | undefined): ClientAttempt | undefined {
  if (retryCount === undefined || !/^\d+$/.test(retryCount)) return undefined;
  const isGiven = timeout !== undefined && /^\d+(\.\d+)?$/.test(timeout);
  const seconds = isGiven ? Math.min(Math.max(Number(timeout), 1), MAX_TIMEOUT_SECONDS) : DEFAULT_TIMEOUT_SECONDS;
  return { retryCount: Math.min(Number(retryCount), MAX_RETRY_COUNT), timeoutMs: seconds * 1000 };
}

/** How long before a retry its first attempt can have been made, milliseconds. */
export function lookBackMs({ retryCount, timeoutMs }: ClientAttempt): number {
  return Math.min(retryCount * (timeoutMs + PAUSE + MAX_CLIENT_SLEEP_MS), RETRY_WINDOW_MS);
}
