import type { Picked } from "./decide.ts";
import { MAX_SEGMENTS } from "./group.ts";
import { hasRoom, leftOfDay, type Pool, reclassify, reorder, type Slot, usedOnDeparture } from "./pool.ts";
import { type RoundRobin, turn } from "./round-robin.ts";

/** What a charge changes of a number. */
type Load = {
  readonly nextFree: number;
  readonly lastUsed: number;
  readonly usedToday: number;
  /** The UTC day on which a message leaves, as far as can be foreseen: the day that it counts on. */
  readonly day: number;
};

/** What a charge did, to be undone when its commit fails. */
export type Charge = {
  readonly slot: number;
  /** The slot as it was charged. A reload keeps the load, and the charge with it; a number that left the pool took both away. */
  readonly known: Slot;
  readonly segments: number;
  readonly before: Load;
  readonly after: Load;
  /** The wheel that was turned; undefined when it was not. */
  readonly roundRobin: RoundRobin | undefined;
};

/** Books a pick: the number is busy for the message's segments, was used last, and the round robin turns if the weights chose. */
export function charge(pool: Pool, pick: Picked, segments: number): Charge {
  const { slot } = pick;
  const known = pool.slots[slot] as Slot;
  const { usedToday, day } = known;
  const before = {
    nextFree: pool.nextFree[slot] as number,
    lastUsed: pool.lastUsed[slot] as number,
    usedToday,
    day,
  };
  const departure = usedOnDeparture(pool, slot, known);
  const after = {
    nextFree: Math.max(before.nextFree, pool.now) + segments * known.segmentMs,
    lastUsed: ++pool.sequence,
    usedToday: departure.used + segments,
    day: departure.day,
  };
  pool.nextFree[slot] = after.nextFree;
  pool.lastUsed[slot] = after.lastUsed;
  known.usedToday = after.usedToday;
  known.day = after.day;
  known.unreported += 1;
  known.queuedSegments += segments;
  known.stay.uncommitted += segments;
  known.stay.arrivals += 1;
  settle(pool, slot, known);
  const roundRobin = pick.rule === "weights" ? pool.roundRobin : undefined;
  if (roundRobin !== undefined) turn(roundRobin, known.type);
  return { slot, known, segments, before, after, roundRobin };
}

/** Takes a charge back. Charges that were made since stay. */
export function undo(pool: Pool, charged: Charge): void {
  const { slot, segments, before, after } = charged;
  if (charged.roundRobin !== undefined && charged.roundRobin === pool.roundRobin)
    turn(charged.roundRobin, charged.known.type, -1);
  const known = pool.slots[slot];
  if (known?.stay !== charged.known.stay) return;
  known.stay.uncommitted -= segments;
  const isLast = pool.nextFree[slot] === after.nextFree;
  pool.nextFree[slot] = isLast ? before.nextFree : (pool.nextFree[slot] as number) - segments * known.segmentMs;
  if (pool.lastUsed[slot] === after.lastUsed) pool.lastUsed[slot] = before.lastUsed;
  if (known.day === after.day && known.usedToday === after.usedToday) {
    // It may have been the first that was counted for its day.
    known.day = before.day;
    known.usedToday = before.usedToday;
  } else if (known.day === after.day) known.usedToday = Math.max(0, known.usedToday - segments);
  known.unreported = Math.max(0, known.unreported - 1);
  known.queuedSegments = Math.max(0, known.queuedSegments - segments);
  reclassify(pool, slot);
}

/** Notes that a charge is on disk: its message can be seen in the queue. */
export function confirm({ known, segments }: Charge): void {
  known.stay.uncommitted -= segments;
}

function settle(pool: Pool, slot: number, known: Slot): void {
  const stays =
    known.cause === undefined &&
    hasRoom(pool, slot, 1) &&
    known.left === MAX_SEGMENTS &&
    leftOfDay(pool, slot, known) >= MAX_SEGMENTS &&
    (known.standing.standing === "healthy" || !pool.settings?.skipUnhealthy);
  if (stays) reorder(pool, slot);
  else reclassify(pool, slot);
}
