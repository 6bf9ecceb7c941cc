import type { Pool, Slot } from "./state.ts";

/** The capacity of a queue: the segments that its number sends in this time. */
export const QUEUE_CAPACITY_MS = 3 * 3_600_000;
/** Times are multiples of a quantum, so sums are exact below 2^53 quanta and queues never drift. */
const QUANTA_PER_MS = 4096;
/** A UTC day. */
export const DAY_MS = 24 * 3_600_000;

/** Whether a number's queue and day have room for the segments, with a wait below `maxWaitMs`. */
export function hasRoom(pool: Pool, slot: number, segments: number, maxWaitMs = Number.POSITIVE_INFINITY): boolean {
  const known = pool.slots[slot] as Slot;
  if ((pool.nextFree[slot] as number) - pool.now >= maxWaitMs) return false;
  return hasQueue(pool, slot, known, segments) && segments <= leftOfDay(pool, slot, known);
}

/** Time until `hasRoom` holds; Infinity when the daily limit is too small for the segments. */
export function untilRoom(pool: Pool, slot: number, segments: number, maxWaitMs = Number.POSITIVE_INFINITY): number {
  const known = pool.slots[slot] as Slot;
  const backlog = (pool.nextFree[slot] as number) - pool.now;
  // One more, because the wait must be below the maximum.
  const wait = backlog < maxWaitMs ? 0 : backlog - maxWaitMs + 1;
  const queue = Math.max(0, wait, backlog + segments * known.segmentMs - QUEUE_CAPACITY_MS);
  if (segments <= leftOfDay(pool, slot, known)) return queue;
  if (segments > (known.number.dailySegmentLimit as number)) return Number.POSITIVE_INFINITY;
  // The day of departure is used up: room comes when it ends.
  return Math.max(queue, nextMidnight(pool.now + Math.max(0, backlog)) - pool.now);
}

/** How long a new message of this slot would wait. */
export function waitOf(pool: Pool, slot: number): number {
  return Math.max(0, (pool.nextFree[slot] as number) - pool.now);
}

/** Segments left in the day of a new message's departure; Infinity without a daily limit. */
export function leftOfDay(pool: Pool, slot: number, known: Slot): number {
  const { dailySegmentLimit } = known.number;
  return dailySegmentLimit === undefined
    ? Number.POSITIVE_INFINITY
    : dailySegmentLimit - usedOnDeparture(pool, slot, known).used;
}

/**
 * The UTC day on which a new message would leave, and the segments that leave on it before. An
 * estimate: the daily limit holds when messages leave.
 */
export function usedOnDeparture(
  pool: Pool,
  slot: number,
  known: Slot,
): { readonly day: number; readonly used: number } {
  const free = pool.nextFree[slot] as number;
  const day = dayOf(Math.max(free, pool.now));
  if (known.day === day) return { day, used: known.usedToday };
  // A raised limit moved the departure to an earlier day: only the queue counts there.
  if (known.day > day) return { day, used: known.queuedSegments };
  // The day has no count yet: the queue leaves on it from midnight on.
  return { day, used: segmentsAfter(day, free, known.segmentMs) };
}

/**
 * Segments of a queue ending at `free` that leave on `day` or later; the slack absorbs rounding.
 */
export function segmentsAfter(day: number, free: number, segmentMs: number): number {
  return Math.max(0, Math.floor((free - day * DAY_MS) / segmentMs + 0.001));
}

/** Whether a queue has room for the segments, whatever the day has left. */
export function hasQueue(pool: Pool, slot: number, known: Slot, segments: number): boolean {
  const backlog = Math.max(0, (pool.nextFree[slot] as number) - pool.now);
  return backlog + segments * known.segmentMs <= QUEUE_CAPACITY_MS;
}

/** A time in whole quanta, rounded down. */
export function quantized(timeMs: number): number {
  return Math.floor(timeMs * QUANTA_PER_MS) / QUANTA_PER_MS;
}

/** The UTC day of a moment, in days since 1970. */
export function dayOf(moment: number): number {
  return Math.floor(moment / DAY_MS);
}

/** The next 00:00 UTC after a moment, milliseconds since 1970. */
export function nextMidnight(moment: number): number {
  return (dayOf(moment) + 1) * DAY_MS;
}
