import type { SubmitAnswer } from "../../carriers/carrier.ts";

/** Limits the submits to one carrier: to its window, to less while it throttles, to none while it is down. */
export type CircuitBreaker = {
  /** How many messages it may get now. */
  readonly budget: (now: number) => number;
  /** Records submits; gives their generation, how often the breaker has opened, for their answers. */
  readonly recordSubmits: (count: number, now: number) => number;
  /** Records an answer, with the generation of its submit. */
  readonly recordAnswer: (answer: SubmitAnswer, now: number, generation?: number) => void;
  /** When there is a budget again; Infinity: after the next answer. */
  readonly opensAt: (now: number) => number;
};

/** The first pause of a carrier that is down, and the longest. Each is twice the one before. */
const FIRST_PAUSE_MS = 1_000;
const MAX_PAUSE_MS = 60_000;
/** After so many unanswered submits in a row the carrier counts as down: each loses an outcome. */
const MAX_SILENT = 10;
/** The share of its rate that a throttling carrier keeps, and the shortest time between two cuts. */
const CUT_FACTOR = 0.7;
const CUT_INTERVAL_MS = 1_000;
/** The growth of its rate for each second without throttling, and the time after which the limit ends. */
const GROWTH_FACTOR = 1.05;
const QUIET_MS = 60_000;
/** The lowest rate of a throttling carrier, messages a second. */
const MIN_RATE = 0.2;
/** The most messages at once, in seconds of the rate. */
const BURST_SECONDS = 0.1;

/**
 * Creates a closed breaker. `window` is the most submits under way. Times are of a monotonic clock.
 * `random` gives numbers from 0 to 1, 1 excluded, for the jitter of pauses.
 */
export function createCircuitBreaker(window: number, random: () => number): CircuitBreaker {
  let underWay = 0;
  let silent = 0;
  // A failure of a submit from before the breaker opened does not say that the carrier is still down.
  let generation = 0;
  let down: { until: number; pauses: number; isProbing: boolean } | undefined;
  let slow: { rate: number; tokens: number; asOf: number; cutAt: number; notBefore: number } | undefined;
  const recent = { perSecond: 0, asOf: 0 };

  const refill = (now: number) => {
    if (slow === undefined) return;
    if (now - slow.cutAt > QUIET_MS) {
      slow = undefined;
      return;
    }
    const seconds = Math.max(0, now - slow.asOf) / 1000;
    slow.rate *= GROWTH_FACTOR ** seconds;
    slow.tokens = Math.min(Math.max(1, slow.rate * BURST_SECONDS), slow.tokens + seconds * slow.rate);
    slow.asOf = now;
  };

  const measure = (now: number) => {
    recent.perSecond *= Math.exp(-Math.max(0, now - recent.asOf) / 1000);
    recent.asOf = now;
    return recent.perSecond;
  };

  const breakDown = (now: number) => {
    silent = 0;
    if (down !== undefined && !down.isProbing) return;
    generation += 1;
    const pauses = down?.pauses ?? 0;
    const pause = Math.min(FIRST_PAUSE_MS * 2 ** pauses, MAX_PAUSE_MS) * (1 + 0.25 * random());
    down = { until: now + pause, pauses: pauses + 1, isProbing: false };
  };

  const throttle = (now: number, retryAfterMs: number | undefined) => {
    const notBefore = now + (retryAfterMs ?? 0);
    if (slow !== undefined && now - slow.cutAt < CUT_INTERVAL_MS) {
      slow.notBefore = Math.max(slow.notBefore, notBefore);
      return;
    }
    const rate = Math.max(MIN_RATE, CUT_FACTOR * (slow?.rate ?? measure(now)));
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
    recordSubmits: (count, now) => {
      if (count === 0) return generation;
      underWay += count;
      measure(now);
      recent.perSecond += count;
      if (down !== undefined) down.isProbing = true;
      if (slow !== undefined) slow.tokens -= count;
      return generation;
    },
    recordAnswer: (answer, now, submitted = generation) => {
      underWay -= 1;
      const isFailure = answer.kind === "unavailable" || answer.kind === "submit_unconfirmed";
      if (isFailure && submitted < generation) return;
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
