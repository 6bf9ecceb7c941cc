import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  addOutcome,
  decay,
  HALF_LIFE_MS,
  type HealthChange,
  type HealthCounts,
  healthFigures,
  judge,
  NO_EVIDENCE,
  type Standing,
} from "../../src/domain/health.ts";
import { advance } from "../../src/domain/pool/advance.ts";
import { bookOutcome } from "../../src/domain/pool/book.ts";
import { ask, DAY, failures, HOUR, NOON, pickOf, poolNumber, poolOf, refusalOf, send } from "./pool-builder.ts";

const DELIVERED: HealthChange = { delivered: 1, failed: 0, spam: 0, inbound: 0 };
const FAILED: HealthChange = { delivered: 0, failed: 1, spam: 0, inbound: 0 };
const BLOCKED: HealthChange = { delivered: 0, failed: 1, spam: 1, inbound: 0 };

/** The Wilson score interval of a rate, by the textbook formula. */
function wilson(hits: number, trials: number): { lower: number; upper: number } {
  const z = 1.96;
  const rate = hits / trials;
  const middle = rate + (z * z) / (2 * trials);
  const reach = z * Math.sqrt((rate * (1 - rate)) / trials + (z * z) / (4 * trials * trials));
  const whole = 1 + (z * z) / trials;
  return { lower: (middle - reach) / whole, upper: (middle + reach) / whole };
}

function until(standing: Standing): number {
  if (standing.standing === "healthy") throw new Error("healthy without end");
  return standing.until;
}

const counts = fc
  .tuple(fc.nat(400), fc.nat(400), fc.nat(400), fc.nat(9))
  .map(([delivered, spam, other, shrink]): HealthCounts => {
    const times = 0.7 ** shrink;
    return { delivered: delivered * times, failed: (spam + other) * times, spam: spam * times, inbound: 0, asOf: NOON };
  });

describe("A number", () => {
  it("without evidence is healthy", () => {
    expect(judge(NO_EVIDENCE, NOON)).toEqual({ standing: "healthy" });
    expect(judge({ ...NO_EVIDENCE, inbound: 1000, asOf: NOON }, NOON)).toEqual({ standing: "healthy" });
  });

  it("is unhealthy after twelve straight failures, but not after eleven", () => {
    const standings = Array.from({ length: 14 }, (_, failed) => judge(failures(failed), NOON).standing);
    expect(standings).toEqual([...Array(11).fill("healthy"), "trial", "unhealthy", "unhealthy"]);
  });

  it("that delivers a quarter is healthy, however many its outcomes", () => {
    expect(judge({ ...failures(30_000), delivered: 10_000 }, NOON).standing).toBe("healthy");
    expect(judge({ ...failures(30_000), delivered: 9_000 }, NOON)).toMatchObject({ reason: "delivery" });
  });

  it("is unhealthy for spam when the interval lies above three quarters blocked as spam", () => {
    expect(judge({ ...failures(12), spam: 12 }, NOON)).toMatchObject({ standing: "unhealthy", reason: "spam" });
    expect(judge({ ...failures(11), spam: 11 }, NOON).standing).toBe("trial");
    expect(judge({ ...failures(90), spam: 90, delivered: 10 }, NOON)).toMatchObject({ reason: "spam" });
    expect(judge({ ...failures(100), spam: 76 }, NOON)).toMatchObject({ standing: "unhealthy", reason: "delivery" });
  });

  it("follows the textbook's interval: unhealthy below 25 % delivered or above 75 % spam, spam first", () => {
    fc.assert(
      fc.property(counts, fc.nat(3 * DAY), (evidence, age) => {
        const times = decay(age);
        const outcomes = (evidence.delivered + evidence.failed) * times;
        fc.pre(outcomes > 0);
        const delivery = wilson(evidence.delivered * times, outcomes).upper;
        const spam = wilson(evidence.spam * times, outcomes).lower;
        fc.pre(Math.abs(delivery - 0.25) > 1e-9 && Math.abs(spam - 0.75) > 1e-9);
        const reason = spam > 0.75 ? "spam" : delivery < 0.25 ? "delivery" : undefined;
        const standing = judge(evidence, NOON + age);
        if (reason === undefined) expect(standing.standing).not.toBe("unhealthy");
        else expect(standing).toMatchObject({ standing: "unhealthy", reason });
      }),
      { numRuns: 3000 },
    );
  });

  it("that fails all of twelve messages a day is unhealthy within two days", () => {
    let evidence = NO_EVIDENCE;
    let at = NOON;
    while (judge(evidence, at).standing !== "unhealthy") {
      at += 2 * HOUR;
      evidence = addOutcome(evidence, FAILED, at);
      expect(at).toBeLessThanOrEqual(NOON + 2 * DAY);
    }
  });

  it("that fails all of a few messages a day is never unhealthy", () => {
    let evidence = NO_EVIDENCE;
    for (let at = NOON; at < NOON + 60 * DAY; at += 4 * HOUR) {
      evidence = addOutcome(evidence, FAILED, at);
      expect(judge(evidence, at).standing).not.toBe("unhealthy");
    }
  });
});

describe("An unhealthy number", () => {
  it("comes back on trial by decay alone, at `until`", () => {
    fc.assert(
      fc.property(counts, fc.nat(3 * DAY), (evidence, age) => {
        const standing = judge(evidence, NOON + age);
        fc.pre(standing.standing === "unhealthy");
        const back = until(standing);
        expect(back).toBeGreaterThan(NOON + age);
        // Rounding up may add two milliseconds, and one more passes the bound itself.
        expect(judge(evidence, back - 3).standing).toBe("unhealthy");
        expect(judge(evidence, back).standing).toBe("trial");
      }),
      { numRuns: 3000 },
    );
  });

  it("is unhealthy until that moment, and healthy after the trial's end", () => {
    for (const evidence of [
      failures(12),
      failures(300),
      { ...failures(60), delivered: 3 },
      { ...failures(40), spam: 40 },
    ]) {
      const back = until(judge(evidence, NOON));
      const healthy = until(judge(evidence, back));
      for (let at = NOON; at < healthy + DAY; at += 60_000) {
        const { standing } = judge(evidence, at);
        const expected = at < back ? "unhealthy" : at < healthy ? "trial" : "healthy";
        // In the last three milliseconds of each, rounding may already apply.
        const isRounded = [back, healthy].some((moment) => at < moment && at >= moment - 3);
        if (standing !== expected && !isRounded) expect.fail(`${standing}, not ${expected}, at ${at - back} ms`);
      }
    }
  });

  it("that fails both by spam and otherwise has the later of the two ends", () => {
    const evidence = { ...failures(100), spam: 95 };
    const standing = judge(evidence, NOON);
    expect(standing).toMatchObject({ standing: "unhealthy", reason: "spam" });
    expect(judge(evidence, until(standing)).standing).not.toBe("unhealthy");
  });

  it("has the same `until` at every moment", () => {
    const evidence = { ...failures(80), delivered: 4 };
    const back = until(judge(evidence, NOON));
    for (let at = NOON; at < back - 3; at += 12_345_678) {
      expect(Math.abs(until(judge(evidence, at)) - back)).toBeLessThanOrEqual(1);
    }
  });

  it("stays excluded a half-life longer for twice the failures", () => {
    const away = [12, 24, 48, 96].map((failed) => until(judge(failures(failed), NOON)) - NOON);
    expect(away[0]).toBeLessThan(2 * HOUR);
    for (const index of [1, 2, 3]) {
      const more = (away[index] as number) - (away[index - 1] as number);
      expect(Math.abs(more - HALF_LIFE_MS)).toBeLessThanOrEqual(1);
    }
  });

  it("stays excluded about 2.9 hours longer after each failed trial", () => {
    let evidence = failures(12);
    let at = until(judge(evidence, NOON));
    for (let trial = 0; trial < 5; trial += 1) {
      evidence = addOutcome(evidence, FAILED, at);
      const standing = judge(evidence, at);
      expect(standing.standing).toBe("unhealthy");
      expect((until(standing) - at) / HOUR).toBeCloseTo(2.88, 1);
      at = until(standing);
    }
  });

  it("is not excluded again by a trial that succeeds", () => {
    const evidence = failures(30);
    const back = until(judge(evidence, NOON));
    expect(judge(addOutcome(evidence, DELIVERED, back), back).standing).not.toBe("unhealthy");
  });
});

describe("Outcomes", () => {
  const outcomes = fc.array(fc.record({ what: fc.constantFrom(DELIVERED, FAILED, BLOCKED), after: fc.nat(5 * DAY) }), {
    minLength: 1,
    maxLength: 40,
  });
  const total = (all: readonly { what: HealthChange; after: number }[]) =>
    all.reduce((evidence, { what, after }) => addOutcome(evidence, what, NOON + after), NO_EVIDENCE);

  it("count half after 24 hours", () => {
    const later = addOutcome(addOutcome(NO_EVIDENCE, BLOCKED, NOON), DELIVERED, NOON + 2 * DAY);
    expect(later).toEqual({ delivered: 1, failed: 0.25, spam: 0.25, inbound: 0, asOf: NOON + 2 * DAY });
    expect(addOutcome(addOutcome(NO_EVIDENCE, DELIVERED, NOON + 2 * DAY), BLOCKED, NOON)).toEqual(later);
  });

  it("count the same in any order of addition", () => {
    fc.assert(
      fc.property(
        outcomes.chain((all) => fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length }))),
        ([all, shuffled]) => {
          const one = total(all);
          const other = total(shuffled);
          for (const what of ["delivered", "failed", "spam", "inbound"] as const)
            expect(other[what]).toBeCloseTo(one[what], 9);
          expect(other.asOf).toBe(one.asOf);
        },
      ),
      { numRuns: 500 },
    );
  });

  it("weigh by their own age, as in the textbook", () => {
    fc.assert(
      fc.property(outcomes, (all) => {
        const evidence = total(all);
        const failed = all.filter(({ what }) => what.failed === 1);
        const weight = failed.reduce((sum, { after }) => sum + 0.5 ** ((evidence.asOf - NOON - after) / DAY), 0);
        expect(evidence.failed).toBeCloseTo(weight, 9);
      }),
    );
  });

  it("that are reversed leave zero, and never less", () => {
    const taken = { delivered: 0, failed: -1, spam: -1, inbound: 0 };
    const after = addOutcome(addOutcome(NO_EVIDENCE, BLOCKED, NOON), taken, NOON + HOUR);
    expect(after).toEqual({ ...NO_EVIDENCE, asOf: NOON + HOUR });
  });

  it("give the documented figures", () => {
    const evidence = { delivered: 30, failed: 10, spam: 4, inbound: 8, asOf: NOON };
    const ratios = { inboundOutboundRatio: 0.2, successRatio: 0.75, spamRatio: 0.1 };
    expect(healthFigures(evidence, NOON)).toEqual({ messageCount: 40, ...ratios });
    expect(healthFigures(evidence, NOON + DAY)).toEqual({ messageCount: 20, ...ratios });
    expect(healthFigures(NO_EVIDENCE, NOON)).toEqual({
      messageCount: 0,
      inboundOutboundRatio: 0,
      successRatio: 1,
      spamRatio: 0,
    });
  });
});

describe("A number on trial", () => {
  const evidence = failures(12);
  const back = until(judge(evidence, NOON));

  it("has at most one unreported message at a time, where unhealthy numbers are skipped", () => {
    const pool = poolOf({ skipUnhealthy: true }, poolNumber("a", { health: evidence }));
    expect(refusalOf(pool).excluded.unhealthy).toBe(1);
    advance(pool, back - 3);
    expect(refusalOf(pool).excluded.unhealthy).toBe(1);
    advance(pool, back);
    for (let message = 0; message < 3; message += 1) {
      expect(send(pool).sender).toBe("a");
      expect(refusalOf(pool)).toMatchObject({ because: "nothingUsable", excluded: { onTrial: 1 } });
      bookOutcome(pool, "a", undefined, 1);
    }
    expect(ask(pool).kind).toBe("pick");
  });

  it("ignores reports of messages that were not counted as unreported", () => {
    const pool = poolOf({ skipUnhealthy: true }, poolNumber("a", { health: evidence }));
    advance(pool, back);
    bookOutcome(pool, "a", undefined, 5);
    send(pool);
    expect(refusalOf(pool).excluded.onTrial).toBe(1);
  });

  it("has any number of them where unhealthy numbers are not skipped", () => {
    const pool = poolOf({}, poolNumber("a", { health: evidence }));
    advance(pool, back);
    for (let message = 0; message < 5; message += 1) expect(send(pool).sender).toBe("a");
  });

  it("loses that limit once it is healthy, by deliveries or by decay", () => {
    const byTime = poolOf({ skipUnhealthy: true }, poolNumber("a", { health: evidence }));
    advance(byTime, back);
    send(byTime);
    advance(byTime, until(judge(evidence, back)));
    expect(pickOf(byTime)).toMatchObject({ sender: "a", excluded: { onTrial: 0 } });

    const byDelivering = poolOf({ skipUnhealthy: true }, poolNumber("a", { health: evidence }));
    advance(byDelivering, back);
    send(byDelivering);
    const better = addOutcome(addOutcome(evidence, DELIVERED, back), DELIVERED, back);
    bookOutcome(byDelivering, "a", better, 0);
    for (let message = 0; message < 3; message += 1) expect(send(byDelivering).sender).toBe("a");
  });

  it("is excluded again by a failure, and others send", () => {
    const pool = poolOf(
      { skipUnhealthy: true },
      poolNumber("a", { health: evidence }),
      poolNumber("b", { lastUsed: 1 }),
    );
    advance(pool, back);
    expect(send(pool).sender).toBe("a");
    bookOutcome(pool, "a", addOutcome(evidence, FAILED, back), 1);
    expect(send(pool)).toMatchObject({ sender: "b", excluded: { unhealthy: 1, onTrial: 0 } });
    advance(pool, back + 3 * HOUR);
    expect(pickOf(pool).eligible).toBe(2);
  });
});
