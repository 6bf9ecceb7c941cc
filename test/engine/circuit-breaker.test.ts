import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { SubmitAnswer } from "../../src/carriers/carrier.ts";
import { createCircuitBreaker } from "../../src/engine/dispatch/circuit-breaker.ts";

const WINDOW = 2_000;
const NOON = Date.UTC(2026, 0, 15, 12);
const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const FIRST_PAUSE = SECOND;
const MAX_PAUSE = MINUTE;
const JITTER = 1.25;
const SILENT = 10;

const TAKEN: SubmitAnswer = { kind: "accepted", carrierMessageId: "7" };
const AWAY: SubmitAnswer = { kind: "unavailable", carrierCode: "" };
const SILENCE: SubmitAnswer = { kind: "submit_unconfirmed" };
const throttled = (retryAfterMs?: number): SubmitAnswer => ({ kind: "throttled", carrierCode: "", retryAfterMs });
const ANSWERS: readonly SubmitAnswer[] = [
  TAKEN,
  { kind: "refused", error: { reason: 1, detail: "" }, carrierCode: "" },
  { kind: "deferred", carrierCode: "", retryAfterMs: undefined },
  throttled(),
];

/** A breaker that was given one message which its carrier did not take. */
function broken(random = () => 0) {
  const breaker = createCircuitBreaker(WINDOW, random);
  breaker.recordSubmits(1, NOON);
  breaker.recordAnswer(AWAY, NOON);
  return breaker;
}

describe("A carrier's breaker", () => {
  it("allows what fits into the window, and no more while it is full", () => {
    const breaker = createCircuitBreaker(WINDOW, () => 0);
    expect([breaker.budget(NOON), breaker.opensAt(NOON)]).toEqual([WINDOW, NOON]);
    breaker.recordSubmits(WINDOW - 1, NOON);
    expect([breaker.budget(NOON), breaker.opensAt(NOON)]).toEqual([1, NOON]);
    breaker.recordSubmits(1, NOON);
    expect([breaker.budget(NOON + MINUTE), breaker.opensAt(NOON + MINUTE)]).toEqual([0, Number.POSITIVE_INFINITY]);
    breaker.recordAnswer(TAKEN, NOON + MINUTE);
    expect(breaker.budget(NOON + MINUTE)).toBe(1);
  });

  it("allows nothing for a carrier that is down, then one message, and all when that is answered, whatever the answer", () => {
    for (const answer of ANSWERS) {
      const breaker = broken();
      expect(breaker.opensAt(NOON)).toBe(NOON + FIRST_PAUSE);
      for (const after of [0, 1, 500, FIRST_PAUSE - 1]) expect(breaker.budget(NOON + after)).toBe(0);
      expect(breaker.budget(NOON + FIRST_PAUSE)).toBe(1);
      breaker.recordSubmits(1, NOON + FIRST_PAUSE);
      expect([breaker.budget(NOON + MINUTE), breaker.opensAt(NOON + MINUTE)]).toEqual([0, Number.POSITIVE_INFINITY]);
      breaker.recordAnswer(answer, NOON + MINUTE);
      if (answer.kind !== "throttled") expect(breaker.budget(NOON + MINUTE)).toBe(WINDOW);
      else expect(breaker.opensAt(NOON + MINUTE)).toBeLessThanOrEqual(NOON + MINUTE + 5 * SECOND);
    }
  });

  it.each([AWAY, SILENCE])(
    "pauses for twice as long after each probe that ends as $kind, with jitter, up to a minute",
    (answer) => {
      fc.assert(
        fc.property(
          fc.array(fc.double({ min: 0, max: 0.999, noNaN: true }), { minLength: 9, maxLength: 12 }),
          (chances) => {
            let drawn = 0;
            const breaker = broken(() => chances[drawn++ % chances.length] as number);
            let now = NOON;
            for (let pauses = 0; pauses < 9; pauses += 1) {
              const pause = breaker.opensAt(now) - now;
              const least = Math.min(FIRST_PAUSE * 2 ** pauses, MAX_PAUSE);
              expect(pause).toBeGreaterThanOrEqual(least);
              expect(pause).toBeLessThanOrEqual(least * JITTER);
              expect([breaker.budget(now + pause - 1), breaker.budget(now + pause)]).toEqual([0, 1]);
              now += pause;
              breaker.recordSubmits(1, now);
              breaker.recordAnswer(answer, now);
            }
            now = breaker.opensAt(now);
            breaker.recordSubmits(1, now);
            breaker.recordAnswer(TAKEN, now);
            // A carrier that was well again begins anew with a short pause.
            breaker.recordSubmits(1, now);
            breaker.recordAnswer(AWAY, now);
            expect(breaker.opensAt(now) - now).toBeLessThanOrEqual(FIRST_PAUSE * JITTER);
          },
        ),
        { numRuns: 50 },
      );
    },
  );

  it("counts a carrier as down after ten silent submits in a row, and not if an answer is among them", () => {
    const breaker = createCircuitBreaker(WINDOW, () => 0);
    breaker.recordSubmits(50, NOON);
    for (let silent = 0; silent < SILENT - 1; silent += 1) breaker.recordAnswer(SILENCE, NOON);
    breaker.recordAnswer(TAKEN, NOON);
    for (let silent = 0; silent < SILENT - 1; silent += 1) breaker.recordAnswer(SILENCE, NOON);
    expect(breaker.budget(NOON)).toBeGreaterThan(0);
    breaker.recordAnswer(SILENCE, NOON);
    expect([breaker.budget(NOON), breaker.opensAt(NOON)]).toEqual([0, NOON + FIRST_PAUSE]);
  });

  it("does not pause for longer because more of what was under way fails too", () => {
    for (const answer of [AWAY, SILENCE]) {
      const breaker = createCircuitBreaker(WINDOW, () => 0);
      breaker.recordSubmits(500, NOON);
      for (let failed = 0; failed < 400; failed += 1) breaker.recordAnswer(answer, NOON + failed);
      expect(breaker.opensAt(NOON + 400)).toBeLessThanOrEqual(NOON + SILENT + FIRST_PAUSE);
    }
  });

  it("gives no second probe while one is under way, although what was under way before goes on failing", () => {
    const breaker = createCircuitBreaker(WINDOW, () => 0);
    const before = breaker.recordSubmits(100, NOON);
    for (let failed = 0; failed < SILENT; failed += 1) breaker.recordAnswer(SILENCE, NOON, before);
    let now = breaker.opensAt(NOON);
    breaker.recordSubmits(1, now);
    let probes = 1;
    // The other ninety were given before it broke; none of them is the probe's answer.
    for (let late = 0; late < 90; late += 1) {
      now += SECOND;
      breaker.recordAnswer(SILENCE, now, before);
      if (breaker.budget(now) > 0) {
        breaker.recordSubmits(1, now);
        probes += 1;
      }
    }
    expect(probes).toBe(1);
  });

  it("tries again, whatever was under way when it fell silent and whenever that ends", () => {
    fc.assert(
      fc.property(fc.integer({ min: SILENT, max: 200 }), fc.array(fc.nat(3), { maxLength: 30 }), (count, rest) => {
        const breaker = createCircuitBreaker(WINDOW, () => 0);
        const before = breaker.recordSubmits(count, NOON);
        let left = count;
        let now = NOON;
        for (; left > count - SILENT; left -= 1) breaker.recordAnswer(SILENCE, now, before);
        for (const some of rest) {
          now = breaker.opensAt(now);
          expect(now).toBeLessThan(Number.POSITIVE_INFINITY);
          const probe = breaker.recordSubmits(breaker.budget(now), now);
          for (let late = 0; late < some && left > 0; late += 1) {
            breaker.recordAnswer(SILENCE, now, before);
            left -= 1;
          }
          breaker.recordAnswer(SILENCE, now, probe);
        }
        expect(breaker.opensAt(now)).toBeLessThan(Number.POSITIVE_INFINITY);
      }),
    );
  });

  it("never has more under way than its window, nor gives while it is away or says that it is closed", () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant("give" as const), share: fc.double({ min: 0, max: 1, noNaN: true }) }),
      fc.record({
        do: fc.constant("answer" as const),
        answer: fc.constantFrom(...ANSWERS, throttled(3_000), AWAY, SILENCE),
      }),
      fc.record({ do: fc.constant("wait" as const), time: fc.oneof(fc.nat(100), fc.nat(90_000)) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const breaker = createCircuitBreaker(WINDOW, () => 0.5);
        let underWay = 0;
        let now = NOON;
        for (const each of steps) {
          if (each.do === "wait") now += each.time;
          if (each.do === "give") {
            const count = Math.ceil(breaker.budget(now) * each.share);
            breaker.recordSubmits(count, now);
            underWay += count;
          }
          if (each.do === "answer" && underWay > 0) {
            breaker.recordAnswer(each.answer, now);
            underWay -= 1;
          }
          const [budget, opens] = [breaker.budget(now), breaker.opensAt(now)];
          expect(Number.isInteger(budget) && budget >= 0).toBe(true);
          expect(underWay + budget).toBeLessThanOrEqual(WINDOW);
          if (opens > now) expect(budget).toBe(0);
          else expect(budget).toBeGreaterThan(0);
          // Whoever waits until it opens finds it open.
          if (opens !== Number.POSITIVE_INFINITY) expect(breaker.budget(Math.ceil(opens) + 1)).toBeGreaterThan(0);
          else expect(underWay).toBeGreaterThan(0);
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe("A carrier that throttles", () => {
  /** What a carrier that takes so many a second is given, and takes, second by second. */
  function run(rate: number, seconds: number, takes = () => rate) {
    const breaker = createCircuitBreaker(WINDOW, () => 0);
    const given: number[] = [];
    const taken: number[] = [];
    let allowance = rate;
    for (let turn = 0; turn < seconds * 50; turn += 1) {
      const now = NOON + turn * 20;
      if (turn % 50 === 0) {
        given.push(0);
        taken.push(0);
      }
      allowance = Math.min(takes(), allowance + takes() / 50);
      const count = Math.min(breaker.budget(now), 40);
      breaker.recordSubmits(count, now);
      given[given.length - 1] = (given.at(-1) as number) + count;
      for (let one = 0; one < count; one += 1) {
        const isTaken = allowance >= 1;
        if (isTaken) allowance -= 1;
        breaker.recordAnswer(isTaken ? TAKEN : throttled(), now);
        taken[taken.length - 1] = (taken.at(-1) as number) + (isTaken ? 1 : 0);
      }
    }
    return { given, taken };
  }
  const mean = (list: readonly number[]) => list.reduce((sum, each) => sum + each, 0) / list.length;

  it.each([5, 50, 300])(
    "is soon given little more than the %d a second that it takes, and nearly all of that",
    (rate) => {
      const { given, taken } = run(rate, 90);
      const later = given.slice(30);
      expect(mean(later)).toBeLessThan(rate * 1.2);
      expect(mean(taken.slice(30))).toBeGreaterThan(rate * 0.7);
    },
  );

  it("is given more again when it takes more, and everything after a quiet minute", () => {
    let rate = 20;
    let turns = 0;
    const { given } = run(20, 150, () => {
      turns += 1;
      if (turns > 2 * 30 * 50) rate = 1_000_000;
      return rate;
    });
    expect(mean(given.slice(25, 29))).toBeLessThan(30);
    const first = given.slice(32, 36);
    expect(mean(given.slice(50, 54))).toBeGreaterThan(mean(first) * 1.5);
    expect(mean(given.slice(-10))).toBe(2_000);
  });

  it("is left alone for as long as it asks", () => {
    const breaker = createCircuitBreaker(WINDOW, () => 0);
    breaker.recordSubmits(1, NOON);
    breaker.recordAnswer(throttled(7 * SECOND), NOON);
    for (const after of [0, SECOND, 7 * SECOND - 1]) expect(breaker.budget(NOON + after)).toBe(0);
    expect(breaker.opensAt(NOON)).toBeGreaterThanOrEqual(NOON + 7 * SECOND);
    expect(breaker.budget(NOON + 7 * SECOND)).toBeGreaterThan(0);
  });

  it("is slowed down once a second at most, however many of its answers say so", () => {
    const [one, many] = [createCircuitBreaker(WINDOW, () => 0), createCircuitBreaker(WINDOW, () => 0)];
    for (const breaker of [one, many]) breaker.recordSubmits(500, NOON);
    one.recordAnswer(throttled(), NOON);
    for (let told = 0; told < 400; told += 1) many.recordAnswer(throttled(), NOON + told);
    const at = NOON + SECOND;
    expect(many.budget(at)).toBe(one.budget(at));
    expect(many.budget(at)).toBeGreaterThan(0);
  });

  it("is always given something in the end", () => {
    const breaker = createCircuitBreaker(WINDOW, () => 0);
    let now = NOON;
    for (let told = 0; told < 100; told += 1) {
      breaker.recordSubmits(1, now);
      breaker.recordAnswer(throttled(), now);
      const opens = breaker.opensAt(now);
      expect(opens - now).toBeLessThanOrEqual(5 * SECOND + 1);
      now = Math.ceil(opens) + 1;
      expect(breaker.budget(now)).toBe(1);
    }
  });
});
