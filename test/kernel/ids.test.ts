import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createIds } from "../../src/domain/ids.ts";
import { NOON } from "./pool-builder.ts";

const SHAPE = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** The time in the first 48 bits, milliseconds since 1970. */
const timeOf = (id: string) => Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);

function expectGrowing(ids: readonly string[]): void {
  for (let index = 1; index < ids.length; index += 1) {
    if (!((ids[index - 1] as string) < (ids[index] as string))) expect(ids[index]).toBe(`more than ${ids[index - 1]}`);
  }
}

describe("Ids", () => {
  it("are UUIDs of version 7 that begin with their time", () => {
    const give = createIds(randomBytes);
    for (let now = NOON; now < NOON + 5000; now += 1) {
      const id = give(now);
      if (!SHAPE.test(id) || timeOf(id) !== now) expect.fail(`${id} at ${now}`);
    }
    expect(createIds(randomBytes)(1)).toMatch(/^00000000-0001-7000-/);
  });

  it("take every bit after the count from the random source, each once", () => {
    let next = 0;
    const give = createIds((bytes) => Uint8Array.from({ length: bytes }, () => next++ & 0xff));
    const tails = Array.from({ length: 40 }, () => give(NOON).slice(19));
    expect(tails[0]).toBe("8001-020304050607");
    expect(tails[1]).toBe("8809-0a0b0c0d0e0f");
    expect(tails[31]).toBe("b8f9-fafbfcfdfeff");
    const ones = createIds((bytes) => new Uint8Array(bytes).fill(255));
    expect(ones(NOON).slice(19)).toBe("bfff-ffffffffffff");
  });

  it("draw new random bytes when the last ones are used up", () => {
    const give = createIds(randomBytes);
    const tails = Array.from({ length: 20_000 }, () => give(NOON).slice(19));
    expect(new Set(tails).size).toBe(20_000);
  });

  it("increase within one millisecond, even above 4,096 ids", () => {
    const give = createIds(randomBytes);
    const ids = Array.from({ length: 20_000 }, () => give(NOON));
    expectGrowing(ids);
    expect(timeOf(ids[4095] as string)).toBe(NOON);
    expect(timeOf(ids[4096] as string)).toBe(NOON + 1);
    // The clock catches up with the time that the ids ran ahead.
    expectGrowing([ids.at(-1) as string, give(NOON + 1), give(NOON + 4), give(NOON + 5), give(NOON + 1000)]);
  });

  it("increase when the clock stands, steps back or jumps ahead", () => {
    const step = fc.oneof(fc.constant(0), fc.integer({ min: -5, max: 5 }), fc.integer({ min: -100_000, max: 100_000 }));
    fc.assert(
      fc.property(fc.array(fc.tuple(step, fc.integer({ min: 1, max: 5000 })), { maxLength: 8 }), (steps) => {
        const give = createIds(randomBytes);
        let now = NOON;
        const ids: string[] = [];
        for (const [by, times] of steps) {
          now += by;
          for (let time = 0; time < times; time += 1) ids.push(give(now));
        }
        expectGrowing(ids);
      }),
      { numRuns: 20 },
    );
  });
});
