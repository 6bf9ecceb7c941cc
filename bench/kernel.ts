// Measures the pool kernel in this process: `node bench/kernel.ts SECONDS` prints a KernelResult as
// one line of JSON.
import { pathToFileURL } from "node:url";
import { NO_EVIDENCE } from "../src/domain/health.ts";
import { regionOf } from "../src/domain/phone-number.ts";
import { advance } from "../src/domain/pool/advance.ts";
import { charge } from "../src/domain/pool/charge.ts";
import { decide, type Near } from "../src/domain/pool/decide.ts";
import { createPool } from "../src/domain/pool/pool.ts";
import type { Pool, PoolNumber, PoolSettings } from "../src/domain/pool/state.ts";
import { nearOf } from "../src/domain/send.ts";
import { AREA_CODES } from "./requests.ts";

/**
 * Charged decisions a second on one core, by the count of numbers; `rules`: with skip_unhealthy and
 * geomatch.
 */
export type KernelResult = {
  readonly plain: { readonly at100: number; readonly at100000: number };
  readonly rules: { readonly at100: number; readonly at100000: number };
};

/** Noon of a day, UTC. */
const START = Date.UTC(2026, 8, 15, 12);
/** The load of the numbers, low enough that no area code gets more than its numbers can send. */
const LOAD = 0.25;

/** Measures four pools in turn, each for `seconds`. */
export function measureKernel(seconds: number): KernelResult {
  return {
    plain: { at100: measure(100, false, seconds), at100000: measure(100_000, false, seconds) },
    rules: { at100: measure(100, true, seconds), at100000: measure(100_000, true, seconds) },
  };
}

function measure(size: number, hasRules: boolean, seconds: number): number {
  const pool = poolOf(size, hasRules);
  const nears = AREA_CODES.map((areaCode) => nearOf(`+1${areaCode}5550123`));
  // A virtual clock makes the load the same on every machine: each number sends a segment a second.
  const step = 1000 / (size * LOAD);
  let moment = START;
  let count = 0;
  const some = (decisions: number) => {
    for (let index = 0; index < decisions; index += 1) {
      moment += step;
      one(pool, moment, nears[count % nears.length]);
      count += 1;
    }
  };
  // Now every number is used, and the code is compiled.
  some(size + 100_000);
  count = 0;
  const start = performance.now();
  const end = start + seconds * 1000;
  while (performance.now() < end) some(1000);
  return (count / (performance.now() - start)) * 1000;
}

function one(pool: Pool, moment: number, near: Near | undefined): void {
  advance(pool, moment);
  const picked = decide(pool, { segments: 1, near });
  if (picked.kind === "refuse") throw new Error(`The pool refused: ${picked.because}.`);
  charge(pool, picked, 1);
}

/**
 * Five long codes for each toll-free number, like the weights; with rules, one number in 50 is
 * unhealthy.
 */
function poolOf(size: number, hasRules: boolean): Pool {
  const settings: PoolSettings = {
    longCodeWeight: 5,
    tollFreeWeight: 1,
    skipUnhealthy: hasRules,
    stickySender: false,
    geomatch: hasRules,
  };
  const numbers = Array.from({ length: size }, (_, index): PoolNumber => {
    const isTollFree = index % 6 === 5;
    const areaCode = isTollFree ? undefined : AREA_CODES[(index - Math.floor(index / 6)) % AREA_CODES.length];
    const hasFailed = hasRules && index % 50 === 1;
    return {
      id: `number ${index}`,
      phoneNumber: `+1${areaCode ?? "800"}${index}`,
      lineType: isTollFree ? "toll_free" : "long_code",
      areaCode,
      region: areaCode === undefined ? undefined : regionOf(areaCode),
      state: "active",
      segmentsPerSecond: 1,
      dailySegmentLimit: undefined,
      generation: 0,
      health: hasFailed ? { ...NO_EVIDENCE, failed: 30, asOf: START } : NO_EVIDENCE,
      nextFree: 0,
      lastUsed: index,
      usedToday: 0,
      day: 0,
      unreported: 0,
      queuedSegments: 0,
    };
  });
  return createPool(settings, numbers, START);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  console.log(JSON.stringify(measureKernel(Number(process.argv[2] ?? 1))));
}
