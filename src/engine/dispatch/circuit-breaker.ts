import type { SubmitAnswer } from "../../carriers/carrier.ts";

/** How much one carrier may be given: all it takes, less while it throttles, nothing while it is down. */
export type CircuitBreaker = {
  /** Messages that it may be given at a moment (milliseconds since 1970). */
  readonly budget: (now: number) => number;
  /** Gives the generation of what was given, which its answers are told with: how often the carrier had broken down until then. */
  readonly gave: (count: number, now: number) => number;
  readonly answered: (answer: SubmitAnswer, now: number, generation?: number) => void;
  /** When there will be a budget again; Infinity: when an answer comes. */
  readonly opensAt: (now: number) => number;
};

/** The first pause of a carrier that is down, and the longest, milliseconds. They double in between. */
const FIRST_PAUSE = 1_000;
const MAX_PAUSE = 60_000;
/** So many submits in a row that nobody answered mean that the carrier is down: each of them is a message whose outcome is lost. */
const MAX_SILENT = 10;
/** What a carrier that throttles is slowed down to, of what it was given; not more often than once in this time, milliseconds. */
const SLOWER = 0.7;
const ONE_CUT = 1_000;
/** How much of its rate it is given more for each second without throttling, and the milliseconds after which it is free again. */
const FASTER = 1.05;
const QUIET = 60_000;
/** Messages a second that a throttled carrier is given at least. */
const MIN_RATE = 0.2;
/** What may be given at once, in seconds of the rate. */
const BURST = 0.1;

/**
 * Creates a closed breaker. `window` is the most submits under way. Times are of a monotonic clock.
 * `random` gives numbers from 0 to 1, 1 excluded, for the jitter of pauses.
 */
export function createCircuitBreaker(window: number, random: () => number): CircuitBreaker {
  let underWay = 0;
  let silent = 0;
  // What was given before the carrier broke down says nothing of whether it is still down when it fails.
  let generation = 0;
  let down: { until: number; pauses: number; isProbing: boolean } | undefined;
  let slow: { rate: number; tokens: number; asOf: number; cutAt: number; notBefore: number } | undefined;
  const given = { perSecond: 0, asOf: 0 };

  const refill = (now: number) => {
    if (slow === undefined) return;
    if (now - slow.cutAt > QUIET) {
      slow = undefined;
      return;
    }
    const seconds = Math.max(0, now - slow.asOf) / 1000;
    slow.rate *= FASTER ** seconds;
    slow.tokens = Math.min(Math.max(1, slow.rate * BURST), slow.tokens + seconds * slow.rate);
    slow.asOf = now;
  };

  const measure = (now: number) => {
    given.perSecond *= Math.exp(-Math.max(0, now - given.asOf) / 1000);
    given.asOf = now;
    return given.perSecond;
  };

  const breakDown = (now: number) => {
    silent = 0;
    if (down !== undefined && !down.isProbing) return;
    generation += 1;
    const pauses = down?.pauses ?? 0;
    const pause = Math.min(FIRST_PAUSE * 2 ** pauses, MAX_PAUSE) * (1 + 0.25 * random());
    down = { until: now + pause, pauses: pauses + 1, isProbing: false };
  };

  const throttle = (now: number, retryAfterMs: number | undefined) => {
    const notBefore = now + (retryAfterMs ?? 0);
    if (slow !== undefined && now - slow.cutAt < ONE_CUT) {
      slow.notBefore = Math.max(slow.notBefore, notBefore);
      return;
    }
    const rate = Math.max(MIN_RATE, SLOWER * (slow?.rate ?? measure(now)));
    slow = { rate, tokens: 0, asOf: now, cutAt: now, notBefore };
  };

  return {
    budget: (now) => {
      if (down !== undefined) return down.isProbing || now < down.until ? 0 : 1;
      refill(now);
      const room = Math.max(0, window - underWay);
      if (slow === undefined) return room;
      return now < slow.notBefore ? 0 : Math.min(room, Math.floor(slow.tokens));
    },
    gave: (count, now) => {
      if (count === 0) return generation;
      underWay += count;
      measure(now);
      given.perSecond += count;
      if (down !== undefined) down.isProbing = true;
      if (slow !== undefined) slow.tokens -= count;
      return generation;
    },
    answered: (answer, now, given = generation) => {
      underWay -= 1;
      const isFailure = answer.kind === "unavailable" || answer.kind === "submit_unconfirmed";
      if (isFailure && given < generation) return;
      if (answer.kind === "unavailable") return breakDown(now);
      if (answer.kind === "submit_unconfirmed") {
        silent += 1;
        if (silent >= MAX_SILENT || down?.isProbing) breakDown(now);
        return;
      }
      silent = 0;
      down = undefined;
      if (answer.kind === "throttled") throttle(now, answer.retryAfterMs);
    },
    opensAt: (now) => {
      if (down !== undefined) return down.isProbing ? Number.POSITIVE_INFINITY : Math.max(now, down.until);
      refill(now);
      if (underWay >= window) return Number.POSITIVE_INFINITY;
      if (slow === undefined) return now;
      return Math.max(slow.notBefore, now + (Math.max(0, 1 - slow.tokens) / slow.rate) * 1000);
    },
  };
}
