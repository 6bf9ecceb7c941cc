import { LIMITS } from "../limits.ts";
import type { QueuedMessage } from "../message.ts";
import { maxReleased, release } from "../pace.ts";
import { DAY_MS, dayOf } from "../pool/room.ts";

/** The facts of a number that a claim needs. */
export type Pace = {
  readonly carrier: string;
  readonly segmentsPerSecond: number;
  readonly isPaused: boolean;
  /** When it may be claimed. */
  readonly dueAt: number;
  /** Segments that it may send in a UTC day; undefined: no limit. */
  readonly dailySegmentLimit: number | undefined;
  /** The last UTC day on which it sent, in days since 1970. */
  readonly usedDay: number;
  /** The segments that it sent on that day. */
  readonly usedSegments: number;
};

/**
 * The UTC day of a claim's daily limit. A slow clock does not return to the day before. A used day
 * beyond tomorrow comes from a wrong clock since corrected: it would block the number until then.
 */
export function dayOfClaim({ usedDay }: Pick<Pace, "usedDay">, now: number): number {
  const today = dayOf(now);
  return usedDay === today + 1 ? usedDay : today;
}

/** Segments that the daily limit still allows on the day of a claim. */
function allowanceOf(pace: Pace, now: number): number {
  if (pace.dailySegmentLimit === undefined) return Number.POSITIVE_INFINITY;
  return pace.dailySegmentLimit - (dayOfClaim(pace, now) === pace.usedDay ? pace.usedSegments : 0);
}

/** Messages of removed numbers that one claim ends: a few milliseconds of work. */
export const MAX_ORPHANS = 100;

/** How many messages of each removed number one claim ends; after that many, more may remain. */
export function maxOrphans(removedNumbers: number): number {
  return Math.max(1, Math.floor(MAX_ORPHANS / removedNumbers));
}

/** The result of claiming one number. */
export type ClaimPlan = {
  /** Messages to submit, oldest first. */
  readonly send: readonly QueuedMessage[];
  /** Messages whose valid_until has passed. */
  readonly expire: readonly QueuedMessage[];
  /** Messages whose recipients opted out while they waited. */
  readonly optedOut: readonly QueuedMessage[];
  /** The number's new `dueAt`; undefined: unchanged. */
  readonly setDueAt: number | undefined;
  /** When to claim it again; "whenDeferred": when its first deferred message is due, if any. */
  readonly next: number | "whenDeferred";
  /** When its rate or daily limit next lets it send; Infinity: it is paused. */
  readonly freeAt: number;
  /** Only the carrier's budget keeps messages waiting. */
  readonly waitsForCarrier: boolean;
};

/** How many messages of a queue a claim reads: one more than it can send, to know if any remain. */
export function maxQueueRows(pace: Pace, budget: number): number {
  return Math.min(maxReleased(pace.segmentsPerSecond), budget) + 1;
}

/** Whether a number can be claimed at `now`. A claim of a paused number only ends messages. */
export function isClaimable(pace: Pace, now: number): boolean {
  return pace.isPaused || pace.dueAt <= now || pace.dueAt > now + maxAheadMs(pace);
}

/** How far ahead a claim sets `dueAt` at most. A later one predates a correction of the clock. */
export function maxAheadMs({ segmentsPerSecond }: Pick<Pace, "segmentsPerSecond">): number {
  return (1000 * LIMITS.parts) / segmentsPerSecond + MAX_CLOCK_SKEW_MS;
}

/** How far the clocks of two processes may differ. */
export const MAX_CLOCK_SKEW_MS = 1_000;

/**
 * Plans the claim of a claimable number. `queue` holds the messages that may be sent now, oldest
 * first, at most `maxQueueRows`. `budget` is how many messages its carrier may get.
 */
export function planClaim(
  pace: Pace,
  queue: readonly QueuedMessage[],
  now: number,
  budget: number,
  isOptedOut: (message: QueuedMessage) => boolean = () => false,
): ClaimPlan {
  const expire: QueuedMessage[] = [];
  const optedOut: QueuedMessage[] = [];
  const waiting: QueuedMessage[] = [];
  for (const message of queue) {
    if (message.validUntil <= now) expire.push(message);
    else if (isOptedOut(message)) optedOut.push(message);
    else waiting.push(message);
  }
  if (pace.isPaused) {
    const firstExpiry = Math.min(...waiting.map((message) => message.validUntil));
    const next = waiting.length < queue.length ? now : waiting.length > 0 ? firstExpiry : "whenDeferred";
    const nothing = { send: [], setDueAt: undefined, waitsForCarrier: false };
    return { ...nothing, expire, optedOut, next, freeAt: Number.POSITIVE_INFINITY };
  }
  const withinBudget = waiting.slice(0, budget).map((message) => message.parts);
  const dueAt = Math.min(pace.dueAt, now);
  const allowedToday = countWithin(withinBudget, allowanceOf(pace, now));
  const released = release(withinBudget.slice(0, allowedToday), dueAt, now, pace.segmentsPerSecond);
  const send = waiting.slice(0, released.count);
  const setDueAt = send.length > 0 ? released.dueAt : undefined;
  // The next message exceeds the rest of the day: a later, shorter one must not overtake it.
  const isDayUsed = released.count === allowedToday && allowedToday < withinBudget.length;
  const freeAt = isDayUsed ? (dayOfClaim(pace, now) + 1) * DAY_MS : (setDueAt ?? dueAt);
  const waitsForCarrier = !isDayUsed && send.length === budget && waiting.length > send.length;
  // Expired messages may hide others: the claim reads only the head of the queue.
  const next = queue.length > send.length ? freeAt : "whenDeferred";
  return { send, expire, optedOut, setDueAt, next, freeAt, waitsForCarrier };
}

/** How many messages, in order, fit into an allowance of segments. */
function countWithin(parts: readonly number[], allowance: number): number {
  let left = allowance;
  const firstOver = parts.findIndex((each) => {
    left -= each;
    return left < 0;
  });
  return firstOver < 0 ? parts.length : firstOver;
}
