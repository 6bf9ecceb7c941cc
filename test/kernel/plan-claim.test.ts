import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { QueuedMessage } from "../../src/domain/message.ts";
import { release } from "../../src/domain/pace.ts";
import { isClaimable, maxQueueRows, type Pace, planClaim } from "../../src/domain/plan/claim.ts";
import { NOON } from "./pool-builder.ts";

type Queued = { readonly parts: number; readonly validUntil: number };

const messageOf = ({ parts, validUntil }: Queued, index: number) =>
  ({ id: `m${index}`, parts, validUntil }) as unknown as QueuedMessage;

const anyPace: fc.Arbitrary<Pace> = fc.record({
  carrier: fc.constant("sandbox"),
  segmentsPerSecond: fc.constantFrom(0.01, 1, 3, 50, 400),
  isPaused: fc.constantFrom(false, false, false, true),
  dueAt: fc.oneof(fc.constant(0), fc.integer({ min: NOON - 100, max: NOON })),
  dailySegmentLimit: fc.constant(undefined),
  usedDay: fc.constant(0),
  usedSegments: fc.constant(0),
});
const anyQueue = fc
  .array(
    fc.record({
      parts: fc.integer({ min: 1, max: 10 }),
      validUntil: fc.constantFrom(NOON - 1, NOON, NOON + 1, NOON + 500, NOON + 60_000, NOON + 60_000, NOON + 60_000),
    }),
    { maxLength: 40 },
  )
  .map((queue) => queue.map(messageOf));
const UNLIMITED = { dailySegmentLimit: undefined, usedDay: 0, usedSegments: 0 };
const DAY = 24 * 3_600_000;
const TODAY = Math.floor(NOON / DAY);
const MIDNIGHT = (TODAY + 1) * DAY;
const anyBudget = fc.oneof(fc.nat(12), fc.constant(Number.POSITIVE_INFINITY));

describe("The plan of a claim", () => {
  it("takes the oldest unexpired messages that its pace and its carrier allow, and none while paused", () => {
    fc.assert(
      fc.property(anyPace, anyQueue, anyBudget, (pace, all, budget) => {
        const queue = all.slice(0, maxQueueRows(pace, budget));
        const { send, expire, setDueAt, freeAt, waitsForCarrier } = planClaim(pace, queue, NOON, budget);
        const timely = queue.filter(({ validUntil }) => validUntil > NOON);
        expect(send).toEqual(timely.slice(0, send.length));
        expect(expire).toEqual(queue.filter(({ validUntil }) => validUntil <= NOON));
        expect(send.length).toBeLessThanOrEqual(budget);
        if (pace.isPaused) {
          expect([send, setDueAt, freeAt, waitsForCarrier]).toEqual([[], undefined, Number.POSITIVE_INFINITY, false]);
          return;
        }
        const sizes = timely.map(({ parts }) => parts);
        const allowed = release(sizes, pace.dueAt, NOON, pace.segmentsPerSecond).count;
        expect(send).toHaveLength(Math.min(allowed, budget));
        const used = release(sizes.slice(0, send.length), pace.dueAt, NOON, pace.segmentsPerSecond);
        expect([setDueAt, freeAt]).toEqual(send.length === 0 ? [undefined, pace.dueAt] : [used.dueAt, used.dueAt]);
      }),
      { numRuns: 500 },
    );
  });

  it("loses nothing: with claims when due or when the carrier opens, every message leaves or expires", () => {
    const budgets = fc.array(fc.constantFrom(0, 1, 2, 3, Number.POSITIVE_INFINITY), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(anyPace, anyQueue, budgets, (firstPace, queue, openings) => {
        let pace = firstPace;
        let left = [...queue];
        const done: QueuedMessage[] = [];
        let segments = 0;
        let now = NOON;
        for (let claims = 0; left.length > 0; claims += 1) {
          if (claims > 2_000) throw new Error(`${left.length} messages were never claimed`);
          expect(isClaimable(pace, now)).toBe(true);
          // A carrier that refuses everything accepts something in the end.
          const budget = (openings[claims % openings.length] as number) || (claims % 20 === 19 ? 1 : 0);
          const plan = planClaim(pace, left.slice(0, maxQueueRows(pace, budget)), now, budget);
          const gone = new Set([...plan.send, ...plan.expire]);
          for (const message of plan.send) expect(message.validUntil).toBeGreaterThan(now);
          for (const message of plan.expire) expect(message.validUntil).toBeLessThanOrEqual(now);
          segments += plan.send.reduce((sum, { parts }) => sum + parts, 0);
          done.push(...gone);
          left = left.filter((message) => !gone.has(message));
          pace = { ...pace, dueAt: plan.setDueAt ?? pace.dueAt };
          if (left.length === 0) break;
          // After "whenDeferred" only deferred messages cause a claim.
          if (plan.next === "whenDeferred" && !plan.waitsForCarrier)
            throw new Error("the remaining messages were abandoned");
          const next = plan.next === "whenDeferred" ? now : plan.next;
          now = Math.max(now, plan.waitsForCarrier ? plan.freeAt : next);
        }
        expect(new Set(done)).toEqual(new Set(queue));
        expect(done).toHaveLength(queue.length);
        const maxParts = Math.max(0, ...queue.map(({ parts }) => parts));
        const allowed = ((now - NOON + 20) * pace.segmentsPerSecond) / 1_000 + maxParts;
        // Times have a resolution of a quarter of a microsecond.
        expect(segments).toBeLessThanOrEqual(allowed + 0.01);
      }),
      { numRuns: 400 },
    );
  });

  it("waits for its carrier only if nothing else holds its messages", () => {
    fc.assert(
      fc.property(anyPace, anyQueue, fc.nat(12), (pace, all, budget) => {
        const queue = all.slice(0, maxQueueRows(pace, budget));
        const plan = planClaim(pace, queue, NOON, budget);
        if (!plan.waitsForCarrier) return;
        expect(plan.send).toHaveLength(budget);
        expect(queue.filter(({ validUntil }) => validUntil > NOON).length).toBeGreaterThan(budget);
      }),
      { numRuns: 500 },
    );
  });

  it("sends what the daily limit allows, in order, and is due again at midnight", () => {
    const anyLimit = fc.record({ limit: fc.nat(30), used: fc.nat(30), day: fc.constantFrom(TODAY - 1, TODAY) });
    fc.assert(
      fc.property(anyPace, anyQueue, anyLimit, (pace, queue, { limit, used, day }) => {
        const limited = { ...pace, dailySegmentLimit: limit, usedDay: day, usedSegments: used };
        const free = planClaim(pace, queue, NOON, Number.POSITIVE_INFINITY);
        const plan = planClaim(limited, queue, NOON, Number.POSITIVE_INFINITY);
        const left = limit - (day === TODAY ? used : 0);
        const segments = plan.send.reduce((sum, { parts }) => sum + parts, 0);
        expect(segments).toBeLessThanOrEqual(Math.max(0, left));
        // Nothing overtakes: these are the first messages of a claim without a limit.
        expect(plan.send).toEqual(free.send.slice(0, plan.send.length));
        if (plan.send.length === free.send.length) return;
        expect(segments + (free.send[plan.send.length] as QueuedMessage).parts).toBeGreaterThan(left);
        expect([plan.next, plan.freeAt, plan.waitsForCarrier]).toEqual([MIDNIGHT, MIDNIGHT, false]);
      }),
      { numRuns: 2_000 },
    );
  });

  it("does not return to the day before when its clock is behind", () => {
    const pace = { carrier: "sandbox", segmentsPerSecond: 50, isPaused: false, dueAt: 0 };
    const limited = { ...pace, dailySegmentLimit: 5, usedDay: TODAY + 1, usedSegments: 5 };
    const queue = [messageOf({ parts: 1, validUntil: NOON + DAY }, 0)];
    expect(planClaim(limited, queue, NOON, Number.POSITIVE_INFINITY)).toMatchObject({ send: [], next: MIDNIGHT + DAY });
  });

  it("of a paused number is due when its first message expires", () => {
    const paused = { carrier: "sandbox", segmentsPerSecond: 1, isPaused: true, dueAt: 0, ...UNLIMITED };
    const queue = [NOON + 9_000, NOON + 3_000].map((validUntil, index) => messageOf({ parts: 1, validUntil }, index));
    expect(planClaim(paused, queue, NOON, Number.POSITIVE_INFINITY).next).toBe(NOON + 3_000);
    expect(planClaim(paused, [], NOON, Number.POSITIVE_INFINITY).next).toBe("whenDeferred");
  });

  it("ignores a day further ahead than tomorrow, which a wrong clock stored", () => {
    const queue = [messageOf({ parts: 1, validUntil: NOON + 10 * DAY }, 0)];
    const pace = {
      carrier: "sandbox",
      segmentsPerSecond: 1,
      isPaused: false,
      dueAt: 0,
      dailySegmentLimit: 5,
      usedSegments: 5,
    };
    const sentWith = (usedDay: number) => planClaim({ ...pace, usedDay }, queue, NOON, 10).send.length;
    expect([TODAY - 1, TODAY, TODAY + 1, TODAY + 2, TODAY + 365].map(sentWith)).toEqual([1, 0, 0, 1, 1]);
  });
});
