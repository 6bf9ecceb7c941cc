import { type HealthCounts, judge, type Standing } from "../health.ts";
import { createHeap, type Heap, place, take } from "./heap.ts";
import { createWheel, LONG_CODE, type PoolType, TOLL_FREE, type Wheel } from "./wheel.ts";

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
  /** Segments a second. */
  readonly messagesPerSecond: number;
  /** Segments a UTC day; undefined for no cap. */
  readonly dailyLimit: number | undefined;
  /** Grows when the number leaves a profile; mappings made before are void. */
  readonly generation: number;
  readonly health: HealthCounts;
  /** When the number is next free by its pace. */
  readonly nextFree: number;
  readonly lastUsed: number;
  /** Segments taken on `day`. */
  readonly usedToday: number;
  /** Days since 1970, UTC. */
  readonly day: number;
  /** Messages taken whose outcome is not known yet. */
  readonly unreported: number;
};

/** Why a number cannot be picked, in the order in which causes are looked at. */
export const CAUSES = ["weightZero", "paused", "draining", "unhealthy", "onTrial", "dailyLimit", "full"] as const;
export type Cause = (typeof CAUSES)[number];

/** What a pool keeps of a number. `cause` is undefined while the number can be picked. */
export type Slot = {
  number: PoolNumber;
  type: PoolType;
  cause: Cause | undefined;
  standing: Standing;
  /** Milliseconds that one segment takes. */
  segmentTime: number;
  usedToday: number;
  day: number;
  unreported: number;
};

/**
 * An index of a profile's numbers that answers every pick in O(log n): one ordering by the moment each number is next free serves
 * "least loaded" while busy and "least recently used" while idle, kept per type, per area code and per state or province.
 * Only the functions of this folder change it.
 */
export type Pool = {
  settings: PoolSettings | undefined;
  wheel: Wheel;
  /** The latest moment the pool was brought to. It never runs backwards. */
  now: number;
  /** The last use that was given out. */
  sequence: number;
  readonly slots: Slot[];
  readonly vacant: number[];
  readonly byId: Map<string, number>;
  readonly nextFree: number[];
  readonly lastUsed: number[];
  readonly wakeAt: number[];
  readonly candidates: readonly [Heap, Heap];
  readonly byAreaCode: Map<string, Heap>;
  readonly byRegion: Map<string, Heap>;
  /** Numbers that are merely full, by when they have room again. */
  readonly full: Heap;
  /** Numbers whose standing or day changes by itself, by when. */
  readonly changing: Heap;
  readonly positions: { readonly area: number[]; readonly region: number[] };
  /** Numbers by cause. */
  readonly passedOver: Record<Cause, number>;
};

/** A queue holds this many milliseconds of its number's pace, counted in segments. */
export const QUEUE_TIME = 3 * 3_600_000;
/**
 * What a sum of segment times may be off by, milliseconds: doubles near 2^41 resolve a quarter of a microsecond, and a queue
 * adds up thousands of them. Without it a queue could lack its last segment.
 */
const ROUNDING = 0.5;
const DAY = 24 * 3_600_000;

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
    wheel: wheelOf(settings),
    now,
    sequence: 0,
    slots: [],
    vacant: [],
    byId: new Map(),
    nextFree,
    lastUsed,
    wakeAt,
    candidates: [createHeap(order, type), createHeap(order, type)],
    byAreaCode: new Map(),
    byRegion: new Map(),
    full: createHeap(wakeOrder, wake),
    changing: createHeap(wakeOrder, wake),
    positions: { area: [], region: [] },
    passedOver: { weightZero: 0, paused: 0, draining: 0, unhealthy: 0, onTrial: 0, dailyLimit: 0, full: 0 },
  };
  for (const number of numbers) putNumber(pool, number);
  return pool;
}

/** Takes a number in, or takes in what changed about it. What the pool knows of its load and last use stays. */
export function putNumber(pool: Pool, number: PoolNumber): void {
  const known = pool.byId.get(number.id);
  const before = known === undefined ? undefined : pool.slots[known];
  const slot = known ?? pool.vacant.pop() ?? pool.slots.length;
  const segmentTime = 1000 / number.messagesPerSecond;
  if (before === undefined) {
    for (const positions of [
      pool.candidates[0].positions,
      pool.positions.area,
      pool.positions.region,
      pool.full.positions,
    ]) {
      positions[slot] = -1;
    }
    pool.byId.set(number.id, slot);
    pool.nextFree[slot] = number.nextFree;
    pool.lastUsed[slot] = number.lastUsed;
    pool.wakeAt[slot] = 0;
    pool.sequence = Math.max(pool.sequence, number.lastUsed);
  } else {
    withdraw(pool, slot, before);
    const backlog = Math.max(0, (pool.nextFree[slot] as number) - pool.now);
    pool.nextFree[slot] = pool.now + (backlog / before.segmentTime) * segmentTime;
  }
  const next: Slot = {
    number,
    type: number.lineType === "toll_free" ? TOLL_FREE : LONG_CODE,
    cause: undefined,
    standing: judge(number.health, pool.now),
    segmentTime,
    usedToday: before?.usedToday ?? number.usedToday,
    day: before?.day ?? number.day,
    unreported: before?.unreported ?? number.unreported,
  };
  pool.slots[slot] = next;
  classify(pool, slot, next);
}

/** Lets a number go; unknown ids are let go already. */
export function dropNumber(pool: Pool, id: string): void {
  const slot = pool.byId.get(id);
  if (slot === undefined) return;
  withdraw(pool, slot, pool.slots[slot] as Slot);
  pool.byId.delete(id);
  pool.vacant.push(slot);
}

/** Takes in new rules. Weights start a new wheel; loads and last uses stay. */
export function changeSettings(pool: Pool, settings: PoolSettings | undefined): void {
  pool.settings = settings;
  pool.wheel = wheelOf(settings);
  for (const slot of pool.byId.values()) reclassify(pool, slot);
}

/**
 * Books an outcome: the number's new counts (undefined: as they were), and how many messages are not unreported any more.
 * Unknown ids have nothing to book.
 */
export function bookOutcome(pool: Pool, id: string, health: HealthCounts | undefined, reported: number): void {
  const slot = pool.byId.get(id);
  if (slot === undefined || (health === undefined && reported === 0)) return;
  const known = pool.slots[slot] as Slot;
  if (health !== undefined) known.number = { ...known.number, health };
  known.unreported = Math.max(0, known.unreported - reported);
  reclassify(pool, slot);
}

/** True when a number of this slot can take so many more segments by its queue and its day. */
export function hasRoom(pool: Pool, slot: number, segments: number): boolean {
  const { segmentTime, number, usedToday, day } = pool.slots[slot] as Slot;
  const backlog = Math.max(0, (pool.nextFree[slot] as number) - pool.now);
  if (backlog + segments * segmentTime > QUEUE_TIME + ROUNDING) return false;
  return number.dailyLimit === undefined || segments + (day === dayOf(pool.now) ? usedToday : 0) <= number.dailyLimit;
}

/** How long a message given to this slot now would wait, milliseconds. */
export function waitOf(pool: Pool, slot: number): number {
  return Math.max(0, (pool.nextFree[slot] as number) - pool.now);
}

/** The UTC day of a moment, in days since 1970. */
export function dayOf(moment: number): number {
  return Math.floor(moment / DAY);
}

/** The next 00:00 UTC after a moment, milliseconds since 1970. */
export function nextMidnight(moment: number): number {
  return (dayOf(moment) + 1) * DAY;
}

/** Looks at a slot anew after anything about it changed. */
export function reclassify(pool: Pool, slot: number): void {
  const known = pool.slots[slot] as Slot;
  withdraw(pool, slot, known);
  known.standing = judge(known.number.health, pool.now);
  classify(pool, slot, known);
}

/** Moves a slot to where its changed load belongs. Only for slots that can still be picked. */
export function reorder(pool: Pool, slot: number): void {
  const known = pool.slots[slot] as Slot;
  place(pool.candidates[known.type], slot);
  const { areaCode, region } = known.number;
  if (areaCode !== undefined) place(pool.byAreaCode.get(areaCode) as Heap, slot);
  if (region !== undefined) place(pool.byRegion.get(region) as Heap, slot);
}

function wheelOf(settings: PoolSettings | undefined): Wheel {
  return createWheel(settings?.longCodeWeight ?? 0, settings?.tollFreeWeight ?? 0);
}

function weightOf(settings: PoolSettings | undefined, type: PoolType): number {
  return type === LONG_CODE ? (settings?.longCodeWeight ?? 0) : (settings?.tollFreeWeight ?? 0);
}

/** The first cause that keeps a slot from being picked for one segment. */
function causeOf(pool: Pool, slot: number, known: Slot): Cause | undefined {
  const { number, standing } = known;
  if (weightOf(pool.settings, known.type) === 0) return "weightZero";
  if (number.state === "paused") return "paused";
  if (number.state === "draining") return "draining";
  if (pool.settings?.skipUnhealthy) {
    if (standing.standing === "unhealthy") return "unhealthy";
    if (standing.standing === "trial" && known.unreported > 0) return "onTrial";
  }
  if (hasRoom(pool, slot, 1)) return undefined;
  const usedToday = known.day === dayOf(pool.now) ? known.usedToday : 0;
  return number.dailyLimit !== undefined && usedToday + 1 > number.dailyLimit ? "dailyLimit" : "full";
}

function classify(pool: Pool, slot: number, known: Slot): void {
  known.cause = causeOf(pool, slot, known);
  if (known.cause === undefined) {
    enter(pool, slot, known);
  } else {
    pool.passedOver[known.cause] += 1;
  }
  if (known.cause === "full") {
    pool.wakeAt[slot] = (pool.nextFree[slot] as number) + known.segmentTime - QUEUE_TIME - ROUNDING / 2;
    place(pool.full, slot);
    return;
  }
  const wakeAt = Math.min(
    known.standing.standing === "healthy" ? Number.POSITIVE_INFINITY : known.standing.until,
    known.cause === "dailyLimit" ? nextMidnight(pool.now) : Number.POSITIVE_INFINITY,
  );
  if (wakeAt === Number.POSITIVE_INFINITY) return;
  pool.wakeAt[slot] = wakeAt;
  place(pool.changing, slot);
}

function enter(pool: Pool, slot: number, known: Slot): void {
  place(pool.candidates[known.type], slot);
  const { areaCode, region } = known.number;
  if (areaCode !== undefined) place(heapOf(pool, pool.byAreaCode, pool.positions.area, areaCode), slot);
  if (region !== undefined) place(heapOf(pool, pool.byRegion, pool.positions.region, region), slot);
}

function withdraw(pool: Pool, slot: number, known: Slot): void {
  if (known.cause === undefined) {
    take(pool.candidates[known.type], slot);
    const { areaCode, region } = known.number;
    if (areaCode !== undefined) take(pool.byAreaCode.get(areaCode) as Heap, slot);
    if (region !== undefined) take(pool.byRegion.get(region) as Heap, slot);
  } else {
    pool.passedOver[known.cause] -= 1;
  }
  take(known.cause === "full" ? pool.full : pool.changing, slot);
}

function heapOf(pool: Pool, heaps: Map<string, Heap>, positions: number[], key: string): Heap {
  let heap = heaps.get(key);
  if (heap === undefined) {
    heap = createHeap(pool.candidates[0].order, positions);
    heaps.set(key, heap);
  }
  return heap;
}
