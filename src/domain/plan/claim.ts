import { LIMITS } from "../limits.ts";
import type { QueuedMessage } from "../message.ts";
import { maxReleased, release } from "../pace.ts";
import { DAY_MS, dayOf } from "../pool/room.ts";

/** What a claim must know of a number. */
export type Pace = {
  readonly carrier: string;
  readonly segmentsPerSecond: number;
  readonly isPaused: boolean;
  /** When it may be claimed. */
  readonly dueAt: number;
  /** Segments that it may send in a UTC day; undefined: any number. */
  readonly dailySegmentLimit: number | undefined;
  /** The last UTC day on which it sent, in days since 1970, and the segments that it sent on it. */
  readonly usedDay: number;
  readonly usedSegments: number;
};

/**
 * The UTC day that a claim at a moment counts for. A clock that is behind does not bring yesterday back. A day further ahead than
 * tomorrow was noted by a clock that was wrong and has been put back: it would keep the number silent until it comes.
 */
export function dayOfClaim({ usedDay }: Pick<Pace, "usedDay">, now: number): number {
  const today = dayOf(now);
  return usedDay === today + 1 ? usedDay : today;
}

/** Segments that a number may still send on the day of a claim. */
function allowanceOf(pace: Pace, now: number): number {
  if (pace.dailySegmentLimit === undefined) return Number.POSITIVE_INFINITY;
  return pace.dailySegmentLimit - (dayOfClaim(pace, now) === pace.usedDay ? pace.usedSegments : 0);
}

/** Messages of numbers that are gone which one claim ends, all together: a few milliseconds. */
export const MAX_ORPHANS = 100;

/** How many messages a claim ends of each of so many numbers that are gone. Where there are as many, more may be left. */
export function maxOrphans(numbersGone: number): number {
  return Math.max(1, Math.floor(MAX_ORPHANS / numbersGone));
}

/** What a claim of one number does, for any store to write. */
export type ClaimPlan = {
  /** To be handed over, oldest first. */
  readonly send: readonly QueuedMessage[];
  /** Their time ran out. */
  readonly expire: readonly QueuedMessage[];
  /** Their recipients opted out while they waited. */
  readonly optedOut: readonly QueuedMessage[];
  /** The number's new `dueAt`; undefined: as it was. */
  readonly setDueAt: number | undefined;
  /** When to look at it again; "whenDeferred": when the first of the messages that were put off may be tried again, if there are any. */
  readonly next: number | "whenDeferred";
  readonly freeAt: number;
  readonly waitsForCarrier: boolean;
};

/** How many messages of a queue a claim looks at: one more than can be released, to know whether anything is left. */
export function maxQueueRows(pace: Pace, budget: number): number {
  return Math.min(maxReleased(pace.segmentsPerSecond), budget) + 1;
}

/** Whether a claim does anything at a moment. A paused number is looked at for what expires. */
export function isClaimable(pace: Pace, now: number): boolean {
  return pace.isPaused || pace.dueAt <= now || pace.dueAt > now + maxAheadMs(pace);
}

/** How far ahead a claim sets `dueAt` at most, milliseconds. What lies beyond was set before the clock was put back. */
export function maxAheadMs({ segmentsPerSecond }: Pick<Pace, "segmentsPerSecond">): number {
  return (1000 * LIMITS.parts) / segmentsPerSecond + MAX_CLOCK_SKEW_MS;
}

/** How far the clocks of processes may be apart, milliseconds. */
export const MAX_CLOCK_SKEW_MS = 1_000;

/**
 * Plans the claim of a number that is claimable. `queue` holds what may be tried now, oldest first, up to `maxQueueRows`; `budget` is
 * how many messages its carrier may be given.
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
    const soonest = Math.min(...waiting.map((message) => message.validUntil));
    const next = waiting.length < queue.length ? now : waiting.length > 0 ? soonest : "whenDeferred";
    const nothing = { send: [], setDueAt: undefined, waitsForCarrier: false };
    return { ...nothing, expire, optedOut, next, freeAt: Number.POSITIVE_INFINITY };
  }
  const allowed = waiting.slice(0, budget).map((message) => message.parts);
  const dueAt = Math.min(pace.dueAt, now);
  const today = withinAllowance(allowed, allowanceOf(pace, now));
  const released = release(allowed.slice(0, today), dueAt, now, pace.segmentsPerSecond);
  const send = waiting.slice(0, released.count);
  const setDueAt = send.length > 0 ? released.dueAt : undefined;
  // The next message is more than the day has left: nothing leaves before midnight, so that none overtakes another.
  const isDayUsed = released.count === today && today < allowed.length;
  const freeAt = isDayUsed ? (dayOfClaim(pace, now) + 1) * DAY_MS : (setDueAt ?? dueAt);
  const waitsForCarrier = !isDayUsed && send.length === budget && waiting.length > send.length;
  // Behind late messages there may be more than were looked at.
  const next = queue.length > send.length ? freeAt : "whenDeferred";
  return { send, expire, optedOut, setDueAt, next, freeAt, waitsForCarrier };
}

/** How many messages, in order, a day's allowance has room for. */
function withinAllowance(parts: readonly number[], allowance: number): number {
  let left = allowance;
  const over = parts.findIndex((each) => {
    left -= each;
    return left < 0;
  });
  return over < 0 ? parts.length : over;
}
