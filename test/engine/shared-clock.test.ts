import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openSharedClock, type SharedClock } from "../../src/engine/shared-clock.ts";

const NOON = Date.UTC(2026, 0, 15, 12);

/** Time that only goes on when a test says so, seen by this machine's clock and by the database server's. */
let passed: number;
let ofServer: number;
let ofMachine: number;
let roundTrip: number;
let isAway: boolean;
let lines: { event?: string; difference_ms?: number }[];
let clock: SharedClock | undefined;
let wake: (() => void) | undefined;

/** Lets a second pass, and the look at its end. */
async function second() {
  passed += 1_000;
  wake?.();
  for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
}

beforeEach(() => {
  [passed, ofServer, ofMachine, roundTrip, isAway] = [1_000, NOON, NOON, 2, false];
  lines = [];
});

afterEach(() => {
  clock?.close();
});

const open = async () => {
  clock = await openSharedClock({
    read: async () => {
      if (isAway) throw new Error("the database is away");
      passed += roundTrip / 2;
      const time = ofServer + passed;
      passed += roundTrip / 2;
      return time;
    },
    system: () => ofMachine + passed,
    monotonic: () => passed,
    sleep: () =>
      new Promise<void>((resolve) => {
        wake = resolve;
      }),
    log: pino({ level: "warn" }, { write: (line: string) => void lines.push(JSON.parse(line)) }),
  });
  return clock;
};

describe("the clock that processes share", () => {
  it("is the database server's, whatever this machine's clock says, and goes on between looks", async () => {
    ofMachine = NOON - 5_000;
    const { now } = await open();
    expect(now()).toBe(ofServer + passed);
    passed += 700;
    expect(now()).toBe(ofServer + passed);
    expect(lines).toMatchObject([{ event: "clock_differs", difference_ms: -5_000 }]);
  });

  it("goes on while the database is away, and says nothing while the clocks agree", async () => {
    const { now } = await open();
    isAway = true;
    for (let done = 0; done < 5; done += 1) {
      await second();
      expect(now()).toBe(ofServer + passed);
    }
    expect(lines).toEqual([]);
  });

  it("follows the server's clock when that is set, and stands still rather than run backwards", async () => {
    const { now } = await open();
    ofServer += 5_000;
    await second();
    expect(now()).toBe(ofServer + passed);
    const ahead = now();
    ofServer -= 3_000;
    for (let done = 0; done < 2; done += 1) {
      await second();
      expect(now()).toBe(ahead);
    }
    for (let done = 0; done < 2; done += 1) await second();
    expect(now()).toBe(ofServer + passed);
  });

  it("says once that this machine's clock differs, and takes no steps of it", async () => {
    const { now } = await open();
    ofMachine += 10_000;
    for (let done = 0; done < 3; done += 1) {
      await second();
      expect(now()).toBe(ofServer + passed);
    }
    expect(lines).toMatchObject([{ event: "clock_differs", difference_ms: 10_000 }]);
  });

  it("does not follow what is within a look's uncertainty, nor a look that took too long", async () => {
    const { now } = await open();
    roundTrip = 400;
    ofServer += 100;
    await second();
    expect(now()).toBe(ofServer + passed - 100);
    roundTrip = 600;
    ofServer += 5_000;
    await second();
    expect(now()).toBe(ofServer + passed - 5_100);
  });
});
