import { type HealthCounts, judge, type Standing } from "../health.ts";
import { createGroup, type Group, join, leave, MAX_SEGMENTS } from "./group.ts";
import { createHeap, type Heap, place, take } from "./heap.ts";
import { createRoundRobin, LONG_CODE, type PoolType, type RoundRobin, TOLL_FREE } from "./round-robin.ts";

/** The rules of a pool; what was never set has its default already. Undefined settings mean that the pool is off. */
export type PoolSettings = {
  readonly longCodeWeight: number;
  readonly tollFreeWeight: number;
  readonly skipUnhealthy: boolean;
  readonly stickySender: boolean;
  readonly geomatch: boolean;
};

/** A number as a pool takes it in. Times are milliseconds since 1970; `lastUsed` is a sequence, unique in the pool. */
export type PoolNumber = {
  readonly id: string;
  readonly phoneNumber: string;
  readonly lineType: "long_code" | "toll_free";
  /** The area code, for numbers that have such geography. */
  readonly areaCode: string | undefined;
  /** The state or province of the area code. */
  readonly region: string | undefined;
  readonly state: "active" | "draining" | "paused";
  /** Its carrier is not configured: nothing can leave. Absent: it is. */
  readonly carrierUnavailable?: boolean | undefined;
  /** Segments a second. */
  readonly segmentsPerSecond: number;
  /** Segments a UTC day; undefined for no cap. */
  readonly dailySegmentLimit: number | undefined;
  /** Grows when the number leaves a profile; mappings made before are void. */
  readonly generation: number;
  readonly health: HealthCounts;
  /** When the number is next free by its pace. */
  readonly nextFree: number;
  readonly lastUsed: number;
  /** Segments that left or are to leave on `day`. */
  readonly usedToday: number;
  /** Days since 1970, UTC. */
  readonly day: number;
  /** Messages taken whose outcome is not known yet; Infinity: so many that they were not counted. */
  readonly unreported: number;
  /** Segments that wait in its queue. */
  readonly queuedSegments: number;
};

/** Why a number cannot be picked, in the order in which causes are looked at. */
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

/** What a pool keeps of a number from its coming to its leaving. */
export type Stay = {
  /** Segments that were charged and whose commit is not known to have succeeded. They are in no queue that can be looked at. */
  uncommitted: number;
  /** Grows when something comes into the queue: what was seen of it before says nothing then. */
  arrivals: number;
};

/** What a pool keeps of a number. `cause` is undefined while the number can be picked. */
export type Slot = {
  number: PoolNumber;
  /** The same object as long as the number stays in the pool, however often it is reloaded. */
  readonly stay: Stay;
  type: PoolType;
  cause: Cause | undefined;
  standing: Standing;
  /** The groups that it is picked from: of its type, of its area code, of its state or province. */
  readonly groups: readonly Group[];
  /** Its heap in them while it can be picked: segments that its day has left, at most MAX_SEGMENTS. */
  left: number;
  /** Milliseconds that one segment takes, in whole quanta. */
  segmentMs: number;
  usedToday: number;
  day: number;
  unreported: number;
  queuedSegments: number;
};

/**
 * An index of a profile's numbers that answers every pick in O(log n): one ordering by the moment each number is next free serves
 * "least loaded" while busy and "least recently used" while idle, kept per type, per area code and per state or province.
 * Only the functions of this folder change it.
 */
export type Pool = {
  settings: PoolSettings | undefined;
  roundRobin: RoundRobin;
  /** The latest moment the pool was brought to. It never runs backwards. */
  now: number;
  /** The last use that was given out. */
  sequence: number;
  /** Undefined: vacant. */
  readonly slots: (Slot | undefined)[];
  readonly vacant: number[];
  readonly byId: Map<string, number>;
  readonly nextFree: number[];
  readonly lastUsed: number[];
  readonly wakeAt: number[];
  readonly candidates: readonly [Group, Group];
  readonly byAreaCode: Map<string, Group>;
  readonly byRegion: Map<string, Group>;
  /** Numbers that are merely full, by when they have room for a segment again. */
  readonly full: Heap;
  /** Numbers whose day is used up, by when they have room for a segment again: at midnight, or later when they are full too. */
  readonly dayUsed: Heap;
  /** Numbers whose day has little left or nothing, to be looked at anew at midnight. */
  readonly shortOfDay: Set<number>;
  /** Numbers whose standing changes by itself, by when. */
  readonly changing: Heap;
  /** The least that a segment takes at any number: nothing that is next free later than this allows has room. */
  shortestSegment: number;
  readonly positions: { readonly area: number[]; readonly region: number[] };
  /** Numbers by cause. */
  readonly excluded: Record<Cause, number>;
};

/** A queue holds this many milliseconds of its number's pace, counted in segments. */
export const QUEUE_CAPACITY_MS = 3 * 3_600_000;
/**
 * Times are kept in quanta of a 4,096th of a millisecond: whole quanta below 2^53 are added without rounding, so that a queue holds
 * exactly its segments however long it has been in use.
 */
const QUANTA = 4096;
/** A UTC day, milliseconds. */
export const DAY_MS = 24 * 3_600_000;

/** A pool of the given numbers. Their order does not matter. */
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
    shortestSegment: Number.POSITIVE_INFINITY,
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

/** Takes a number in, or takes in what changed about it. What the pool knows of its load and last use stays. */
export function putNumber(pool: Pool, number: PoolNumber): void {
  const known = pool.byId.get(number.id);
  const before = known === undefined ? undefined : pool.slots[known];
  const slot = known ?? pool.vacant.pop() ?? pool.slots.length;
  // Rounded down: a queue of three hours must hold its last segment.
  const segmentMs = quantized(1000 / number.segmentsPerSecond);
  pool.shortestSegment = Math.min(pool.shortestSegment, segmentMs);
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
    // While it is idle, when it was last free tells how long ago it was used.
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

/** Lets a number go; unknown ids are let go already. */
export function dropNumber(pool: Pool, id: string): void {
  const slot = pool.byId.get(id);
  if (slot === undefined) return;
  withdraw(pool, slot, pool.slots[slot] as Slot);
  pool.slots[slot] = undefined;
  pool.byId.delete(id);
  pool.vacant.push(slot);
}

/** Takes in new rules. Weights start a new wheel; loads and last uses stay. */
export function changeSettings(pool: Pool, settings: PoolSettings | undefined): void {
  pool.settings = settings;
  pool.roundRobin = roundRobinOf(settings);
  for (const slot of pool.byId.values()) reclassify(pool, slot);
}

/** True when a number of this slot can take so many more segments by its queue and its day, and they wait for less than `maxWaitMs`. */
export function hasRoom(pool: Pool, slot: number, segments: number, maxWaitMs = Number.POSITIVE_INFINITY): boolean {
  const known = pool.slots[slot] as Slot;
  if ((pool.nextFree[slot] as number) - pool.now >= maxWaitMs) return false;
  return hasQueue(pool, slot, known, segments) && segments <= leftOfDay(pool, slot, known);
}

/**
 * Milliseconds until a number has room for so many segments by its queue and its day, and they wait for less than `maxWaitMs`; Infinity
 * when its day never has.
 */
export function untilRoom(pool: Pool, slot: number, segments: number, maxWaitMs = Number.POSITIVE_INFINITY): number {
  const known = pool.slots[slot] as Slot;
  const backlog = (pool.nextFree[slot] as number) - pool.now;
  // The next millisecond is the first with less than the longest wait.
  const wait = backlog < maxWaitMs ? 0 : backlog - maxWaitMs + 1;
  const queue = Math.max(0, wait, backlog + segments * known.segmentMs - QUEUE_CAPACITY_MS);
  if (segments <= leftOfDay(pool, slot, known)) return queue;
  if (segments > (known.number.dailySegmentLimit as number)) return Number.POSITIVE_INFINITY;
  // What leaves on a later day does not come before that day ends.
  return Math.max(queue, nextMidnight(pool.now + Math.max(0, backlog)) - pool.now);
}

/** How long a message given to this slot now would wait, milliseconds. */
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

/** Looks at a slot anew after anything about it changed. */
export function reclassify(pool: Pool, slot: number): void {
  const known = pool.slots[slot];
  if (known === undefined) return;
  withdraw(pool, slot, known);
  known.standing = judge(known.number.health, pool.now);
  classify(pool, slot, known);
}

/** Moves a slot to where its changed load belongs. Only for slots that can still be picked and whose day has as much left as before. */
export function reorder(pool: Pool, slot: number): void {
  const known = pool.slots[slot] as Slot;
  for (const group of known.groups) join(group, slot, known.left);
}

/** Segments that a number may still take for the day on which they would leave; Infinity without a daily limit. */
export function leftOfDay(pool: Pool, slot: number, known: Slot): number {
  const { dailySegmentLimit } = known.number;
  return dailySegmentLimit === undefined
    ? Number.POSITIVE_INFINITY
    : dailySegmentLimit - usedOnDeparture(pool, slot, known).used;
}

/**
 * The UTC day on which a message leaves that is given to a number now, and the segments that leave before it on that day, those that
 * have left included: the estimate of what a daily limit, which holds when messages leave, has room for.
 */
export function usedOnDeparture(
  pool: Pool,
  slot: number,
  known: Slot,
): { readonly day: number; readonly used: number } {
  const free = pool.nextFree[slot] as number;
  const day = dayOf(Math.max(free, pool.now));
  if (known.day === day) return { day, used: known.usedToday };
  // It leaves earlier than was foreseen, as a limit was raised: what was counted is of a later day, and what waits comes before it.
  if (known.day > day) return { day, used: known.queuedSegments };
  // Nothing was counted for that day yet: what waits leaves on it from midnight on.
  return { day, used: segmentsAfter(day, free, known.segmentMs) };
}

/** Segments of a queue that ends at `free` which leave on a day or later. The slack makes up for adding fractions. */
export function segmentsAfter(day: number, free: number, segmentMs: number): number {
  return Math.max(0, Math.floor((free - day * DAY_MS) / segmentMs + 0.001));
}

function hasQueue(pool: Pool, slot: number, known: Slot, segments: number): boolean {
  const backlog = Math.max(0, (pool.nextFree[slot] as number) - pool.now);
  return backlog + segments * known.segmentMs <= QUEUE_CAPACITY_MS;
}

/** Milliseconds in whole quanta, rounded down. */
export function quantized(milliseconds: number): number {
  return Math.floor(milliseconds * QUANTA) / QUANTA;
}

function roundRobinOf(settings: PoolSettings | undefined): RoundRobin {
  return createRoundRobin(settings?.longCodeWeight ?? 0, settings?.tollFreeWeight ?? 0);
}

function weightOf(settings: PoolSettings | undefined, type: PoolType): number {
  return type === LONG_CODE ? (settings?.longCodeWeight ?? 0) : (settings?.tollFreeWeight ?? 0);
}

/** The first cause that keeps a slot from being picked for one segment. */
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
