import type { HealthCounts } from "../health.ts";
import { type Pool, quantized, reclassify, type Slot, usedOnDeparture } from "./pool.ts";

/**
 * Books an outcome: the number's new counts (undefined: as they were), and how many messages are not unreported any more.
 * Unknown ids have nothing to book.
 */
export function bookOutcome(pool: Pool, id: string, health: HealthCounts | undefined, reported: number): void {
  const slot = pool.byId.get(id);
  if (slot === undefined || (health === undefined && reported === 0)) return;
  const known = pool.slots[slot] as Slot;
  // Counts that were read before a reset say nothing after it.
  const isOlder = (health?.resetAt ?? 0) < (known.number.health.resetAt ?? 0);
  if (health !== undefined && !isOlder) known.number = { ...known.number, health };
  known.unreported = Math.max(0, known.unreported - reported);
  reclassify(pool, slot);
}

/**
 * Books segments that came into a number's queue, or (negative) that left it: the number is busy for more or less. Those of which is
 * known that they left unsent give back what they took of the day.
 */
export function bookQueue(pool: Pool, id: string, segments: number, isUnsent = false): void {
  const slot = pool.byId.get(id);
  if (slot === undefined || segments === 0) return;
  const known = pool.slots[slot] as Slot;
  known.queuedSegments = Math.max(0, known.queuedSegments + segments);
  if (segments > 0) known.stay.arrivals += 1;
  const free = pool.nextFree[slot] as number;
  if (segments > 0 || isUnsent) {
    // What came leaves later, or once more: it counts then.
    const { day, used } = usedOnDeparture(pool, slot, known);
    known.usedToday = Math.max(0, used + segments);
    known.day = day;
  }
  // What an idle number was last free at tells how long ago it was used.
  const isIdle = segments < 0 && free <= pool.now;
  if (!isIdle) pool.nextFree[slot] = Math.max(pool.now, Math.max(free, pool.now) + segments * known.segmentMs);
  reclassify(pool, slot);
}

/** Books how many segments a queue holds, whatever was believed before; what is about to be committed comes on top. */
export function bookQueued(pool: Pool, id: string, segments: number): void {
  const slot = pool.byId.get(id);
  const known = slot === undefined ? undefined : pool.slots[slot];
  if (known !== undefined) bookQueue(pool, id, segments + known.stay.uncommitted - known.queuedSegments);
}

/**
 * Books a claim: segments that left the queue, whether it is empty then, and when the number's pace lets it send again (milliseconds
 * since 1970; Infinity: it does not send). The load that was foreseen is corrected where it strayed: a carrier was down, or the
 * dispatcher was late.
 */
export function bookClaim(pool: Pool, id: string, segments: number, freeAt: number, isEmpty = false): void {
  const slot = pool.byId.get(id);
  if (slot === undefined) return;
  const known = pool.slots[slot] as Slot;
  known.queuedSegments = isEmpty ? known.stay.uncommitted : Math.max(0, known.queuedSegments - segments);
  if (freeAt === Number.POSITIVE_INFINITY) return;
  const queue = known.queuedSegments * known.segmentMs;
  const expected = quantized(queue === 0 ? freeAt : Math.max(freeAt, pool.now) + queue);
  const foreseen = pool.nextFree[slot] as number;
  const strayed = Math.abs(expected - foreseen);
  // Small differences come from the turns of claims. Putting them right would favour the numbers whose turn comes first.
  const isIdle = expected <= pool.now && foreseen <= pool.now;
  if (isIdle || strayed < STRAYED || strayed < STRAYED_SHARE * (foreseen - pool.now)) return;
  pool.nextFree[slot] = expected;
  reclassify(pool, slot);
}

/** Numbers on trial, by id: only of these it matters how many messages are unreported. */
export function numbersOnTrial(pool: Pool): string[] {
  return pool.changing.items.flatMap((slot) => {
    const known = pool.slots[slot];
    return known?.standing.standing === "trial" ? [known.number.id] : [];
  });
}

/** Notes that a number has something unreported, which another process accepted. */
export function noteUnreported(pool: Pool, id: string): void {
  const slot = pool.byId.get(id);
  if (slot !== undefined && pool.slots[slot]?.unreported === 0) setUnreported(pool, id, 1);
}

/** Sets how many messages of a number are unreported. */
export function setUnreported(pool: Pool, id: string, unreported: number): void {
  const slot = pool.byId.get(id);
  const known = slot === undefined ? undefined : pool.slots[slot];
  if (slot === undefined || known === undefined || known.unreported === unreported) return;
  known.unreported = unreported;
  reclassify(pool, slot);
}

/** What a load may stray from what was foreseen before it is put right: milliseconds, and the share of what was foreseen. */
const STRAYED = 1_000;
const STRAYED_SHARE = 0.02;
