import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { maxReleased, release } from "../../src/domain/pace.ts";
import { NOON, SECOND } from "./pool-builder.ts";

const SLACK = 20;

type Released = { readonly at: number; readonly segments: number };

/** Empties a queue by claims that are late by one of `delays`, in turn, as dispatchers are. */
function drain(queue: readonly number[], rate: number, delays: readonly number[]): Released[] {
  const sent: Released[] = [];
  let due = NOON;
  let now = NOON;
  for (let claim = 0; sent.length < queue.length; claim += 1) {
    now = Math.max(now, Math.ceil(due)) + (delays[claim % delays.length] as number);
    const claimed = queue.slice(sent.length, sent.length + maxReleased(rate) + 1);
    const released = release(claimed, due, now, rate);
    // A number that is due always sends, so nothing starves. The rest of a claim is not due at
    // once.
    if (released.count === 0)
      throw new Error(`nothing of ${claimed.length} released at ${now - due} ms after it was due`);
    if (released.count < claimed.length && released.dueAt <= now)
      throw new Error("due again at once, with messages left");
    for (const segments of claimed.slice(0, released.count)) sent.push({ at: now, segments });
    due = released.dueAt;
  }
  return sent;
}

/** The most segments that any window sent above what its length allows. */
function mostBeyond(sent: readonly Released[], rate: number): number {
  let most = 0;
  for (let first = 0; first < sent.length; first += 1) {
    let segments = 0;
    for (let last = first; last < sent.length; last += 1) {
      segments += (sent[last] as Released).segments;
      const allowed = (rate * ((sent[last] as Released).at - (sent[first] as Released).at)) / 1000;
      most = Math.max(most, segments - allowed);
    }
  }
  return most;
}

const rate = fc.oneof(
  fc.constantFrom(0.001, 1, 3, 10, 50, 100, 1000, 10_000),
  fc.double({ min: 0.001, max: 10_000, noNaN: true }),
);
const queue = fc.array(fc.integer({ min: 1, max: 10 }), { minLength: 1, maxLength: 120 });

describe("Pacing", () => {
  it("releases one message at once, and the next after the first one's segments", () => {
    expect(release([3, 1], NOON, NOON, 1)).toEqual({ count: 1, dueAt: NOON + 3 * SECOND });
    expect(release([1], NOON + 3 * SECOND, NOON + 3 * SECOND, 1)).toEqual({ count: 1, dueAt: NOON + 4 * SECOND });
  });

  it("does not accumulate unused rate", () => {
    expect(release([1, 1, 1], 0, NOON, 1)).toEqual({ count: 1, dueAt: NOON + SECOND - SLACK });
    expect(release(Array(100).fill(1), 0, NOON, 1000).count).toBe(21);
  });

  it("releases nothing from an empty queue", () => {
    expect(release([], 0, NOON, 1).count).toBe(0);
  });

  it("sends at most its rate, plus the larger of one message and 20 ms of rate, plus one message, in any window", () => {
    const delays = fc.array(fc.oneof(fc.nat(40), fc.nat(5000)), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(rate, queue, delays, (rate, queue, delays) => {
        const message = Math.max(...queue);
        const bound = Math.max(message, (SLACK * rate) / 1000) + message;
        expect(mostBeyond(drain(queue, rate, delays), rate)).toBeLessThanOrEqual(bound * (1 + 1e-9));
      }),
      { numRuns: 300 },
    );
  });

  it("sends at most the rate of 20 ms more, plus one message, in any window", () => {
    fc.assert(
      fc.property(rate, queue, fc.array(fc.nat(60), { minLength: 1, maxLength: 20 }), (rate, queue, delays) => {
        const bound = (SLACK * rate) / 1000 + Math.max(...queue);
        expect(mostBeyond(drain(queue, rate, delays), rate)).toBeLessThanOrEqual(bound * (1 + 1e-9));
      }),
      { numRuns: 300 },
    );
  });

  it("is exact when every claim is on time", () => {
    const sent = drain(Array(1000).fill(1), 1, [0]);
    expect(sent.map(({ at }) => at)).toEqual(Array.from({ length: 1000 }, (_, index) => NOON + index * SECOND));
  });

  it("does not drift: a number sends its rate although claims are up to 19 ms late", () => {
    const lateness = fc.array(fc.nat(SLACK - 2), { minLength: 1, maxLength: 50 });
    fc.assert(
      fc.property(fc.double({ min: 0.5, max: 5000, noNaN: true }), lateness, (rate, delays) => {
        const queue = Array.from({ length: Math.max(500, Math.ceil(10 * rate)) }, (_, index) => 1 + (index % 3));
        const sent = drain(queue, rate, delays);
        const end = (sent.at(-1) as Released).at;
        const segments = sent.reduce((sum, message) => sum + (message.at < end ? message.segments : 0), 0);
        const share = segments / ((rate * (end - NOON)) / 1000);
        expect(share).toBeGreaterThan(0.99);
        expect(share).toBeLessThan(1.01);
      }),
      { numRuns: 40 },
    );
  });

  it("never releases more messages than a claim fetches", () => {
    fc.assert(
      fc.property(rate, fc.nat(10_000), (rate, late) => {
        const most = maxReleased(rate);
        expect(release(Array(most + 5).fill(1), NOON, NOON + late, rate).count).toBeLessThanOrEqual(most);
      }),
      { numRuns: 1000 },
    );
  });
});
