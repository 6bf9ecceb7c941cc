import type { HealthCounts, Standing } from "../health.ts";
import type { Group } from "./group.ts";
import type { Heap } from "./heap.ts";
import type { PoolType, RoundRobin } from "./round-robin.ts";

/** A pool's settings with defaults filled in. Undefined settings turn the pool off. */
export type PoolSettings = {
  readonly longCodeWeight: number;
  readonly tollFreeWeight: number;
  readonly skipUnhealthy: boolean;
  readonly stickySender: boolean;
  readonly geomatch: boolean;
};

/**
 * A number as a pool's input. Times are milliseconds since 1970; `lastUsed` is a sequence, unique
 * in the pool.
 */
export type PoolNumber = {
  readonly id: string;
  readonly phoneNumber: string;
  readonly lineType: "long_code" | "toll_free";
  /** The area code; undefined for numbers without geography. */
  readonly areaCode: string | undefined;
  /** The state or province of the area code. */
  readonly region: string | undefined;
  readonly state: "active" | "draining" | "paused";
  /** Its carrier is not configured, so it cannot send. Absent: false. */
  readonly carrierUnavailable?: boolean | undefined;
  /** Segments a second. */
  readonly segmentsPerSecond: number;
  /** Segments a UTC day; undefined for no limit. */
  readonly dailySegmentLimit: number | undefined;
  /** Increments when the number leaves a profile; older mappings are void. */
  readonly generation: number;
  readonly health: HealthCounts;
  /** When its pace next allows it to send. */
  readonly nextFree: number;
  readonly lastUsed: number;
  /** Segments that left or will leave on `day`. */
  readonly usedToday: number;
  /** Days since 1970, UTC. */
  readonly day: number;
  /** Accepted messages without an outcome; Infinity: too many to count. */
  readonly unreported: number;
  /** Segments in its queue. */
  readonly queuedSegments: number;
};

/** Why a number cannot be picked, in the order of the checks. */
export const CAUSES = [
  "weightZero",
  "paused",
  "carrierUnavailable",
  "draining",
  "unhealthy",
  "onTrial",
  "dailyLimit",
  "full",
] as const;
export type Cause = (typeof CAUSES)[number];

/** A number's state in a pool that survives reloads. */
export type Stay = {
  /** Charged segments whose commit is unconfirmed: no read of the queue shows them. */
  uncommitted: number;
  /** Increments when a message joins the queue, which makes earlier reads stale. */
  arrivals: number;
};

/** A number's state in a pool. `cause` is undefined while the number can be picked. */
export type Slot = {
  number: PoolNumber;
  /** The same object until the number leaves the pool, across reloads. */
  readonly stay: Stay;
  type: PoolType;
  cause: Cause | undefined;
  standing: Standing;
  /** Its groups: by type, by area code, by state or province. */
  readonly groups: readonly Group[];
  /**
   * Its heap in these groups while it can be picked: the segments left in its day, at most
   * MAX_SEGMENTS.
   */
  left: number;
  /** The time of one segment at its rate, in whole quanta. */
  segmentMs: number;
  usedToday: number;
  day: number;
  unreported: number;
  queuedSegments: number;
};

/**
 * An index of a profile's numbers that picks in O(log n). One order, by the time when each number
 * is next free, gives the least loaded number while all are busy and the least recently used one
 * while some are idle. It exists per type, per area code, and per state or province. Only the
 * functions of this folder change it.
 */
export type Pool = {
  settings: PoolSettings | undefined;
  roundRobin: RoundRobin;
  /** The pool's time, which never goes back. */
  now: number;
  /** The last assigned `lastUsed`. */
  sequence: number;
  /** Undefined where vacant. */
  readonly slots: (Slot | undefined)[];
  readonly vacant: number[];
  readonly byId: Map<string, number>;
  readonly nextFree: number[];
  readonly lastUsed: number[];
  readonly wakeAt: number[];
  readonly candidates: readonly [Group, Group];
  readonly byAreaCode: Map<string, Group>;
  readonly byRegion: Map<string, Group>;
  /** Numbers that are only full, by when they next have room for a segment. */
  readonly full: Heap;
  /** Numbers at their daily limit, by when they next have room: at midnight or later. */
  readonly dayUsed: Heap;
  /** Numbers whose day has few segments left, to reclassify at midnight. */
  readonly shortOfDay: Set<number>;
  /** Numbers whose standing changes with time, by when. */
  readonly changing: Heap;
  /** The shortest segment time of all numbers, which bounds the search for room. */
  shortestSegmentMs: number;
  readonly positions: { readonly area: number[]; readonly region: number[] };
  /** Excluded numbers by cause. */
  readonly excluded: Record<Cause, number>;
};
