import { overlaysOf } from "../../src/domain/geography/overlays.ts";
import type { HealthCounts } from "../../src/domain/health.ts";
import { NO_EVIDENCE } from "../../src/domain/health.ts";
import { regionOf } from "../../src/domain/phone-number.ts";
import { type Charge, charge } from "../../src/domain/pool/charge.ts";
import { decide, type Near, type Picked, type PickRefusal, type PickRequest } from "../../src/domain/pool/decide.ts";
import { createPool } from "../../src/domain/pool/pool.ts";
import type { Pool, PoolNumber, PoolSettings } from "../../src/domain/pool/state.ts";

export const SECOND = 1000;
export const HOUR = 3_600 * SECOND;
export const DAY = 24 * HOUR;

/** The start of most stories: noon of a day, UTC. */
export const NOON = Date.UTC(2026, 8, 15, 12);

/** A number, by default an idle, healthy long code without geography at one segment a second. */
export function poolNumber(id: string, changes: Partial<PoolNumber> = {}): PoolNumber {
  return {
    id,
    phoneNumber: `number ${id}`,
    lineType: "long_code",
    areaCode: undefined,
    region: changes.areaCode === undefined ? undefined : regionOf(changes.areaCode),
    state: "active",
    segmentsPerSecond: 1,
    dailySegmentLimit: undefined,
    generation: 0,
    health: NO_EVIDENCE,
    nextFree: 0,
    lastUsed: 0,
    usedToday: 0,
    day: 0,
    unreported: 0,
    queuedSegments: 0,
    ...changes,
  };
}

/** `count` numbers with different ids and last uses, the least recently used first. */
export function poolNumbers(count: number, prefix: string, changes: Partial<PoolNumber> = {}): PoolNumber[] {
  return Array.from({ length: count }, (_, index) =>
    poolNumber(`${prefix}${index + 1}`, { lastUsed: index + 1, ...changes }),
  );
}

/** The default settings of these tests with changes. */
export function settings(changes: Partial<PoolSettings> = {}): PoolSettings {
  return {
    longCodeWeight: 1,
    tollFreeWeight: 1,
    skipUnhealthy: false,
    stickySender: false,
    geomatch: false,
    ...changes,
  };
}

/** A pool at noon. */
export function poolOf(rules: Partial<PoolSettings>, ...numbers: PoolNumber[]): Pool {
  return createPool(settings(rules), numbers, NOON);
}

/** The geography of a recipient with this area code. */
export function near(areaCode: string): Near {
  return { areaCode, overlays: overlaysOf(areaCode), region: regionOf(areaCode) };
}

/** Counts of failures alone, at a moment. */
export function failures(failed: number, asOf = NOON): HealthCounts {
  return { delivered: 0, failed, spam: 0, inbound: 0, asOf };
}

/** The decision on a message, of one segment unless the request says otherwise. */
export function ask(pool: Pool, request: Partial<PickRequest> = {}): Picked | PickRefusal {
  return decide(pool, { segments: 1, ...request });
}

/** The pick, with its sender's id; throws on a refusal. */
export function pickOf(pool: Pool, request: Partial<PickRequest> = {}): Picked & { readonly sender: string } {
  const decision = ask(pool, request);
  if (decision.kind === "refuse") throw new Error(`refused: ${decision.because}`);
  return { ...decision, sender: pool.slots[decision.slot]?.number.id as string };
}

/** The refusal; throws on a pick. */
export function refusalOf(pool: Pool, request: Partial<PickRequest> = {}): PickRefusal {
  const decision = ask(pool, request);
  if (decision.kind === "pick") throw new Error(`picked: ${pool.slots[decision.slot]?.number.id}`);
  return decision;
}

/** Decides and charges. */
export function send(
  pool: Pool,
  request: Partial<PickRequest> = {},
): Picked & { readonly sender: string; readonly charged: Charge } {
  const pick = pickOf(pool, request);
  return { ...pick, charged: charge(pool, pick, request.segments ?? 1) };
}

/** The senders of `count` messages in a row. */
export function sendMany(pool: Pool, count: number, request: Partial<PickRequest> = {}): string[] {
  return Array.from({ length: count }, () => send(pool, request).sender);
}
