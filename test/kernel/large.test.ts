import { beforeAll, describe, expect, it } from "vitest";
import { advance } from "../../src/domain/pool/advance.ts";
import { undo } from "../../src/domain/pool/charge.ts";
import { changeSettings, createPool, dropNumber, putNumber } from "../../src/domain/pool/pool.ts";
import type { Pool } from "../../src/domain/pool/state.ts";
import {
  ask,
  HOUR,
  NOON,
  near,
  poolNumber,
  poolNumbers,
  refusalOf,
  SECOND,
  send,
  sendMany,
  settings,
} from "./pool-builder.ts";

const COUNT = 100_000;
const AREA_CODES = ["212", "646", "315", "415", "628", "201"];

/** The processor time of a task, milliseconds, without other work on the machine. */
function cost(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

/** How often each number was picked. */
function tally(senders: Iterable<string>): Map<string, number> {
  const times = new Map<string, number>();
  for (const sender of senders) times.set(sender, (times.get(sender) ?? 0) + 1);
  return times;
}

describe("A pool of 100,000 numbers", () => {
  let pool: Pool;
  beforeAll(() => {
    const numbers = Array.from({ length: COUNT }, (_, index) =>
      poolNumber(`n${index}`, { lastUsed: index, areaCode: AREA_CODES[index % AREA_CODES.length] }),
    );
    const took = cost(() => {
      pool = createPool(settings(), numbers, NOON);
    });
    expect(took).toBeLessThan(5_000);
  });

  it("shares 220,000 messages to within one, the least recently used number first", () => {
    let senders: string[] = [];
    const took = cost(() => {
      senders = sendMany(pool, 20_000);
    });
    expect(took).toBeLessThan(2_000);
    expect(senders).toEqual(Array.from({ length: 20_000 }, (_, index) => `n${index}`));
    const times = tally([...senders, ...sendMany(pool, 200_000)]);
    expect(times.size).toBe(COUNT);
    expect(new Set(times.values())).toEqual(new Set([2, 3]));
    expect(ask(pool)).toMatchObject({ poolSize: COUNT, eligible: COUNT });
  });

  it("does the same within each area under geomatch", () => {
    changeSettings(pool, settings({ geomatch: true }));
    const senders: string[] = [];
    const took = cost(() => {
      for (let message = 0; message < 20_000; message += 1) {
        const sent = send(pool, { near: near(AREA_CODES[message % 3] as string) });
        senders.push(sent.tier === "areaCode" ? sent.sender : `tier ${sent.tier}`);
      }
    });
    expect(took).toBeLessThan(4_000);
    const times = tally(senders);
    expect(times.size).toBe(20_000);
    expect(senders.every((sender, message) => Number(sender.slice(1)) % AREA_CODES.length === message % 3)).toBe(true);
  });

  it("stays correct through changes, removals and undone charges", () => {
    const took = cost(() => {
      for (let index = 0; index < 20_000; index += 1) {
        const { charged } = send(pool);
        if (index % 2 === 0) undo(pool, charged);
        if (index % 4 === 1) dropNumber(pool, `n${index}`);
        if (index % 4 === 3) putNumber(pool, poolNumber(`n${index}`, { state: "paused" }));
        advance(pool, pool.now + 1);
      }
    });
    expect(took).toBeLessThan(4_000);
    expect(ask(pool)).toMatchObject({
      poolSize: COUNT - 5_000,
      eligible: COUNT - 10_000,
      excluded: { paused: 5_000 },
    });
  });
});

describe("A pool with numbers added and removed", () => {
  it("grows no larger than its current numbers", () => {
    const pool = createPool(settings(), poolNumbers(10, "n"), NOON);
    for (let index = 0; index < 1_000; index += 1) {
      putNumber(pool, poolNumber(`other${index}`));
      dropNumber(pool, `other${index}`);
    }
    expect(pool.slots.length).toBeLessThanOrEqual(11);
    expect(ask(pool)).toMatchObject({ poolSize: 10, eligible: 10 });
  });
});

describe("A saturated pool of 100,000 numbers", () => {
  it("refuses and recovers as fast as it picks", () => {
    const pool = createPool(settings(), poolNumbers(COUNT, "n", { nextFree: NOON + 3 * HOUR }), NOON);
    expect(refusalOf(pool)).toMatchObject({ because: "full", retryAfterMs: SECOND, excluded: { full: COUNT } });
    const refusing = cost(() => {
      for (let message = 0; message < 20_000; message += 1) refusalOf(pool);
    });
    expect(refusing).toBeLessThan(2_000);
    const refilling = cost(() => {
      advance(pool, NOON + SECOND);
      expect(tally(sendMany(pool, COUNT)).size).toBe(COUNT);
    });
    expect(refilling).toBeLessThan(5_000);
    expect(refusalOf(pool)).toMatchObject({ because: "full", retryAfterMs: SECOND });
  });

  it("refuses messages of many parts as fast, while each number has room for some of them", () => {
    const pool = createPool(settings(), poolNumbers(COUNT, "n", { nextFree: NOON + 3 * HOUR - 5 * SECOND }), NOON);
    const took = cost(() => {
      for (let message = 0; message < 200; message += 1) {
        expect(refusalOf(pool, { segments: 10 })).toMatchObject({ because: "full", retryAfterMs: 5 * SECOND });
      }
    });
    expect(took).toBeLessThan(400);
    expect(send(pool, { segments: 5 }).sender).toBe("n1");
  });

  it("refuses messages of many parts as fast, while the day of each number has room for some of them", () => {
    const pool = createPool(settings(), poolNumbers(COUNT, "n", { dailySegmentLimit: 15 }), NOON);
    for (let message = 0; message < COUNT; message += 1) send(pool, { segments: 10 });
    const took = cost(() => {
      for (let message = 0; message < 200; message += 1) {
        expect(refusalOf(pool, { segments: 10 })).toMatchObject({ because: "full", retryAfterMs: 12 * HOUR });
      }
    });
    expect(took).toBeLessThan(400);
    expect(send(pool, { segments: 5 }).sender).toBe("n1");
  });
});
