/** The pause after the first refusal. Each further refusal doubles it, up to the maximum. */
const FIRST_PAUSE_MS = 1_000;
const MAX_PAUSE_MS = 600_000;
/** The largest part of a pause that is added to it, so that retries spread. */
const JITTER = 0.25;

/** A temporary refusal of a message by its carrier. */
export type TemporaryRefusal = {
  /** Earlier refusals of the message. */
  readonly refusals: number;
  /** The pause that the carrier asks for; undefined: it names none. */
  readonly retryAfterMs: number | undefined;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** The end of the message's validity, milliseconds since 1970. */
  readonly validUntil: number;
  /** A number from 0 to 1, 1 excluded. */
  readonly random: number;
};

/**
 * The time of the next submit, milliseconds since 1970. It is at most the end of validity, when the
 * message must be claimed to expire.
 */
export function nextSubmitAt({ refusals, retryAfterMs, now, validUntil, random }: TemporaryRefusal): number {
  const backoffMs = Math.min(FIRST_PAUSE_MS * 2 ** refusals, MAX_PAUSE_MS) * (1 + JITTER * random);
  return Math.max(now, Math.min(now + Math.ceil(retryAfterMs ?? backoffMs), validUntil));
}
