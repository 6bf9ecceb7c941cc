import { firstThat, type Group, heapsOf } from "./group.ts";
import { before, smallest, smallestThat } from "./heap.ts";
import { hasRoom, QUEUE_CAPACITY_MS, untilRoom, waitOf } from "./room.ts";
import { LONG_CODE, nextType, TOLL_FREE } from "./round-robin.ts";
import type { Cause, Pool, Slot } from "./state.ts";

/** A request for the sender of one message. */
export type PickRequest = {
  /** Segments of the message, 1 to 10. */
  readonly segments: number;
  /** The id of the number that the caller named; no other number is considered. */
  readonly from?: string | undefined;
  /**
   * The id of the recipient's mapped number, with the number's generation at the time of mapping.
   */
  readonly sticky?: { readonly numberId: string; readonly generation: number } | undefined;
  /** The id of a number not to pick: the recipient itself. */
  readonly except?: string | undefined;
  /**
   * How long the message may wait; undefined: as long as a queue holds. A number with a wait as
   * long is full for the message.
   */
  readonly maxWaitMs?: number | undefined;
  /** The recipient's geography, used only under geomatch; undefined when it has none. */
  readonly near?: Near | undefined;
};

/** A recipient's geography. */
export type Near = {
  readonly areaCode: string;
  readonly overlays: readonly string[];
  readonly region: string | undefined;
};

export type Rule = "from" | "sticky" | "geomatch" | "weights" | "leastLoaded";
export type Tier = "areaCode" | "overlay" | "region" | "any";

/**
 * The counts of a pool at a decision: all numbers, those that could send to a new recipient, and
 * the others by cause.
 */
export type Standings = {
  readonly poolSize: number;
  readonly eligible: number;
  readonly excluded: Readonly<Record<Cause, number>>;
};

/** A number was found. `waitMs` is the message's wait in its queue. */
export type Picked = Standings & {
  readonly kind: "pick";
  readonly slot: number;
  readonly rule: Rule;
  readonly tier: Tier | undefined;
  /** The recipient's sticky sender is only full, so its mapping stays. */
  readonly isFallback: boolean;
  readonly waitMs: number;
};

/**
 * No number was found. `full`, with the time until there is room, when any candidate is only full.
 */
export type PickRefusal = Standings & {
  readonly kind: "refuse";
  readonly because:
    | "full"
    | "poolOff"
    | "noNumbers"
    | "nothingUsable"
    | "fromUnknown"
    | "fromPaused"
    | "fromUnreachable"
    | "fromUnhealthy";
  readonly retryAfterMs: number | undefined;
};

/**
 * Picks the sender of one message without changing the pool. Among the numbers that may send, the
 * sticky sender comes first, then geography, then the weights, then the least loaded number,
 * which among idle ones is the least recently used.
 */
export function decide(pool: Pool, request: PickRequest): Picked | PickRefusal {
  const { segments, maxWaitMs = Number.POSITIVE_INFINITY } = request;
  if (request.from !== undefined) return decideFrom(pool, request.from, segments, maxWaitMs);
  if (pool.settings === undefined) return refuse(pool, "poolOff");
  if (pool.byId.size === 0) return refuse(pool, "noNumbers");

  const except = request.except === undefined ? undefined : pool.byId.get(request.except);
  let isFallback = false;
  if (pool.settings.stickySender && request.sticky !== undefined) {
    const slot = stickySlot(pool, request.sticky);
    if (slot !== undefined && slot !== except) {
      if (isFreeFor(pool, slot, segments, maxWaitMs)) return pick(pool, slot, "sticky", undefined, false);
      isFallback = true;
    }
  }
  const near = pool.settings.geomatch ? request.near : undefined;
  const match = near === undefined ? undefined : nearest(pool, near, segments, maxWaitMs, except);
  if (match !== undefined) return pick(pool, match.slot, "geomatch", match.tier, isFallback);

  const tier = near === undefined ? undefined : "any";
  const longCode = firstWithRoom(pool, pool.candidates[LONG_CODE], segments, maxWaitMs, except);
  const tollFree = firstWithRoom(pool, pool.candidates[TOLL_FREE], segments, maxWaitMs, except);
  if (longCode !== undefined && tollFree !== undefined) {
    const slot = nextType(pool.roundRobin) === LONG_CODE ? longCode : tollFree;
    return pick(pool, slot, "weights", tier, isFallback);
  }
  const only = longCode ?? tollFree;
  if (only !== undefined) return pick(pool, only, "leastLoaded", tier, isFallback);
  const wait = timeToRoom(pool, segments, maxWaitMs, except);
  return wait === undefined ? refuse(pool, "nothingUsable") : refuse(pool, "full", wait);
}

function decideFrom(pool: Pool, id: string, segments: number, maxWaitMs: number): Picked | PickRefusal {
  const slot = pool.byId.get(id);
  if (slot === undefined) return refuse(pool, "fromUnknown");
  const { number, standing } = pool.slots[slot] as Slot;
  if (number.state === "paused") return refuse(pool, "fromPaused");
  if (number.carrierUnavailable) return refuse(pool, "fromUnreachable");
  if (pool.settings?.skipUnhealthy && standing.standing === "unhealthy") return refuse(pool, "fromUnhealthy");
  if (hasRoom(pool, slot, segments, maxWaitMs)) return pick(pool, slot, "from", undefined, false);
  const wait = untilRoom(pool, slot, segments, maxWaitMs);
  return wait === Number.POSITIVE_INFINITY ? refuse(pool, "nothingUsable") : refuse(pool, "full", wait);
}

/** The mapped number's slot; undefined when the mapping is void or the number may not send. */
function stickySlot(pool: Pool, sticky: NonNullable<PickRequest["sticky"]>): number | undefined {
  const slot = pool.byId.get(sticky.numberId);
  if (slot === undefined) return undefined;
  const { number, cause, standing } = pool.slots[slot] as Slot;
  if (number.generation !== sticky.generation || cause === "weightZero" || cause === "paused") return undefined;
  if (cause === "carrierUnavailable") return undefined;
  return pool.settings?.skipUnhealthy && standing.standing === "unhealthy" ? undefined : slot;
}

/**
 * Whether a sticky sender can send the message now. One on trial with an unreported message counts
 * as full.
 */
function isFreeFor(pool: Pool, slot: number, segments: number, maxWaitMs: number): boolean {
  const { standing, unreported } = pool.slots[slot] as Slot;
  if (pool.settings?.skipUnhealthy && standing.standing === "trial" && unreported > 0) return false;
  return hasRoom(pool, slot, segments, maxWaitMs);
}

function nearest(
  pool: Pool,
  near: Near,
  segments: number,
  maxWaitMs: number,
  except: number | undefined,
): { slot: number; tier: Tier } | undefined {
  const same = firstWithRoom(pool, pool.byAreaCode.get(near.areaCode), segments, maxWaitMs, except);
  if (same !== undefined) return { slot: same, tier: "areaCode" };
  let overlay: number | undefined;
  for (const areaCode of near.overlays) {
    const slot = firstWithRoom(pool, pool.byAreaCode.get(areaCode), segments, maxWaitMs, except);
    if (slot === undefined) continue;
    if (overlay === undefined || before(pool.candidates[LONG_CODE].whole.order, slot, overlay)) overlay = slot;
  }
  if (overlay !== undefined) return { slot: overlay, tier: "overlay" };
  if (near.region === undefined) return undefined;
  const region = firstWithRoom(pool, pool.byRegion.get(near.region), segments, maxWaitMs, except);
  return region === undefined ? undefined : { slot: region, tier: "region" };
}

/**
 * Candidates have room for one segment; for a longer message the first may still be too full or too
 * slow.
 */
function firstWithRoom(
  pool: Pool,
  group: Group | undefined,
  segments: number,
  maxWaitMs: number,
  except: number | undefined,
): number | undefined {
  if (group === undefined) return undefined;
  const root = smallest(group.whole);
  if (group.short.length === 0 && (root === undefined || (root !== except && hasRoom(pool, root, segments, maxWaitMs))))
    return root;
  // A number that is next free later than this has no room at any rate.
  const bound = pool.now + Math.min(QUEUE_CAPACITY_MS - segments * pool.shortestSegmentMs, maxWaitMs);
  return firstThat(group, segments, (slot) => slot !== except && hasRoom(pool, slot, segments, maxWaitMs), bound);
}

/**
 * Time until a number that is full or at its daily limit has room; undefined when waiting does not
 * help.
 */
function timeToRoom(pool: Pool, segments: number, maxWaitMs: number, except: number | undefined): number | undefined {
  const heaps = [pool.full, pool.dayUsed];
  const others = heaps.map((heap) => smallestThat(heap, (slot) => slot !== except, Number.POSITIVE_INFINITY));
  const first = [...others, ...pool.candidates.flatMap(heapsOf).map(smallest)];
  const minimum = minTimeToRoom(pool, segments, maxWaitMs, first, except);
  if (minimum !== undefined) return minimum;
  // The first numbers may have daily limits too small for such a message; then all are checked.
  const all = [...heaps, ...pool.candidates.flatMap(heapsOf)].flatMap((heap) => heap.items);
  return minTimeToRoom(pool, segments, maxWaitMs, all, except);
}

function minTimeToRoom(
  pool: Pool,
  segments: number,
  maxWaitMs: number,
  slots: readonly (number | undefined)[],
  except: number | undefined,
): number | undefined {
  let minimum = Number.POSITIVE_INFINITY;
  for (const slot of slots) {
    if (slot !== undefined && slot !== except) minimum = Math.min(minimum, untilRoom(pool, slot, segments, maxWaitMs));
  }
  return minimum === Number.POSITIVE_INFINITY ? undefined : minimum;
}

function eligible(pool: Pool): number {
  return pool.candidates[LONG_CODE].size + pool.candidates[TOLL_FREE].size;
}

function pick(pool: Pool, slot: number, rule: Rule, tier: Tier | undefined, isFallback: boolean): Picked {
  return {
    kind: "pick",
    slot,
    rule,
    tier,
    isFallback,
    waitMs: waitOf(pool, slot),
    poolSize: pool.byId.size,
    eligible: eligible(pool),
    excluded: { ...pool.excluded },
  };
}

function refuse(pool: Pool, because: PickRefusal["because"], retryAfterMs?: number): PickRefusal {
  const excluded = { ...pool.excluded };
  return { kind: "refuse", because, retryAfterMs, poolSize: pool.byId.size, eligible: eligible(pool), excluded };
}
