import { judge } from "../health.ts";
import { createGroup, type Group, join, leave, MAX_SEGMENTS } from "./group.ts";
import { createHeap, place, take } from "./heap.ts";
import { hasQueue, leftOfDay, quantized, untilRoom } from "./room.ts";
import { createRoundRobin, LONG_CODE, type PoolType, type RoundRobin, TOLL_FREE } from "./round-robin.ts";
import type { Cause, Pool, PoolNumber, PoolSettings, Slot } from "./state.ts";

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
