import type { Picked } from "./decide.ts";
import { MAX_SEGMENTS } from "./group.ts";
import { reclassify, reorder } from "./pool.ts";
import { hasRoom, leftOfDay, usedOnDeparture } from "./room.ts";
import { type RoundRobin, turn } from "./round-robin.ts";
import type { Pool, Slot } from "./state.ts";

/** The fields of a number that a charge changes. */
type Load = {
  readonly nextFree: number;
  readonly lastUsed: number;
  readonly usedToday: number;
  /** The UTC day on which the message is predicted to leave, and on which it counts. */
  readonly day: number;
};

/** A charge, with what is needed to undo it when its commit fails. */
export type Charge = {
  readonly slot: number;
  /**
   * The slot when charged. A reload keeps the load and the charge; the removal of the number drops
   * both.
   */
  readonly known: Slot;
  readonly segments: number;
  readonly before: Load;
  readonly after: Load;
  /** The round robin that the charge advanced; undefined when it did not. */
  readonly roundRobin: RoundRobin | undefined;
};

/**
 * Charges a pick: the number is busy for the message's segments and is the last used, and the round
 * robin advances if the weights chose.
 */
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

/** Undoes a charge. Later charges stay. */
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
    // This charge may have been the first of its day.
    known.day = before.day;
    known.usedToday = before.usedToday;
  } else if (known.day === after.day) known.usedToday = Math.max(0, known.usedToday - segments);
  known.unreported = Math.max(0, known.unreported - 1);
  known.queuedSegments = Math.max(0, known.queuedSegments - segments);
  reclassify(pool, slot);
}

/** Notes that a charge is committed: its message is visible in the queue. */
export function confirm({ known, segments }: Charge): void {
  known.stay.uncommitted -= segments;
}

function settle(pool: Pool, slot: number, known: Slot): void {
  const keepsClass =
    known.cause === undefined &&
    hasRoom(pool, slot, 1) &&
    known.left === MAX_SEGMENTS &&
    leftOfDay(pool, slot, known) >= MAX_SEGMENTS &&
    (known.standing.standing === "healthy" || !pool.settings?.skipUnhealthy);
  if (keepsClass) reorder(pool, slot);
  else reclassify(pool, slot);
}
