import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { LIMITS } from "../../src/domain/limits.ts";
import { fillPage, type PageRange } from "../../src/service/fill-page.ts";

type Entry = { readonly at: number; readonly bytes: number };

const measures = { cursorOf: ({ at }: Entry) => String(at), bytesOf: ({ bytes }: Entry) => bytes };

/** A list of positions, ten of which each step reads; `hasEntry` says which have an entry. */
function listOf(positions: number, hasEntry: (at: number) => boolean, { bytes = 1, stepMs = 0 } = {}) {
  let steps = 0;
  const step = async ({ after, limit }: PageRange) => {
    steps += 1;
    vi.advanceTimersByTime(stepMs);
    const rows: Entry[] = [];
    let at = after === undefined ? 0 : Number(after) + 1;
    for (const until = Math.min(positions, at + 10); at < until && rows.length < limit; at += 1) {
      if (hasEntry(at)) rows.push({ at, bytes });
    }
    return { rows, next: at < positions ? String(at - 1) : undefined };
  };
  return { step, steps: () => steps };
}

describe("A page of a list by cursor", () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["performance"] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it("reads until it is full", async () => {
    const { step, steps } = listOf(1_000, (at) => at % 100 === 50);
    const { rows, next } = await fillPage({ after: undefined, limit: 3 }, step, measures);
    expect(rows.map(({ at }) => at)).toEqual([50, 150, 250]);
    expect([next, steps()]).toEqual(["250", 26]);
  });

  it("reads until the list ends", async () => {
    const { step } = listOf(1_000, (at) => at === 999);
    const { rows, next } = await fillPage({ after: "17", limit: 20 }, step, measures);
    expect([rows.map(({ at }) => at), next]).toEqual([[999], undefined]);
  });

  it("stops after two seconds, and the next page continues from there", async () => {
    const { step } = listOf(1_000, (at) => at === 5 || at === 999, { stepMs: 100 });
    const first = await fillPage({ after: undefined, limit: 20 }, step, measures);
    expect([first.rows.map(({ at }) => at), first.next]).toEqual([[5], "209"]);
    let { next } = first;
    const rest: number[] = [];
    while (next !== undefined) {
      const page: Awaited<ReturnType<typeof fillPage<Entry>>> = await fillPage(
        { after: next, limit: 20 },
        step,
        measures,
      );
      rest.push(...page.rows.map(({ at }) => at));
      next = page.next;
    }
    expect(rest).toEqual([999]);
  });

  it("is limited in bytes, and has at least one entry of any size", async () => {
    const { step } = listOf(100, () => true, { bytes: LIMITS.pageBytes / 4 });
    const { rows, next } = await fillPage({ after: undefined, limit: 50 }, step, measures);
    expect([rows.length, next]).toEqual([4, "3"]);
    const large = listOf(100, () => true, { bytes: 2 * LIMITS.pageBytes });
    const page = await fillPage({ after: next, limit: 50 }, large.step, measures);
    expect([page.rows.map(({ at }) => at), page.next]).toEqual([[4], "4"]);
  });

  it("lets other work run between two steps", async () => {
    const { step } = listOf(1_000, () => false);
    const turns: number[] = [];
    const page = fillPage({ after: undefined, limit: 1 }, step, measures).then(() => turns.push(-1));
    for (let turn = 0; turn < 20; turn += 1) {
      await new Promise((resolve) => setImmediate(resolve));
      turns.push(turn);
    }
    await page;
    expect(turns.indexOf(-1)).toBe(20);
  });
});
