import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { release } from "../../src/domain/pace.ts";
import { advance } from "../../src/domain/pool/advance.ts";
import { bookClaim, bookQueue } from "../../src/domain/pool/book.ts";
import { type Charge, charge, undo } from "../../src/domain/pool/charge.ts";
import { decide } from "../../src/domain/pool/decide.ts";
import type { Pool } from "../../src/domain/pool/state.ts";
import { NOON, pickOf, poolNumber, poolNumbers, poolOf, send, sendMany } from "./pool-builder.ts";

const TURN = 20;
const MINUTE = 60_000;
/**
 * How far a predicted wait may be off: this, or a twentieth. It covers the slack of pace and a turn
 * of the dispatcher.
 */
const SLACK = 50;
/** The same after an outage: smaller drift is not corrected. */
const SLACK_AFTER_OUTAGE = 1_050;

type Waiting = { readonly segments: number; readonly at: number; readonly wait: number; readonly isCounted: boolean };

/** A pool with its queues, and a dispatcher that empties them in turns like the real one. */
function simulate(pool: Pool) {
  const numbers = new Map<string, { readonly rate: number; dueAt: number; readonly queue: Waiting[] }>();
  for (const [id, slot] of pool.byId) {
    numbers.set(id, { rate: pool.slots[slot]?.number.segmentsPerSecond ?? 1, dueAt: 0, queue: [] });
  }
  const errors: { readonly predicted: number; readonly off: number }[] = [];
  let now = NOON;
  let isDown = false;

  const claim = (id: string) => {
    const number = numbers.get(id);
    if (number === undefined || number.queue.length === 0 || number.dueAt > now) return;
    const sizes = number.queue.map(({ segments }) => segments);
    const released = isDown ? { count: 0, dueAt: number.dueAt } : release(sizes, number.dueAt, now, number.rate);
    const sent = number.queue.splice(0, released.count);
    for (const { at, wait, isCounted } of sent) {
      if (isCounted) errors.push({ predicted: wait, off: now - at - wait });
    }
    number.dueAt = released.dueAt;
    const segments = sent.reduce((sum, each) => sum + each.segments, 0);
    bookClaim(pool, id, segments, released.dueAt);
  };

  const run = (until: number) => {
    while (now < until) {
      now += TURN;
      advance(pool, now);
      for (const id of numbers.keys()) claim(id);
    }
  };

  return {
    errors,
    clock: () => now,
    setDown: (value: boolean) => {
      isDown = value;
    },
    /** Decides, charges and queues one message; checks its wait if `isCounted`. */
    send: (segments: number, isCounted: boolean): Charge | undefined => {
      advance(pool, now);
      const picked = decide(pool, { segments });
      if (picked.kind === "refuse") return undefined;
      const charged = charge(pool, picked, segments);
      const id = pool.slots[picked.slot]?.number.id ?? "";
      numbers.get(id)?.queue.push({ segments, at: now, wait: picked.waitMs, isCounted });
      return charged;
    },
    /** Charges and undoes it, as when a commit fails. */
    failToSend: (segments: number) => {
      advance(pool, now);
      const picked = decide(pool, { segments });
      if (picked.kind === "pick") undo(pool, charge(pool, picked, segments));
    },
    /** Removes the last message of the longest queue. */
    cancel: () => {
      advance(pool, now);
      const [longest] = [...numbers].toSorted(([, one], [, other]) => other.queue.length - one.queue.length);
      const cancelled = longest?.[1].queue.pop();
      if (longest !== undefined && cancelled !== undefined) bookQueue(pool, longest[0], -cancelled.segments);
    },
    run,
    /** Runs until every queue is empty. */
    finish: () => {
      while ([...numbers.values()].some(({ queue }) => queue.length > 0)) run(now + 1_000);
    },
  };
}

const RATES = [0.5, 1, 1, 3, 10, 50];
const mixedPool = () =>
  poolOf(
    {},
    ...RATES.map((segmentsPerSecond, index) => poolNumber(`n${index}`, { segmentsPerSecond, lastUsed: index })),
  );

const expectPredicted = (errors: readonly { readonly predicted: number; readonly off: number }[], slack: number) => {
  const wrong = errors.filter(({ predicted, off }) => Math.abs(off) > Math.max(slack, predicted / 20));
  expect(wrong).toEqual([]);
};

describe("The predicted wait of a message", () => {
  const anyParts = fc.constantFrom(1, 1, 1, 2, 3, 10);
  const anyStep = fc.oneof(
    { weight: 8, arbitrary: fc.record({ do: fc.constant("send" as const), parts: anyParts }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("fail" as const), parts: anyParts }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("cancel" as const), parts: fc.constant(1) }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant("wait" as const), parts: fc.nat(200) }) },
  );

  it("is the actual wait, for numbers of any rate, in any traffic", () => {
    fc.assert(
      fc.property(fc.array(anyStep, { minLength: 30, maxLength: 200 }), (steps) => {
        const sim = simulate(mixedPool());
        for (const step of steps) {
          if (step.do === "send") sim.send(step.parts, true);
          if (step.do === "fail") sim.failToSend(step.parts);
          // The last of a queue: no message is behind it.
          if (step.do === "cancel") sim.cancel();
          if (step.do === "wait") sim.run(sim.clock() + TURN * step.parts);
        }
        sim.finish();
        expectPredicted(sim.errors, SLACK);
      }),
      { numRuns: 40 },
    );
  });

  it("is right again after an outage of the carrier, once its numbers are claimed", () => {
    fc.assert(
      fc.property(
        fc.array(anyParts, { minLength: 20, maxLength: 120 }),
        fc.integer({ min: 1, max: 120 }),
        (all, away) => {
          const sim = simulate(mixedPool());
          const half = all.length >> 1;
          // Half a minute of load.
          for (const parts of all.slice(0, half)) {
            for (let sent = 0; sent < 30; sent += 1) sim.send(parts, false);
          }
          sim.run(NOON + 1_000);
          sim.setDown(true);
          sim.run(sim.clock() + away * 1_000);
          sim.setDown(false);
          sim.run(sim.clock() + TURN);
          for (const parts of all.slice(half)) sim.send(parts, true);
          sim.finish();
          expect(sim.errors).toHaveLength(all.length - half);
          expectPredicted(sim.errors, SLACK_AFTER_OUTAGE);
        },
      ),
      { numRuns: 40 },
    );
  });

  it("counts what is requeued, and what leaves a queue unsent", () => {
    const pool = poolOf({}, poolNumber("a", { segmentsPerSecond: 2 }));
    send(pool, { segments: 10 });
    expect(pickOf(pool).waitMs).toBe(5_000);
    bookQueue(pool, "a", 4);
    expect(pickOf(pool).waitMs).toBe(7_000);
    bookQueue(pool, "a", -14);
    expect(pickOf(pool).waitMs).toBe(0);
    bookQueue(pool, "a", -5);
    bookQueue(pool, "nobody", 5);
    bookQueue(pool, "a", 1);
    expect(pickOf(pool).waitMs).toBe(500);
  });

  it("ignores the small differences between turns of claims", () => {
    const pool = poolOf({}, poolNumber("a"));
    send(pool, { segments: 3 });
    send(pool, { segments: 2 });
    const before = pickOf(pool).waitMs;
    bookClaim(pool, "a", 3, NOON + 2_980);
    expect(pickOf(pool).waitMs).toBe(before);
    bookClaim(pool, "a", 0, NOON + 13_000);
    expect(pickOf(pool).waitMs).toBe(15_000);
  });

  it("stays when a paused number is claimed for expired messages", () => {
    const pool = poolOf({}, poolNumber("a"));
    send(pool, { segments: 5 });
    bookClaim(pool, "a", 0, Number.POSITIVE_INFINITY);
    expect(pickOf(pool).waitMs).toBe(5_000);
  });
});

describe("Idle numbers", () => {
  it("keep the order of last use through claims and cancellations", () => {
    const anyBooking = fc.array(fc.tuple(fc.nat(4), fc.integer({ min: -3, max: 0 }), fc.boolean()), { maxLength: 30 });
    fc.assert(
      fc.property(anyBooking, (bookings) => {
        const pool = poolOf({}, ...poolNumbers(5, "n"));
        const order = sendMany(pool, 5);
        for (const id of order) bookClaim(pool, id, 1, NOON + 980);
        advance(pool, NOON + MINUTE);
        for (const [index, segments, isClaim] of bookings) {
          if (isClaim) bookClaim(pool, `n${index + 1}`, -segments, pool.now - 500);
          else bookQueue(pool, `n${index + 1}`, segments);
        }
        expect(sendMany(pool, 5)).toEqual(order);
      }),
      { numRuns: 200 },
    );
  });

  it("of a pool whose messages are all sent have no wait, and take turns", () => {
    const sim = mixedPool();
    const simulated = simulate(sim);
    for (let sent = 0; sent < 40; sent += 1) simulated.send(1 + (sent % 3), false);
    simulated.run(NOON + 10 * MINUTE);
    for (const slot of sim.slots) expect(slot?.queuedSegments).toBe(0);
    expect(new Set(sendMany(sim, RATES.length)).size).toBe(RATES.length);
  });
});
