import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { addOutcome, type HealthChange, NO_EVIDENCE } from "../../src/domain/health.ts";
import { advance } from "../../src/domain/pool/advance.ts";
import { type Charge, charge, undo } from "../../src/domain/pool/charge.ts";
import { decide, type PickRequest } from "../../src/domain/pool/decide.ts";
import {
  bookOutcome,
  changeSettings,
  createPool,
  dropNumber,
  type Pool,
  type PoolNumber,
  type PoolSettings,
  putNumber,
} from "../../src/domain/pool/pool.ts";
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
const IDS = Array.from({ length: 12 }, (_, index) => `n${index}`);

const anyId = fc.constantFrom(...IDS);
const oneIn = <Value>(times: number, value: fc.Arbitrary<Value>): fc.Arbitrary<Value | undefined> =>
  fc.oneof({ weight: times - 1, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: value });

/** Rates whose segments take whole milliseconds, so that the reference is exact. */
const anyRate = fc.constantFrom(0.001, 0.01, 0.1, 1, 10);

const anyHealth = fc.oneof(
  { weight: 2, arbitrary: fc.constant(NO_EVIDENCE) },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.nat(3), fc.nat(20), fc.nat(20), fc.nat(2 * DAY)).map(([delivered, spam, other, age]) => ({
      delivered,
      failed: spam + other,
      spam,
      inbound: 0,
      asOf: NOON - age,
    })),
  },
);

const anyNumber: fc.Arbitrary<PoolNumber> = fc
  .record({
    id: anyId,
    isTollFree: fc.nat(3).map((die) => die === 0),
    areaCode: fc.constantFrom(undefined, ...AREA_CODES),
    state: fc.constantFrom("active", "active", "active", "active", "draining", "paused"),
    messagesPerSecond: anyRate,
    dailyLimit: oneIn(3, fc.oneof(fc.nat(12), fc.nat(40))),
    generation: fc.nat(1),
    health: anyHealth,
    load: fc.oneof(
      fc.constant(undefined),
      fc.integer({ min: -HOUR, max: HOUR }),
      fc.integer({ min: -1, max: 12 }).map((segments) => ({ segments })),
    ),
    lastUsed: fc.nat(4),
    usedToday: fc.nat(12),
    day: fc.constantFrom(TODAY - 1, TODAY, TODAY),
    unreported: fc.nat(2),
  })
  .map(({ id, isTollFree, areaCode, load, ...rest }) => {
    const room = typeof load === "object" ? (load.segments * 1000) / rest.messagesPerSecond : 0;
    const nextFree = load === undefined ? 0 : typeof load === "number" ? NOON + load : NOON + 3 * HOUR - room;
    const lineType = isTollFree ? "toll_free" : "long_code";
    return poolNumber(id, { ...rest, lineType, areaCode: isTollFree ? undefined : areaCode, nextFree });
  });

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

const anyRequest: fc.Arbitrary<PickRequest> = fc.record({
  segments: fc.oneof(
    { weight: 2, arbitrary: fc.constant(1) },
    { weight: 1, arbitrary: fc.integer({ min: 1, max: 10 }) },
  ),
  from: oneIn(10, anyId),
  sticky: oneIn(3, fc.record({ numberId: anyId, generation: fc.nat(1) })),
  except: oneIn(6, anyId),
  near: oneIn(2, fc.constantFrom(...AREA_CODES, "340").map(near)),
});

const anyOutcome: fc.Arbitrary<HealthChange> = fc
  .constantFrom([1, 0, 0], [0, 1, 0], [0, 1, 1], [0, 6, 6])
  .map(([delivered = 0, failed = 0, spam = 0]) => ({ delivered, failed, spam, inbound: 0 }));

type Action =
  | { readonly do: "advance"; readonly by: number | "midnight" | "retry" }
  | { readonly do: "pick"; readonly request: PickRequest; readonly isCharged: boolean }
  | { readonly do: "undo" }
  | { readonly do: "put"; readonly number: PoolNumber }
  | { readonly do: "drop"; readonly id: string }
  | { readonly do: "book"; readonly id: string; readonly outcome: HealthChange; readonly reported: number }
  | { readonly do: "settings"; readonly settings: PoolSettings | undefined };

const anyAction: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 14,
    arbitrary: fc.record({
      do: fc.constant("pick" as const),
      request: anyRequest,
      isCharged: fc.nat(3).map((die) => die > 0),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("advance" as const),
      by: fc.oneof(
        fc.constant(0),
        fc.nat(20_000),
        fc.nat(HOUR),
        fc.nat(3 * DAY),
        fc.constantFrom("midnight" as const, "retry" as const),
      ),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("undo" as const) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("put" as const), number: anyNumber }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("drop" as const), id: anyId }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("book" as const), id: anyId, outcome: anyOutcome, reported: fc.nat(1) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("settings" as const),
      settings: fc.oneof({ weight: 6, arbitrary: anySettings }, { weight: 1, arbitrary: fc.constant(undefined) }),
    }),
  },
);

/** A pool beside its reference; whatever is done is done to both. */
class Pair {
  readonly pool: Pool;
  readonly model: reference.ReferencePool;
  readonly isUnique: boolean;
  readonly charges: { readonly charged: Charge; readonly takeBack: () => void }[] = [];
  retryAfter = 0;

  constructor(rules: PoolSettings, isUnique: boolean) {
    this.pool = createPool(rules, [], NOON);
    this.model = reference.createReference(rules, NOON);
    this.isUnique = isUnique;
  }

  run(action: Action): void {
    const { pool, model } = this;
    switch (action.do) {
      case "advance":
        this.goTo(
          action.by === "midnight"
            ? (Math.floor(model.now / DAY) + 1) * DAY
            : model.now + (action.by === "retry" ? this.retryAfter : action.by),
        );
        break;
      case "pick":
        this.pick(action.request, action.isCharged);
        break;
      case "undo": {
        const last = this.charges.pop();
        if (last !== undefined) undo(pool, last.charged);
        last?.takeBack();
        break;
      }
      case "put": {
        const number = this.isUnique ? { ...action.number, lastUsed: model.sequence + 1 } : action.number;
        putNumber(pool, number);
        reference.put(model, number);
        break;
      }
      case "drop":
        dropNumber(pool, action.id);
        model.entries.delete(action.id);
        break;
      case "book": {
        const entry = model.entries.get(action.id);
        const health = addOutcome(entry?.number.health ?? NO_EVIDENCE, action.outcome, model.now);
        bookOutcome(pool, action.id, health, action.reported);
        reference.book(model, action.id, health, action.reported);
        break;
      }
      case "settings":
        changeSettings(pool, action.settings);
        reference.changeRules(model, action.settings);
    }
    while (reference.isDelicate(model)) this.goTo(model.now + 1);
    this.compare({ segments: 1 });
  }

  goTo(moment: number): void {
    advance(this.pool, moment);
    this.model.now = moment;
  }

  /** Compares what is decided with what the rules say, and gives the sender. */
  compare(request: PickRequest): string | undefined {
    const { pool, model } = this;
    const decision = decide(pool, request);
    const expected = reference.expect(model, request);
    const { poolSize, eligible, passedOver } = decision;
    expect({ poolSize, eligible, passedOver }).toEqual(expected.standings);
    if (decision.kind === "refuse") {
      expect([decision.kind, decision.because]).toEqual([expected.kind, "because" in expected && expected.because]);
      if (decision.because === "full") this.checkWait(request, decision.retryAfter as number);
      else expect(decision.retryAfter).toBeUndefined();
      return undefined;
    }
    const { rule, tier, standsIn, waitTime } = decision;
    const sender = pool.slots[decision.slot]?.number.id as string;
    expect({ kind: "pick", rule, tier, standsIn, waitTime, senders: [sender], standings: expected.standings }).toEqual({
      ...expected,
      waitTime: "waitTime" in expected && expect.closeTo(expected.waitTime, 1),
      senders: "senders" in expected && expected.senders.includes(sender) ? [sender] : expected,
    });
    return sender;
  }

  /** Whoever waits as long as told must not be refused again. */
  checkWait(request: PickRequest, retryAfter: number): void {
    expect(retryAfter).toBeGreaterThan(0);
    this.retryAfter = Math.ceil(retryAfter);
    const later = structuredClone(this.pool);
    advance(later, later.now + this.retryAfter);
    expect(decide(later, request).kind).toBe("pick");
  }

  pick(request: PickRequest, isCharged: boolean): void {
    const { pool, model } = this;
    const sender = this.compare(request);
    if (sender === undefined || !isCharged) return;
    const decision = decide(pool, request);
    if (decision.kind === "refuse") throw new Error("another decision on the same question");
    const charged = charge(pool, decision, request.segments);
    this.charges.push({ charged, takeBack: reference.chargeTo(model, sender, request.segments, decision.rule) });
  }
}

describe("The pool", () => {
  it("decides like the rules applied to a list, whatever happens to it", () => {
    fc.assert(
      fc.property(
        anySettings,
        fc.boolean(),
        fc.array(anyNumber, { maxLength: 14 }),
        fc.array(anyAction, { maxLength: 80, size: "max" }),
        (rules, isUnique, numbers, actions) => {
          const pair = new Pair(rules, isUnique);
          for (const number of numbers) pair.run({ do: "put", number });
          for (const action of actions) pair.run(action);
        },
      ),
      { numRuns: 400 },
    );
  });

  it("never picks a number that is not in it or may not send, although numbers come, go and change", () => {
    fc.assert(
      fc.property(anySettings, fc.array(anyAction, { maxLength: 200, size: "max" }), (rules, actions) => {
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
            const index = charges.length >> 1;
            for (const charged of charges.splice(index, 1)) undo(pool, charged);
          } else if (action.do === "pick") {
            const decision = decide(pool, action.request);
            expect(decision.poolSize).toBe(inside.size);
            if (decision.kind === "refuse") continue;
            const number = inside.get(pool.slots[decision.slot]?.number.id as string) as PoolNumber;
            expect(number).toBeDefined();
            expect(number.state).not.toBe("paused");
            if (decision.rule !== "from") {
              expect(number.id).not.toBe(action.request.except);
              expect(number.lineType === "long_code" ? rules.longCodeWeight : rules.tollFreeWeight).toBeGreaterThan(0);
              if (number.state === "draining") expect(decision.rule).toBe("sticky");
            }
            charges.push(charge(pool, decision, action.request.segments));
          } else if (action.do === "advance" && typeof action.by === "number") {
            advance(pool, pool.now + action.by);
          }
        }
      }),
      { numRuns: 400 },
    );
  });

  it("does not care in which order its numbers come", () => {
    const unique = fc.uniqueArray(anyNumber, { selector: ({ id }) => id, minLength: 2, maxLength: 12 });
    const shuffled = unique
      .map((numbers) => numbers.map((number, index) => ({ ...number, lastUsed: index })))
      .chain((all) => fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length })));
    fc.assert(
      fc.property(anySettings, shuffled, fc.array(anyRequest, { maxLength: 60 }), (rules, [one, other], requests) => {
        const pools = [one, other].map((numbers) => createPool(rules, numbers, NOON));
        for (const request of requests) {
          const answers = pools.map((pool) => {
            const decision = decide(pool, request);
            if (decision.kind === "refuse") return decision;
            charge(pool, decision, request.segments);
            return { ...decision, slot: pool.slots[decision.slot]?.number.id };
          });
          expect(answers[1]).toEqual(answers[0]);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("shares equal messages among equal numbers, at every moment to within one message", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9 }),
        fc.constantFrom(0.001, 0.3, 1, 3, 7.7, 100),
        fc.integer({ min: 1, max: 10 }),
        fc.array(fc.oneof(fc.constant(0), fc.nat(3000), fc.nat(HOUR), fc.nat(DAY)), { maxLength: 120, size: "max" }),
        (count, messagesPerSecond, segments, pauses) => {
          const pool = poolOf({}, ...poolNumbers(count, "n", { messagesPerSecond }));
          const sent = new Map(Array.from({ length: count }, (_, index) => [`n${index + 1}`, 0]));
          for (const pause of pauses) {
            advance(pool, pool.now + pause);
            if (ask(pool, { segments }).kind === "refuse") continue;
            const { sender } = send(pool, { segments });
            sent.set(sender, (sent.get(sender) as number) + 1);
            expect(Math.max(...sent.values()) - Math.min(...sent.values())).toBeLessThanOrEqual(1);
          }
        },
      ),
      { numRuns: 200 },
    );
  });

  it("is after charges that were undone as if they had never been made", () => {
    const unique = fc.uniqueArray(anyNumber, { selector: ({ id }) => id, minLength: 1, maxLength: 12 });
    const steps = fc.array(fc.tuple(anyRequest, fc.oneof(fc.constant(0), fc.nat(5000), fc.nat(DAY))), {
      maxLength: 30,
    });
    fc.assert(
      fc.property(anySettings, unique, steps, fc.nat(10), (rules, numbers, steps, first) => {
        const [pool, twin] = [0, 1].map(() =>
          createPool(
            rules,
            numbers.map((number, index) => ({ ...number, lastUsed: index + 1 })),
            NOON,
          ),
        ) as [Pool, Pool];
        for (const either of [pool, twin])
          for (let time = 0; time < first; time += 1) if (ask(either).kind === "pick") send(either);
        const charges: Charge[] = [];
        for (const [request, pause] of steps) {
          for (const either of [pool, twin]) advance(either, either.now + pause);
          const decision = decide(pool, request);
          if (decision.kind === "pick") charges.push(charge(pool, decision, request.segments));
        }
        for (const charged of charges.toReversed()) undo(pool, charged);
        expect(pool.nextFree).toEqual(twin.nextFree);
        expect(pool.lastUsed).toEqual(twin.lastUsed);
        expect(pool.passedOver).toEqual(twin.passedOver);
        for (let index = 0; index < 50; index += 1) {
          const request = steps[index % Math.max(1, steps.length)]?.[0] ?? { segments: 1 };
          expect(decide(pool, request)).toEqual(decide(twin, request));
          if (ask(pool, request).kind === "pick") expect(send(pool, request).sender).toBe(send(twin, request).sender);
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe("Weights", () => {
  const weight = fc.integer({ min: 1, max: 20 });
  const count = fc.integer({ min: 1, max: 5 });

  it("are kept exactly in every window of their sum", () => {
    fc.assert(
      fc.property(weight, weight, count, count, (longCodeWeight, tollFreeWeight, longCodes, tollFrees) => {
        const pool = poolOf(
          { longCodeWeight, tollFreeWeight },
          ...poolNumbers(longCodes, "long", { messagesPerSecond: 100 }),
          ...poolNumbers(tollFrees, "free", { messagesPerSecond: 100, lineType: "toll_free" }),
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

  it("are never further from their share than one message, whatever they are", () => {
    const anything = fc.oneof(weight, fc.double({ min: 0.001, max: 1000, noNaN: true }));
    fc.assert(
      fc.property(anything, anything, (longCodeWeight, tollFreeWeight) => {
        const pool = poolOf(
          { longCodeWeight, tollFreeWeight },
          poolNumber("long", { messagesPerSecond: 100 }),
          poolNumber("free", { messagesPerSecond: 100, lineType: "toll_free" }),
        );
        const share = longCodeWeight / (longCodeWeight + tollFreeWeight);
        let longCodes = 0;
        for (let sent = 1; sent <= 300; sent += 1) {
          if (pickOf(pool).sender === "long") longCodes += 1;
          send(pool);
          expect(Math.abs(longCodes - share * sent)).toBeLessThanOrEqual(1);
        }
      }),
      { numRuns: 100 },
    );
  });

  it("survive charges that are undone in between", () => {
    fc.assert(
      fc.property(
        weight,
        weight,
        fc.array(fc.boolean(), { maxLength: 100, size: "max" }),
        (longCodeWeight, tollFreeWeight, undone) => {
          const numbers = [poolNumber("long"), poolNumber("free", { lineType: "toll_free" })];
          const [pool, twin] = [0, 1].map(() =>
            createPool(settings({ longCodeWeight, tollFreeWeight }), numbers, NOON),
          ) as [Pool, Pool];
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
