import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { addOutcome, type HealthChange, NO_EVIDENCE } from "../../src/domain/health.ts";
import { advance } from "../../src/domain/pool/advance.ts";
import { bookOutcome } from "../../src/domain/pool/book.ts";
import { type Charge, charge, undo } from "../../src/domain/pool/charge.ts";
import { decide, type Picked, type PickRequest } from "../../src/domain/pool/decide.ts";
import { changeSettings, createPool, dropNumber, putNumber } from "../../src/domain/pool/pool.ts";
import type { Pool, PoolNumber, PoolSettings } from "../../src/domain/pool/state.ts";
import {
  ask,
  DAY,
  HOUR,
  NOON,
  near,
  pickOf,
  poolNumber,
  poolNumbers,
  poolOf,
  send,
  sendMany,
  settings,
} from "./pool-builder.ts";
import * as reference from "./reference-pool.ts";

const TODAY = Math.floor(NOON / DAY);
const AREA_CODES = ["212", "646", "917", "315", "201", "416", "647"];

/**
 * Rates whose segments take whole milliseconds and that are close to each other, so that the
 * reference is exact.
 */
const anyRate = fc.constantFrom(0.001, 0.002, 0.01, 0.1);

const oneIn = <Value>(times: number, value: fc.Arbitrary<Value>): fc.Arbitrary<Value | undefined> =>
  fc.oneof({ weight: times - 1, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: value });

const anyHealth = fc.oneof(
  fc.constant(NO_EVIDENCE),
  fc
    .record({ delivered: fc.constantFrom(0, 0, 1, 8), spam: fc.nat(16), other: fc.nat(16), age: fc.nat(DAY) })
    .map(({ delivered, spam, other, age }) => ({
      delivered,
      failed: spam + other,
      spam,
      inbound: 0,
      asOf: NOON - age,
    })),
);

const anyWeight = fc.oneof(
  fc.constant(1),
  fc.nat(60).map((tenths) => tenths / 10),
);

const anySettings: fc.Arbitrary<PoolSettings> = fc.record({
  longCodeWeight: anyWeight,
  tollFreeWeight: anyWeight,
  skipUnhealthy: fc.boolean(),
  stickySender: fc.boolean(),
  geomatch: fc.boolean(),
});

const anyOutcome: fc.Arbitrary<HealthChange> = fc
  .constantFrom([1, 0, 0], [0, 1, 0], [0, 1, 1], [0, 6, 6])
  .map(([delivered = 0, failed = 0, spam = 0]) => ({ delivered, failed, spam, inbound: 0 }));

function anyNumber(anyId: fc.Arbitrary<string>): fc.Arbitrary<PoolNumber> {
  return fc
    .record({
      id: anyId,
      isTollFree: fc.constantFrom(false, false, true),
      areaCode: fc.constantFrom(undefined, ...AREA_CODES),
      state: fc.constantFrom("active", "active", "active", "active", "active", "active", "draining", "paused"),
      segmentsPerSecond: anyRate,
      dailySegmentLimit: oneIn(4, fc.oneof(fc.nat(12), fc.nat(40))),
      generation: fc.constantFrom(0, 0, 0, 1),
      health: anyHealth,
      load: fc.oneof(
        fc.constant(undefined),
        fc.integer({ min: -HOUR, max: HOUR }).map((time) => ({ time, segments: 0 })),
        fc.integer({ min: -1, max: 12 }).map((segments) => ({ time: 3 * HOUR, segments })),
      ),
      lastUsed: fc.nat(4),
      usedToday: fc.nat(12),
      carrierUnavailable: oneIn(8, fc.constant(true)),
      day: fc.constantFrom(TODAY - 1, TODAY, TODAY),
      unreported: fc.nat(2),
    })
    .map(({ id, isTollFree, areaCode, load, ...rest }) => {
      const lineType = isTollFree ? "toll_free" : "long_code";
      const nextFree = load === undefined ? 0 : NOON + load.time - (load.segments * 1000) / rest.segmentsPerSecond;
      return poolNumber(id, { ...rest, lineType, areaCode: isTollFree ? undefined : areaCode, nextFree });
    });
}

function anyRequest(anyId: fc.Arbitrary<string>): fc.Arbitrary<PickRequest> {
  return fc.record({
    segments: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 10 })),
    from: oneIn(10, anyId),
    sticky: oneIn(3, fc.record({ numberId: anyId, generation: fc.constantFrom(0, 0, 0, 1) })),
    except: oneIn(6, anyId),
    near: oneIn(2, fc.constantFrom(...AREA_CODES, "340").map(near)),
  });
}

type Action =
  | { readonly do: "advance"; readonly by: number | "midnight" | "retry" }
  | { readonly do: "pick"; readonly request: PickRequest; readonly isCharged: boolean }
  | { readonly do: "undo" }
  | { readonly do: "put"; readonly number: PoolNumber }
  | { readonly do: "drop"; readonly id: string }
  | { readonly do: "book"; readonly id: string; readonly outcome: HealthChange; readonly reported: number }
  | { readonly do: "settings"; readonly settings: PoolSettings | undefined };

function anyAction(anyId: fc.Arbitrary<string>): fc.Arbitrary<Action> {
  const action = <Name extends Action["do"], Rest>(
    weight: number,
    name: Name,
    rest: { [Key in keyof Rest]: fc.Arbitrary<Rest[Key]> },
  ) => ({
    weight,
    arbitrary: fc.record({ do: fc.constant(name), ...rest }) as unknown as fc.Arbitrary<{ do: Name } & Rest>,
  });
  const pause = fc.oneof(fc.constant(0), fc.nat(20_000), fc.nat(HOUR), fc.nat(3 * DAY));
  return fc.oneof(
    action(14, "pick", { request: anyRequest(anyId), isCharged: fc.constantFrom(true, true, true, false) }),
    action(4, "advance", { by: fc.oneof(pause, fc.constantFrom("midnight" as const, "retry" as const)) }),
    action(3, "undo", {}),
    action(3, "put", { number: anyNumber(anyId) }),
    action(1, "drop", { id: anyId }),
    action(3, "book", { id: anyId, outcome: anyOutcome, reported: fc.nat(1) }),
    action(1, "settings", {
      settings: fc.oneof({ weight: 7, arbitrary: anySettings }, { weight: 1, arbitrary: fc.constant(undefined) }),
    }),
  );
}

/** A pool of few or many numbers, and its actions. */
const anyScenario = fc.constantFrom(1, 2, 3, 12).chain((size) => {
  const anyId = fc.constantFrom(...Array.from({ length: size }, (_, index) => `n${index}`));
  return fc.record({
    rules: anySettings,
    isUnique: fc.boolean(),
    numbers: fc.array(anyNumber(anyId), { minLength: 1, maxLength: 14 }),
    actions: fc.array(anyAction(anyId), { maxLength: 80, size: "max" }),
  });
});

const anyOfTwelve = fc.constantFrom(...Array.from({ length: 12 }, (_, index) => `n${index}`));
const distinctNumbers = fc
  .uniqueArray(anyNumber(anyOfTwelve), { selector: ({ id }) => id, minLength: 1, maxLength: 12 })
  .map((numbers) => numbers.map((number, index) => ({ ...number, lastUsed: index + 1 })));

/** Applies actions to a pool and to its reference, and compares them after each. */
function besideReference(rules: PoolSettings, isUnique: boolean): (action: Action) => void {
  const pool = createPool(rules, [], NOON);
  const model = reference.createReference(rules, NOON);
  const charges: { readonly charged: Charge; readonly undo: () => void }[] = [];
  let lastRetryAfter = 0;

  const goTo = (moment: number) => {
    advance(pool, moment);
    model.now = moment;
  };

  /** A retry after the promised wait must not be refused. */
  const checkWait = (request: PickRequest, retryAfterMs: number) => {
    lastRetryAfter = Math.ceil(retryAfterMs);
    const later = structuredClone(pool);
    advance(later, later.now + lastRetryAfter);
    const isTrue = retryAfterMs > 0 && decide(later, request).kind === "pick";
    if (!isTrue) expect.fail(`refused again after ${retryAfterMs} ms`);
  };

  /** Compares a decision with the rules, and returns the pick. */
  const compare = (request: PickRequest): Picked | undefined => {
    const decision = decide(pool, request);
    const { standings, ...expected } = reference.expect(model, request);
    const { poolSize, eligible, excluded } = decision;
    if (decision.kind === "refuse") {
      const { kind, because, retryAfterMs } = decision;
      expect({ kind, because, poolSize, eligible, excluded }).toEqual({ ...expected, ...standings });
      if (because === "full") checkWait(request, retryAfterMs as number);
      else if (retryAfterMs !== undefined) expect.fail(`${because}, but with a retry after ${retryAfterMs} ms`);
      return undefined;
    }
    const { slot, ...actual } = decision;
    const sender = pool.slots[slot]?.number.id as string;
    if (expected.kind === "refuse") expect.fail(`picked ${sender}, but it is ${expected.because}`);
    const { senders, waitMs, ...rest } = expected;
    expect(actual).toEqual({ ...rest, ...standings, waitMs: expect.closeTo(waitMs, 0) });
    if (!senders.includes(sender)) expect.fail(`picked ${sender}, but it should be one of ${senders}`);
    return decision;
  };

  const run = (action: Action) => {
    switch (action.do) {
      case "advance": {
        const by = action.by === "retry" ? lastRetryAfter : action.by;
        goTo(by === "midnight" ? (Math.floor(model.now / DAY) + 1) * DAY : model.now + by);
        break;
      }
      case "pick": {
        const { segments } = action.request;
        const pick = compare(action.request);
        if (pick === undefined || !action.isCharged) break;
        const undo = reference.chargeTo(model, pool.slots[pick.slot]?.number.id as string, segments, pick.rule);
        charges.push({ charged: charge(pool, pick, segments), undo });
        break;
      }
      case "undo": {
        const last = charges.pop();
        if (last !== undefined) undo(pool, last.charged);
        last?.undo();
        break;
      }
      case "put": {
        const number = isUnique ? { ...action.number, lastUsed: model.sequence + 1 } : action.number;
        putNumber(pool, number);
        reference.put(model, number);
        break;
      }
      case "drop":
        dropNumber(pool, action.id);
        model.entries.delete(action.id);
        break;
      case "book": {
        const known = model.entries.get(action.id)?.number.health ?? NO_EVIDENCE;
        const health = addOutcome(known, action.outcome, model.now);
        bookOutcome(pool, action.id, health, action.reported);
        reference.book(model, action.id, health, action.reported);
        break;
      }
      case "settings":
        changeSettings(pool, action.settings);
        reference.changeRules(model, action.settings);
    }
  };

  return (action) => {
    run(action);
    while (reference.isDelicate(model)) goTo(model.now + 1);
    compare({ segments: 1 });
  };
}

function twins(rules: PoolSettings, numbers: readonly PoolNumber[]): [Pool, Pool] {
  return [createPool(rules, numbers, NOON), createPool(rules, numbers, NOON)];
}

describe("The pool", () => {
  it("decides like the rules applied to a list, after any actions", () => {
    fc.assert(
      fc.property(anyScenario, ({ rules, isUnique, numbers, actions }) => {
        const run = besideReference(rules, isUnique);
        for (const number of numbers) run({ do: "put", number });
        for (const action of actions) run(action);
      }),
      { numRuns: 300 },
    );
  });

  it("never picks a number that is removed or may not send, while numbers are added, removed and changed", () => {
    fc.assert(
      fc.property(anyScenario, ({ rules, actions }) => {
        const pool = createPool(rules, [], NOON);
        const inside = new Map<string, PoolNumber>();
        const charges: Charge[] = [];
        for (const action of actions) {
          if (action.do === "put") {
            putNumber(pool, action.number);
            inside.set(action.number.id, action.number);
          } else if (action.do === "drop") {
            dropNumber(pool, action.id);
            inside.delete(action.id);
          } else if (action.do === "undo") {
            for (const charged of charges.splice(charges.length >> 1, 1)) undo(pool, charged);
          } else if (action.do === "advance") {
            advance(pool, pool.now + (typeof action.by === "number" ? action.by : HOUR));
          } else if (action.do === "pick") {
            const decision = decide(pool, action.request);
            if (decision.kind === "refuse") continue;
            const { state, lineType, id } = inside.get(pool.slots[decision.slot]?.number.id as string) as PoolNumber;
            const isNamed = decision.rule === "from";
            const weight = lineType === "long_code" ? rules.longCodeWeight : rules.tollFreeWeight;
            const mayServe = state === "active" || (state === "draining" && (isNamed || decision.rule === "sticky"));
            const mayBeNew = isNamed || (weight > 0 && id !== action.request.except);
            if (!mayServe || !mayBeNew) expect.fail(`picked ${id}`);
            charges.push(charge(pool, decision, action.request.segments));
          }
          const { poolSize, eligible, excluded } = ask(pool);
          const counted = Object.values(excluded).reduce((sum, count) => sum + count, eligible);
          if (poolSize !== inside.size || counted !== poolSize) expect.fail(`${counted} counted of ${inside.size}`);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("does not depend on the order of its numbers", () => {
    const anyOrders = distinctNumbers.chain((all) =>
      fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length })),
    );
    fc.assert(
      fc.property(
        anySettings,
        anyOrders,
        fc.array(anyRequest(anyOfTwelve), { maxLength: 60 }),
        (rules, orders, requests) => {
          const pools = orders.map((numbers) => createPool(rules, numbers, NOON));
          for (const request of requests) {
            const answers = pools.map((pool) => {
              const decision = decide(pool, request);
              if (decision.kind === "refuse") return decision;
              charge(pool, decision, request.segments);
              return { ...decision, slot: pool.slots[decision.slot]?.number.id };
            });
            expect(answers[1]).toEqual(answers[0]);
          }
        },
      ),
      { numRuns: 200 },
    );
  });

  it("always shares equal messages among equal numbers to within one message", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9 }),
        fc.constantFrom(0.001, 0.3, 1, 3, 7.7, 100),
        fc.integer({ min: 1, max: 10 }),
        fc.array(fc.oneof(fc.constant(0), fc.nat(3000), fc.nat(HOUR), fc.nat(DAY)), { maxLength: 120, size: "max" }),
        (count, segmentsPerSecond, segments, pauses) => {
          const pool = poolOf({}, ...poolNumbers(count, "n", { segmentsPerSecond }));
          const sent = new Map(Array.from({ length: count }, (_, index) => [`n${index + 1}`, 0]));
          for (const pause of pauses) {
            advance(pool, pool.now + pause);
            if (ask(pool, { segments }).kind === "refuse") continue;
            const { sender } = send(pool, { segments });
            sent.set(sender, (sent.get(sender) as number) + 1);
            const apart = Math.max(...sent.values()) - Math.min(...sent.values());
            if (apart > 1) expect.fail(`${[...sent.values()]} messages`);
          }
        },
      ),
      { numRuns: 200 },
    );
  });

  it("is unchanged by charges that are undone", () => {
    const anySteps = fc.array(fc.tuple(anyRequest(anyOfTwelve), fc.oneof(fc.constant(0), fc.nat(5000), fc.nat(DAY))), {
      minLength: 1,
      maxLength: 30,
    });
    fc.assert(
      fc.property(anySettings, distinctNumbers, anySteps, fc.nat(10), (rules, numbers, steps, first) => {
        const [pool, twin] = twins(rules, numbers);
        for (const either of [pool, twin]) {
          for (let time = 0; time < first; time += 1) if (ask(either).kind === "pick") send(either);
        }
        const charges: Charge[] = [];
        for (const [request, pause] of steps) {
          for (const either of [pool, twin]) advance(either, either.now + pause);
          const decision = decide(pool, request);
          if (decision.kind === "pick") charges.push(charge(pool, decision, request.segments));
        }
        for (const charged of charges.toReversed()) undo(pool, charged);
        expect(pool.nextFree).toEqual(twin.nextFree);
        expect(pool.lastUsed).toEqual(twin.lastUsed);
        expect(pool.roundRobin).toEqual(twin.roundRobin);
        for (let index = 0; index < 50; index += 1) {
          const [request] = steps[index % steps.length] as (typeof steps)[0];
          const [one, other] = [decide(pool, request), decide(twin, request)];
          expect(one).toEqual(other);
          if (one.kind === "pick") charge(pool, one, request.segments);
          if (other.kind === "pick") charge(twin, other, request.segments);
        }
      }),
      { numRuns: 200 },
    );
  });
});

describe("Weights", () => {
  const weight = fc.integer({ min: 1, max: 20 });
  const count = fc.integer({ min: 1, max: 5 });

  it("hold exactly in every window of their sum", () => {
    fc.assert(
      fc.property(weight, weight, count, count, (longCodeWeight, tollFreeWeight, longCodes, tollFrees) => {
        const pool = poolOf(
          { longCodeWeight, tollFreeWeight },
          ...poolNumbers(longCodes, "long", { segmentsPerSecond: 100 }),
          ...poolNumbers(tollFrees, "free", { segmentsPerSecond: 100, lineType: "toll_free" }),
        );
        const size = longCodeWeight + tollFreeWeight;
        for (let window = 0; window < 5; window += 1) {
          const senders = sendMany(pool, size);
          expect(senders.filter((sender) => sender.startsWith("long"))).toHaveLength(longCodeWeight);
        }
      }),
      { numRuns: 200 },
    );
  });

  it("of any size are never further from their share than one message", () => {
    const anything = fc.oneof(weight, fc.double({ min: 0.001, max: 1000, noNaN: true }));
    fc.assert(
      fc.property(anything, anything, (longCodeWeight, tollFreeWeight) => {
        const pool = poolOf(
          { longCodeWeight, tollFreeWeight },
          poolNumber("long", { segmentsPerSecond: 100 }),
          poolNumber("free", { segmentsPerSecond: 100, lineType: "toll_free" }),
        );
        const share = longCodeWeight / (longCodeWeight + tollFreeWeight);
        let longCodes = 0;
        for (let sent = 1; sent <= 300; sent += 1) {
          if (pickOf(pool).sender === "long") longCodes += 1;
          send(pool);
          if (Math.abs(longCodes - share * sent) > 1) expect.fail(`${longCodes} of ${sent}, but ${share} of all`);
        }
      }),
      { numRuns: 100 },
    );
  });

  it("hold through charges that are undone", () => {
    fc.assert(
      fc.property(
        weight,
        weight,
        fc.array(fc.boolean(), { maxLength: 100, size: "max" }),
        (longCodeWeight, tollFreeWeight, undone) => {
          const numbers = [poolNumber("long"), poolNumber("free", { lineType: "toll_free" })];
          const [pool, twin] = twins(settings({ longCodeWeight, tollFreeWeight }), numbers);
          for (const isUndone of undone) {
            const { sender, charged } = send(pool);
            if (isUndone) undo(pool, charged);
            else expect(sender).toBe(send(twin).sender);
          }
        },
      ),
      { numRuns: 100 },
    );
  });
});
