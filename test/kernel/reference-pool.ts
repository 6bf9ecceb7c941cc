import { type HealthCounts, judge } from "../../src/domain/health.ts";
import type { PickRequest, Rule, Tier } from "../../src/domain/pool/decide.ts";
import type { Cause, PoolNumber, PoolSettings } from "../../src/domain/pool/state.ts";
import { DAY, HOUR } from "./pool-builder.ts";

/** A number with its history. */
export type Entry = {
  number: PoolNumber;
  nextFree: number;
  lastUsed: number;
  usedToday: number;
  day: number;
  unreported: number;
  queuedSegments: number;
  /** Its `nextFree` may be a fraction, known only roughly, after a division by its rate. */
  isRounded: boolean;
};

/** A pool by its rules: a list that every query walks through. */
export type ReferencePool = {
  settings: PoolSettings | undefined;
  now: number;
  sequence: number;
  readonly entries: Map<string, Entry>;
  /** How far each type is behind its share, in tenths, as weights are tenths here. */
  lag: { longCode: number; tollFree: number };
};

/** The decisions that the rules allow: any of `senders`, which are equivalent. */
export type Expected = {
  readonly standings: {
    readonly poolSize: number;
    readonly eligible: number;
    readonly excluded: Record<Cause, number>;
  };
} & (
  | {
      readonly kind: "pick";
      readonly senders: readonly string[];
      readonly rule: Rule;
      readonly tier: Tier | undefined;
      readonly isFallback: boolean;
      readonly waitMs: number;
    }
  | { readonly kind: "refuse"; readonly because: string }
);

const ROOM = 3 * HOUR;
/** The rounding error of sums and products of fractions of milliseconds. */
const ROUNDING = 0.1;

export function createReference(settings: PoolSettings | undefined, now: number): ReferencePool {
  return { settings, now, sequence: 0, entries: new Map(), lag: { longCode: 0, tollFree: 0 } };
}

export function put(pool: ReferencePool, number: PoolNumber): void {
  const known = pool.entries.get(number.id);
  if (known === undefined) {
    const { nextFree, lastUsed, usedToday, day, unreported, queuedSegments } = number;
    const load = { nextFree, lastUsed, usedToday, day, unreported, queuedSegments };
    pool.entries.set(number.id, { number, ...load, isRounded: false });
    pool.sequence = Math.max(pool.sequence, lastUsed);
    return;
  }
  const segments = ((known.nextFree - pool.now) * known.number.segmentsPerSecond) / 1000;
  const nextFree = segments > 0 ? pool.now + (segments * 1000) / number.segmentsPerSecond : known.nextFree;
  // In place: a reload keeps the load, so that earlier charges can still be undone.
  Object.assign(known, { number, nextFree, isRounded: known.isRounded || segments > 0 });
}

export function changeRules(pool: ReferencePool, settings: PoolSettings | undefined): void {
  pool.settings = settings;
  pool.lag = { longCode: 0, tollFree: 0 };
}

export function book(pool: ReferencePool, id: string, health: HealthCounts, reported: number): void {
  const entry = pool.entries.get(id);
  if (entry === undefined) return;
  entry.number = { ...entry.number, health };
  entry.unreported = Math.max(0, entry.unreported - reported);
}

/** Charges a message, and returns a function that undoes it while it is the last one. */
export function chargeTo(pool: ReferencePool, id: string, segments: number, rule: Rule): () => void {
  const entry = pool.entries.get(id) as Entry;
  const { nextFree, lastUsed, usedToday: usedBefore, day: dayBefore } = entry;
  const { day, used } = usedOnDeparture(pool, entry);
  entry.nextFree = Math.max(nextFree, pool.now) + (segments * 1000) / entry.number.segmentsPerSecond;
  entry.lastUsed = ++pool.sequence;
  entry.usedToday = used + segments;
  entry.day = day;
  entry.unreported += 1;
  entry.queuedSegments += segments;
  const charged = entry.nextFree;
  const { lag } = pool;
  const weights = tenths(pool.settings);
  const type = entry.number.lineType === "toll_free" ? "tollFree" : "longCode";
  const turn = (times: number) => {
    lag.longCode += times * weights.longCode;
    lag.tollFree += times * weights.tollFree;
    lag[type] -= times * (weights.longCode + weights.tollFree);
  };
  if (rule === "weights") turn(1);
  return () => {
    if (rule === "weights") turn(-1);
    if (pool.entries.get(id) !== entry) return;
    // A reload rescales the wait to the new rate, at which the segments then leave.
    const atRate = entry.nextFree - (segments * 1000) / entry.number.segmentsPerSecond;
    entry.nextFree = entry.nextFree === charged ? nextFree : atRate;
    entry.lastUsed = lastUsed;
    entry.usedToday = usedBefore;
    entry.day = dayBefore;
    entry.unreported = Math.max(0, entry.unreported - 1);
    entry.queuedSegments = Math.max(0, entry.queuedSegments - segments);
  };
}

/** The first cause that excludes a number for one segment. */
export function causeOf(pool: ReferencePool, entry: Entry): Cause | undefined {
  const { number } = entry;
  if ((number.lineType === "toll_free" ? pool.settings?.tollFreeWeight : pool.settings?.longCodeWeight) === 0) {
    return "weightZero";
  }
  if (pool.settings === undefined) return "weightZero";
  if (number.state === "paused") return "paused";
  if (number.carrierUnavailable) return "carrierUnavailable";
  if (number.state !== "active") return number.state;
  if (isUnhealthy(pool, entry)) return "unhealthy";
  if (isBusyOnTrial(pool, entry)) return "onTrial";
  if (!fitsToday(pool, entry, 1)) return "dailyLimit";
  return fitsQueue(pool, entry, 1) ? undefined : "full";
}

export function expect(pool: ReferencePool, request: PickRequest): Expected {
  const excluded = {
    weightZero: 0,
    paused: 0,
    carrierUnavailable: 0,
    draining: 0,
    unhealthy: 0,
    onTrial: 0,
    dailyLimit: 0,
    full: 0,
  };
  const candidates: Entry[] = [];
  for (const entry of pool.entries.values()) {
    const cause = causeOf(pool, entry);
    if (cause === undefined) candidates.push(entry);
    else excluded[cause] += 1;
  }
  const standings = { poolSize: pool.entries.size, eligible: candidates.length, excluded };
  const refuse = (because: string): Expected => ({ kind: "refuse", because, standings });
  const pick = (among: readonly Entry[], rule: Rule, tier: Tier | undefined, isFallback: boolean): Expected => {
    const free = Math.min(...among.map(({ nextFree }) => nextFree));
    const firstFree = among.filter(({ nextFree }) => nextFree - free < ROUNDING);
    const used = Math.min(...firstFree.map(({ lastUsed }) => lastUsed));
    const isExact = firstFree.every(({ isRounded }) => !isRounded);
    const first = isExact ? firstFree.filter(({ lastUsed }) => lastUsed === used) : firstFree;
    const senders = first.map(({ number }) => number.id);
    return { kind: "pick", senders, rule, tier, isFallback, waitMs: Math.max(0, free - pool.now), standings };
  };
  const fits = (entry: Entry) => fitsToday(pool, entry, request.segments) && fitsQueue(pool, entry, request.segments);
  const fitsSome = (entry: Entry) => request.segments <= (entry.number.dailySegmentLimit ?? Number.POSITIVE_INFINITY);

  if (request.from !== undefined) {
    const entry = pool.entries.get(request.from);
    if (entry === undefined) return refuse("fromUnknown");
    if (entry.number.state === "paused") return refuse("fromPaused");
    if (entry.number.carrierUnavailable) return refuse("fromUnreachable");
    if (isUnhealthy(pool, entry)) return refuse("fromUnhealthy");
    if (fits(entry)) return pick([entry], "from", undefined, false);
    return refuse(fitsSome(entry) ? "full" : "nothingUsable");
  }
  if (pool.settings === undefined) return refuse("poolOff");
  if (pool.entries.size === 0) return refuse("noNumbers");

  const sticky = pool.settings.stickySender ? pool.entries.get(request.sticky?.numberId ?? "") : undefined;
  let isFallback = false;
  if (sticky !== undefined && sticky.number.id !== request.except && isMapped(pool, sticky, request)) {
    if (fits(sticky) && !isBusyOnTrial(pool, sticky)) return pick([sticky], "sticky", undefined, false);
    isFallback = true;
  }

  const others = candidates.filter(({ number }) => number.id !== request.except);
  const able = others.filter(fits);
  const { near } = request;
  const matched = pool.settings.geomatch && near !== undefined;
  if (matched) {
    const tiers: [Tier, (number: PoolNumber) => boolean][] = [
      ["areaCode", ({ areaCode }) => areaCode === near.areaCode],
      ["overlay", ({ areaCode }) => areaCode !== undefined && near.overlays.includes(areaCode)],
      ["region", ({ region }) => region !== undefined && region === near.region],
    ];
    for (const [tier, isOf] of tiers) {
      const nearby = able.filter(({ number }) => isOf(number));
      if (nearby.length > 0) return pick(nearby, "geomatch", tier, isFallback);
    }
  }

  const tier = matched ? "any" : undefined;
  const longCodes = able.filter(({ number }) => number.lineType === "long_code");
  const tollFrees = able.filter(({ number }) => number.lineType === "toll_free");
  if (longCodes.length > 0 && tollFrees.length > 0) {
    const weights = tenths(pool.settings);
    const isLongCode = pool.lag.longCode + weights.longCode >= pool.lag.tollFree + weights.tollFree;
    return pick(isLongCode ? longCodes : tollFrees, "weights", tier, isFallback);
  }
  if (able.length > 0) return pick(able, "leastLoaded", tier, isFallback);

  const waiting = [...pool.entries.values()].filter((entry) => {
    const cause = causeOf(pool, entry);
    const isMerelyFull = cause === undefined || cause === "dailyLimit" || cause === "full";
    return isMerelyFull && entry.number.id !== request.except && fitsSome(entry);
  });
  return refuse(waiting.length > 0 ? "full" : "nothingUsable");
}

/**
 * Whether rounding may decide at this moment: a queue has room within a millisecond, or health
 * changed in the last three.
 */
export function isDelicate(pool: ReferencePool): boolean {
  for (const entry of pool.entries.values()) {
    for (let segments = 1; segments <= 10; segments += 1) {
      const missing = backlogWith(pool, entry, segments) - ROOM;
      if (missing > 0 && missing < 1) return true;
    }
    const { health } = entry.number;
    if (judge(health, pool.now).standing !== judge(health, pool.now - 3).standing && health.asOf <= pool.now - 3)
      return true;
  }
  return false;
}

function tenths(settings: PoolSettings | undefined) {
  return {
    longCode: Math.round(10 * (settings?.longCodeWeight ?? 0)),
    tollFree: Math.round(10 * (settings?.tollFreeWeight ?? 0)),
  };
}

function isUnhealthy(pool: ReferencePool, { number }: Entry): boolean {
  return pool.settings?.skipUnhealthy === true && judge(number.health, pool.now).standing === "unhealthy";
}

function isBusyOnTrial(pool: ReferencePool, { number, unreported }: Entry): boolean {
  return pool.settings?.skipUnhealthy === true && judge(number.health, pool.now).standing === "trial" && unreported > 0;
}

function isMapped(pool: ReferencePool, entry: Entry, request: PickRequest): boolean {
  const cause = causeOf(pool, entry);
  const isVoid = entry.number.generation !== request.sticky?.generation;
  return (
    !isVoid &&
    cause !== "weightZero" &&
    cause !== "paused" &&
    cause !== "carrierUnavailable" &&
    !isUnhealthy(pool, entry)
  );
}

function fitsToday(pool: ReferencePool, entry: Entry, segments: number): boolean {
  const { used } = usedOnDeparture(pool, entry);
  return used + segments <= (entry.number.dailySegmentLimit ?? Number.POSITIVE_INFINITY);
}

/** The day on which a new message would leave, and the segments that leave on it before. */
function usedOnDeparture(pool: ReferencePool, entry: Entry) {
  const { number, nextFree, usedToday, day: counted, queuedSegments } = entry;
  const day = Math.floor(Math.max(nextFree, pool.now) / DAY);
  if (counted > day) return { day, used: queuedSegments };
  const sinceMidnight = Math.floor(((nextFree - day * DAY) * number.segmentsPerSecond) / 1000 + 0.001);
  return { day, used: counted === day ? usedToday : Math.max(0, sinceMidnight) };
}

function fitsQueue(pool: ReferencePool, entry: Entry, segments: number): boolean {
  return backlogWith(pool, entry, segments) <= ROOM;
}

function backlogWith(pool: ReferencePool, { number, nextFree }: Entry, segments: number): number {
  return Math.max(0, nextFree - pool.now) + (segments * 1000) / number.segmentsPerSecond;
}
