import { type HealthCounts, judge, type Standing } from "../health.ts";
import { createGroup, type Group, join, leave, MAX_SEGMENTS } from "./group.ts";
import { createHeap, type Heap, place, take } from "./heap.ts";
import { createRoundRobin, LONG_CODE, type PoolType, type RoundRobin, TOLL_FREE } from "./round-robin.ts";

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

/** The capacity of a queue: the segments that its number sends in this time. */
export const QUEUE_CAPACITY_MS = 3 * 3_600_000;
/** Times are multiples of a quantum, so sums are exact below 2^53 quanta and queues never drift. */
const QUANTA_PER_MS = 4096;
/** A UTC day. */
export const DAY_MS = 24 * 3_600_000;

/** Makes a pool. The order of the numbers does not matter. */
export function createPool(settings: PoolSettings | undefined, numbers: Iterable<PoolNumber>, now: number): Pool {
  const nextFree: number[] = [];
  const lastUsed: number[] = [];
  const wakeAt: number[] = [];
  const order = { first: nextFree, second: lastUsed };
  const wakeOrder = { first: wakeAt, second: lastUsed };
  const type: number[] = [];
  const wake: number[] = [];
  const pool: Pool = {
    settings,
    roundRobin: roundRobinOf(settings),
    now,
    sequence: 0,
    slots: [],
    vacant: [],
    byId: new Map(),
    nextFree,
    lastUsed,
    wakeAt,
    candidates: [createGroup(order, type), createGroup(order, type)],
    byAreaCode: new Map(),
    byRegion: new Map(),
    full: createHeap(wakeOrder, wake),
    dayUsed: createHeap(wakeOrder, wake),
    shortOfDay: new Set(),
    changing: createHeap(wakeOrder, wake),
    shortestSegmentMs: Number.POSITIVE_INFINITY,
    positions: { area: [], region: [] },
    excluded: {
      weightZero: 0,
      paused: 0,
      carrierUnavailable: 0,
      draining: 0,
      unhealthy: 0,
      onTrial: 0,
      dailyLimit: 0,
      full: 0,
    },
  };
  for (const number of numbers) putNumber(pool, number);
  return pool;
}

/** Adds a number or updates it. Its load and last use stay. */
export function putNumber(pool: Pool, number: PoolNumber): void {
  const known = pool.byId.get(number.id);
  const before = known === undefined ? undefined : pool.slots[known];
  const slot = known ?? pool.vacant.pop() ?? pool.slots.length;
  // Rounded down, so that a queue of three hours holds its last segment.
  const segmentMs = quantized(1000 / number.segmentsPerSecond);
  pool.shortestSegmentMs = Math.min(pool.shortestSegmentMs, segmentMs);
  if (before === undefined) {
    for (const positions of positionsOf(pool)) positions[slot] = -1;
    pool.byId.set(number.id, slot);
    pool.nextFree[slot] = quantized(number.nextFree);
    pool.lastUsed[slot] = number.lastUsed;
    pool.wakeAt[slot] = 0;
    pool.sequence = Math.max(pool.sequence, number.lastUsed);
  } else {
    withdraw(pool, slot, before);
    const backlog = (pool.nextFree[slot] as number) - pool.now;
    // The time when an idle number became free orders it by last use, so it stays.
    if (backlog > 0) pool.nextFree[slot] = pool.now + quantized((backlog / before.segmentMs) * segmentMs);
  }
  const next: Slot = {
    number,
    stay: before?.stay ?? { uncommitted: 0, arrivals: 0 },
    type: number.lineType === "toll_free" ? TOLL_FREE : LONG_CODE,
    cause: undefined,
    standing: judge(number.health, pool.now),
    groups: groupsOf(pool, number),
    left: MAX_SEGMENTS,
    segmentMs,
    usedToday: before?.usedToday ?? number.usedToday,
    day: before?.day ?? number.day,
    unreported: before?.unreported ?? number.unreported,
    queuedSegments: before?.queuedSegments ?? number.queuedSegments,
  };
  pool.slots[slot] = next;
  classify(pool, slot, next);
}

/** Removes a number; ignores unknown ids. */
export function dropNumber(pool: Pool, id: string): void {
  const slot = pool.byId.get(id);
  if (slot === undefined) return;
  withdraw(pool, slot, pool.slots[slot] as Slot);
  pool.slots[slot] = undefined;
  pool.byId.delete(id);
  pool.vacant.push(slot);
}

/** Replaces the settings. The round robin restarts; loads and last uses stay. */
export function changeSettings(pool: Pool, settings: PoolSettings | undefined): void {
  pool.settings = settings;
  pool.roundRobin = roundRobinOf(settings);
  for (const slot of pool.byId.values()) reclassify(pool, slot);
}

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

/** The UTC day of a moment, in days since 1970. */
export function dayOf(moment: number): number {
  return Math.floor(moment / DAY_MS);
}

/** The next 00:00 UTC after a moment, milliseconds since 1970. */
export function nextMidnight(moment: number): number {
  return (dayOf(moment) + 1) * DAY_MS;
}

/** Reclassifies a slot after any change. */
export function reclassify(pool: Pool, slot: number): void {
  const known = pool.slots[slot];
  if (known === undefined) return;
  withdraw(pool, slot, known);
  known.standing = judge(known.number.health, pool.now);
  classify(pool, slot, known);
}

/** Moves a candidate after a change of its load that leaves `left` as it was. */
export function reorder(pool: Pool, slot: number): void {
  const known = pool.slots[slot] as Slot;
  for (const group of known.groups) join(group, slot, known.left);
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

function hasQueue(pool: Pool, slot: number, known: Slot, segments: number): boolean {
  const backlog = Math.max(0, (pool.nextFree[slot] as number) - pool.now);
  return backlog + segments * known.segmentMs <= QUEUE_CAPACITY_MS;
}

/** A time in whole quanta, rounded down. */
export function quantized(timeMs: number): number {
  return Math.floor(timeMs * QUANTA_PER_MS) / QUANTA_PER_MS;
}

function roundRobinOf(settings: PoolSettings | undefined): RoundRobin {
  return createRoundRobin(settings?.longCodeWeight ?? 0, settings?.tollFreeWeight ?? 0);
}

function weightOf(settings: PoolSettings | undefined, type: PoolType): number {
  return type === LONG_CODE ? (settings?.longCodeWeight ?? 0) : (settings?.tollFreeWeight ?? 0);
}

/** The first cause that excludes a slot for one segment. */
function causeOf(pool: Pool, slot: number, known: Slot): Cause | undefined {
  const { number, standing } = known;
  if (weightOf(pool.settings, known.type) === 0) return "weightZero";
  if (number.state === "paused") return "paused";
  if (number.carrierUnavailable) return "carrierUnavailable";
  if (number.state === "draining") return "draining";
  if (pool.settings?.skipUnhealthy) {
    if (standing.standing === "unhealthy") return "unhealthy";
    if (standing.standing === "trial" && known.unreported > 0) return "onTrial";
  }
  if (leftOfDay(pool, slot, known) < 1) return "dailyLimit";
  return hasQueue(pool, slot, known, 1) ? undefined : "full";
}

function classify(pool: Pool, slot: number, known: Slot): void {
  known.cause = causeOf(pool, slot, known);
  known.left = Math.min(MAX_SEGMENTS, Math.max(0, leftOfDay(pool, slot, known)));
  if (known.left < MAX_SEGMENTS) pool.shortOfDay.add(slot);
  if (known.cause === undefined) for (const group of known.groups) join(group, slot, known.left);
  else pool.excluded[known.cause] += 1;

  if (known.cause === "full" || known.cause === "dailyLimit") {
    pool.wakeAt[slot] = pool.now + untilRoom(pool, slot, 1);
    place(known.cause === "full" ? pool.full : pool.dayUsed, slot);
  } else if (known.standing.standing !== "healthy") {
    pool.wakeAt[slot] = known.standing.until;
    place(pool.changing, slot);
  }
}

function withdraw(pool: Pool, slot: number, known: Slot): void {
  if (known.cause === undefined) for (const group of known.groups) leave(group, slot, known.left);
  else pool.excluded[known.cause] -= 1;
  take(known.cause === "full" ? pool.full : known.cause === "dailyLimit" ? pool.dayUsed : pool.changing, slot);
  pool.shortOfDay.delete(slot);
}

function groupsOf(pool: Pool, { lineType, areaCode, region }: PoolNumber): Group[] {
  const groups: Group[] = [pool.candidates[lineType === "toll_free" ? TOLL_FREE : LONG_CODE]];
  if (areaCode !== undefined) groups.push(groupOf(pool, pool.byAreaCode, pool.positions.area, areaCode));
  if (region !== undefined) groups.push(groupOf(pool, pool.byRegion, pool.positions.region, region));
  return groups;
}

function groupOf(pool: Pool, groups: Map<string, Group>, positions: number[], key: string): Group {
  let group = groups.get(key);
  if (group === undefined) {
    group = createGroup(pool.candidates[0].whole.order, positions);
    groups.set(key, group);
  }
  return group;
}

function positionsOf(pool: Pool): number[][] {
  return [pool.candidates[0].whole.positions, pool.positions.area, pool.positions.region, pool.full.positions];
}
