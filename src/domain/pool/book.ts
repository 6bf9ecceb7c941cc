import type { HealthCounts } from "../health.ts";
import { reclassify } from "./pool.ts";
import { quantized, usedOnDeparture } from "./room.ts";
import type { Pool, Slot } from "./state.ts";

/**
 * Books an outcome: the number's new counts (undefined: unchanged), and how many messages became
 * reported. Ignores unknown ids.
 */
export function bookOutcome(pool: Pool, id: string, health: HealthCounts | undefined, reported: number): void {
  const slot = pool.byId.get(id);
  if (slot === undefined || (health === undefined && reported === 0)) return;
  const known = pool.slots[slot] as Slot;
  // Counts read before a reset are stale after it.
  const isOlder = (health?.resetAt ?? 0) < (known.number.health.resetAt ?? 0);
  if (health !== undefined && !isOlder) known.number = { ...known.number, health };
  known.unreported = Math.max(0, known.unreported - reported);
  reclassify(pool, slot);
}

/**
 * Books segments that joined a number's queue or (negative) left it, which changes when the number
 * is free. Segments that left unsent return their share of the daily limit.
 */
export function bookQueue(pool: Pool, id: string, segments: number, isUnsent = false): void {
  const slot = pool.byId.get(id);
  if (slot === undefined || segments === 0) return;
  const known = pool.slots[slot] as Slot;
  known.queuedSegments = Math.max(0, known.queuedSegments + segments);
  if (segments > 0) known.stay.arrivals += 1;
  const free = pool.nextFree[slot] as number;
  if (segments > 0 || isUnsent) {
    // The segments that joined leave later, or again, and count on that day.
    const { day, used } = usedOnDeparture(pool, slot, known);
    known.usedToday = Math.max(0, used + segments);
    known.day = day;
  }
  // The time when an idle number became free orders it by last use.
  const isIdle = segments < 0 && free <= pool.now;
  if (!isIdle) pool.nextFree[slot] = Math.max(pool.now, Math.max(free, pool.now) + segments * known.segmentMs);
  reclassify(pool, slot);
}

/** Sets the number of segments in a queue; uncommitted segments are added. */
export function bookQueued(pool: Pool, id: string, segments: number): void {
  const slot = pool.byId.get(id);
  const known = slot === undefined ? undefined : pool.slots[slot];
  if (known !== undefined) bookQueue(pool, id, segments + known.stay.uncommitted - known.queuedSegments);
}

/**
 * Books a claim: the segments that left the queue, whether it is empty now, and when the number's
 * pace allows the next one (milliseconds since 1970; Infinity: it does not send). Corrects the
 * predicted load when it drifted because a carrier was down or the dispatcher was late.
 */
export function bookClaim(pool: Pool, id: string, segments: number, freeAt: number, isEmpty = false): void {
  const slot = pool.byId.get(id);
  if (slot === undefined) return;
  const known = pool.slots[slot] as Slot;
  known.queuedSegments = isEmpty ? known.stay.uncommitted : Math.max(0, known.queuedSegments - segments);
  if (freeAt === Number.POSITIVE_INFINITY) return;
  const queue = known.queuedSegments * known.segmentMs;
  const expected = quantized(queue === 0 ? freeAt : Math.max(freeAt, pool.now) + queue);
  const predicted = pool.nextFree[slot] as number;
  const drift = Math.abs(expected - predicted);
  // Small differences come from the order of claims. Correcting them would favour the numbers
  // claimed first.
  const isIdle = expected <= pool.now && predicted <= pool.now;
  if (isIdle || drift < MAX_DRIFT_MS || drift < MAX_DRIFT_SHARE * (predicted - pool.now)) return;
  pool.nextFree[slot] = expected;
  reclassify(pool, slot);
}

/** Ids of the numbers on trial: only for these does the count of unreported messages matter. */
export function numbersOnTrial(pool: Pool): string[] {
  return pool.changing.items.flatMap((slot) => {
    const known = pool.slots[slot];
    return known?.standing.standing === "trial" ? [known.number.id] : [];
  });
}

/** Notes that another process accepted a message for a number, which is therefore unreported. */
export function noteUnreported(pool: Pool, id: string): void {
  const slot = pool.byId.get(id);
  if (slot !== undefined && pool.slots[slot]?.unreported === 0) setUnreported(pool, id, 1);
}

/** Sets the count of a number's unreported messages. */
export function setUnreported(pool: Pool, id: string, unreported: number): void {
  const slot = pool.byId.get(id);
  const known = slot === undefined ? undefined : pool.slots[slot];
  if (slot === undefined || known === undefined || known.unreported === unreported) return;
  known.unreported = unreported;
  reclassify(pool, slot);
}

/**
 * How far a load may drift from the prediction before it is corrected: a time, and a share of the
 * prediction.
 */
const MAX_DRIFT_MS = 1_000;
const MAX_DRIFT_SHARE = 0.02;
