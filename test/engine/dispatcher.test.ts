import { setTimeout as sleep } from "node:timers/promises";
import { pino } from "pino";
import { describe, expect, it, vi } from "vitest";
import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import type { SubmitAnswer } from "../../src/carriers/carrier.ts";
import { failure } from "../../src/domain/failure.ts";
import type { Message } from "../../src/domain/message.ts";
import type { PhoneNumber } from "../../src/domain/phone-number-record.ts";
import { createDispatcher, type Dispatcher } from "../../src/engine/dispatch/dispatcher.ts";
import { openPools } from "../../src/engine/pools/pools.ts";
import { createReporter } from "../../src/engine/reports/reporter.ts";
import { createYielding } from "../../src/engine/yielding.ts";
import type { Store } from "../../src/store/store.ts";
import {
  aMessage,
  aNumber,
  BLOCKED_AS_SPAM,
  eventsOf,
  idsOf,
  NOON,
  SECOND,
  storeMessage,
  storeMessages,
  storeNumber,
  storeProfile,
  write,
} from "../store/contract/records.ts";
import { openInFolder } from "../store/sqlite-folder.ts";
import { type FakeCarrier, fakeCarrier } from "./fake-carrier.ts";

const AWAY: SubmitAnswer = { kind: "unavailable", carrierCode: "away" };
const THROTTLED: SubmitAnswer = { kind: "throttled", carrierCode: "busy", retryAfterMs: undefined };
const BUSY: SubmitAnswer = { kind: "deferred", carrierCode: "busy", retryAfterMs: undefined };
const FAST = 1_000;
const log = pino({ level: "silent" });

type Given = { readonly submitTimeoutMs?: number; readonly laidOver?: (store: Store) => Store };

/** A real store with a dispatcher over it, whose clock began at noon. */
async function openHouse(given: Given = {}) {
  const opened = openInFolder();
  const store = given.laidOver?.(opened.store) ?? opened.store;
  const begun = performance.now();
  const clock = () => Math.round(NOON + performance.now() - begun);
  const pools = openPools(store, clock);
  const profile = await storeProfile(store);
  const { yieldAfter } = createYielding(clock, true);
  const running: Dispatcher[] = [];
  const stop = async () => {
    for (const dispatcher of running.splice(0)) await dispatcher.stop(SECOND);
  };
  return {
    store,
    clock,
    profile,
    carrier: (name: string, answer?: Parameters<typeof fakeCarrier>[2]) => fakeCarrier(name, clock, answer),
    number: (carrier: string, changes: Partial<PhoneNumber> = {}) =>
      storeNumber(store, profile, { carrier, segmentsPerSecond: FAST, ...changes }),
    messages: (number: PhoneNumber, count: number, changes: Partial<Message> = {}) =>
      storeMessages(store, number, ...Array.from({ length: count }, () => changes as object)),
    start: async (...carriers: FakeCarrier[]) => {
      const reporter = createReporter({ store, pools, log, yieldAfter, metrics: { observeReport: () => {} } });
      const dispatcher = createDispatcher({
        isDeliveryHeld: () => false,
        store,
        pools,
        carriers: new Map(carriers.map((carrier) => [carrier.name, carrier])),
        reporter,
        clock,
        random: Math.random,
        log,
        yieldAfter,
        owner: "process-1",
        submitTimeoutMs: given.submitTimeoutMs ?? 60 * SECOND,
      });
      running.push(dispatcher);
      await dispatcher.start();
      return dispatcher;
    },
    stop,
    close: async () => {
      await stop();
      pools.close();
      await opened.dispose();
    },
  };
}

type House = Awaited<ReturnType<typeof openHouse>>;

async function inHouse(given: Given, story: (house: House) => Promise<void>): Promise<void> {
  const house = await openHouse(given);
  try {
    await story(house);
  } finally {
    await house.close();
  }
}

const statusesOf = async (store: Store, messages: readonly Message[]) => {
  const stored = await Promise.all(messages.map(({ organizationId, id }) => store.getMessage(organizationId, id)));
  return stored.map((message) => message?.status);
};
const all = (messages: readonly unknown[], status: string) => messages.map(() => status);
const eventually = (check: () => unknown, within: number) => vi.waitFor(check, { timeout: within, interval: 20 });

/** A store that carries out its first two claims without telling so. */
function forgetful(store: Store): Store {
  let claims = 0;
  return {
    ...store,
    claim: async (request) => {
      const taken = await store.claim(request);
      claims += 1;
      if (claims > 2) return taken;
      throw failure(ErrorReason.UNAVAILABLE, "The answer was lost.");
    },
  };
}

describe.concurrent("The dispatcher", () => {
  it("hands over once what a claim took whose answer was lost", () =>
    inHouse({ laidOver: forgetful }, async ({ store, carrier, number, messages, start }) => {
      const good = carrier("good");
      const queued = await messages(await number("good"), 30);
      await start(good);
      await eventually(async () => expect(await statusesOf(store, queued)).toEqual(all(queued, "sent")), 10 * SECOND);
      expect(good.taken.toSorted()).toEqual(idsOf(queued).toSorted());
    }));

  it("leaves what the day has no room for, and sends it as soon as the limit is raised or removed", () =>
    inHouse({}, async ({ store, carrier, number, messages, start }) => {
      const good = carrier("good");
      const limited = await number("good", { dailySegmentLimit: 10 });
      const queued = await messages(limited, 40);
      await start(good);
      const limitTo = (dailySegmentLimit: number | undefined) =>
        store.updateNumber(limited.organizationId, limited.id, (current) => ({ ...current, dailySegmentLimit }));
      const expectSent = async (count: number) => {
        await eventually(() => expect(good.taken.length).toBeGreaterThanOrEqual(count), 3_000);
        // Several turns later it is no more.
        await sleep(200);
        expect(good.taken).toEqual(idsOf(queued.slice(0, count)));
      };
      await expectSent(10);
      await limitTo(15);
      await expectSent(15);
      await limitTo(undefined);
      await expectSent(40);
    }));

  it("hands over each message once, oldest first, at its number's pace", () =>
    inHouse({}, async ({ store, carrier, number, messages, start }) => {
      const good = carrier("good");
      const [fast, slow] = [await number("good"), await number("good", { segmentsPerSecond: 10 })];
      const quick = await messages(fast, 150);
      const paced = await messages(slow, 10);
      const began = Date.now();
      await start(good);
      await eventually(() => expect(good.taken).toHaveLength(160), 5_000);
      expect(Date.now() - began).toBeGreaterThan(850);
      const from = ({ phoneNumber }: PhoneNumber) => good.submits.filter((submit) => submit.from === phoneNumber);
      expect(from(fast).map(({ messageId }) => messageId)).toEqual(idsOf(quick));
      expect(from(slow).map(({ messageId }) => messageId)).toEqual(idsOf(paced));
      await eventually(async () => expect(await statusesOf(store, paced)).toEqual(all(paced, "sent")), 2_000);
    }));

  it("takes up what is accepted while it runs, when it is told of it", () =>
    inHouse({}, async ({ carrier, number, messages, start }) => {
      const good = carrier("good");
      const one = await number("good");
      const dispatcher = await start(good);
      for (let sent = 1; sent <= 3; sent += 1) {
        await messages(one, 1);
        dispatcher.wake([one.id]);
        await eventually(() => expect(good.taken).toHaveLength(sent), 500);
      }
    }));

  it("slows a carrier down that throttles, and sends everything once in the end", () =>
    inHouse({}, async ({ store, carrier, number, messages, start, clock }) => {
      let tokens = 4;
      let asOf = NOON;
      const busy = carrier("busy", ({ at }) => {
        tokens = Math.min(4, tokens + ((at - asOf) * 40) / SECOND);
        asOf = at;
        if (tokens < 1) return THROTTLED;
        tokens -= 1;
        return undefined;
      });
      const stored = [...(await messages(await number("busy"), 40)), ...(await messages(await number("busy"), 40))];
      await start(busy);
      await eventually(() => expect(busy.taken).toHaveLength(80), 12_000);
      expect(new Set(busy.taken)).toEqual(new Set(idsOf(stored)));
      expect(busy.submits.length).toBeLessThan(4 * stored.length);
      await eventually(async () => expect(await statusesOf(store, stored)).toEqual(all(stored, "sent")), 2_000);
      const seconds = Math.ceil((clock() - NOON) / SECOND);
      const perSecond = Array.from(
        { length: seconds },
        (_, second) => busy.submits.filter(({ at }) => Math.floor((at - NOON) / SECOND) === second).length,
      );
      // What comes after the first second is given at the slower rate, and not all at once again.
      expect(Math.max(...perSecond.slice(2))).toBeLessThan(Math.max(...perSecond));
    }));

  it("pauses a carrier that is down, probes it with one message, and sends everything once when it is back", () =>
    inHouse({}, async ({ store, carrier, number, messages, start }) => {
      const back = NOON + 2_500;
      const flaky = carrier("flaky", ({ at }) => (at < back ? AWAY : undefined));
      const stored = [...(await messages(await number("flaky"), 15)), ...(await messages(await number("flaky"), 15))];
      await start(flaky);
      await eventually(() => expect(flaky.taken).toHaveLength(30), 8_000);
      expect(new Set(flaky.taken)).toEqual(new Set(idsOf(stored)));
      const failed = flaky.submits.filter(({ at }) => at < back);
      const first = failed.filter(({ at }) => at < NOON + 700);
      // A pause of a second, at most a quarter more by jitter, then one of two.
      expect(failed.length - first.length).toBe(1);
      const probe = failed.at(-1)?.at ?? 0;
      const recovery = flaky.submits.find(({ at }) => at >= back)?.at ?? 0;
      expect(probe - (first[0]?.at ?? 0)).toBeGreaterThanOrEqual(990);
      expect(recovery - probe).toBeGreaterThanOrEqual(1_990);
      expect(recovery - probe).toBeLessThan(2_900);
      await eventually(async () => expect(await statusesOf(store, stored)).toEqual(all(stored, "sent")), 2_000);
    }));

  it("does not delay a carrier because another is down, however many numbers that one has", () =>
    inHouse({}, async ({ store, profile, carrier, number, messages, start, clock }) => {
      const [away, good] = [carrier("away", () => AWAY), carrier("good")];
      const many = Array.from({ length: 250 }, () => aNumber(profile, { carrier: "away" }));
      await store.insertNumbers(many);
      await write(store, { messages: many.map((each) => aMessage(each)) });
      await messages(await number("good"), 50);
      const began = clock();
      await start(away, good);
      await eventually(() => expect(good.taken).toHaveLength(50), 3_000);
      expect((good.submits.at(-1)?.at ?? 0) - began).toBeLessThan(1_500);
    }));

  it("finds queues that it was not woken for", () =>
    inHouse({}, async ({ carrier, number, messages, start }) => {
      const good = carrier("good");
      await start(good);
      await messages(await number("good"), 5);
      await eventually(() => expect(good.taken).toHaveLength(5), 6_500);
    }));

  it("never sends again what a carrier did not answer, and says so", () =>
    inHouse({ submitTimeoutMs: 200 }, async ({ store, carrier, number, messages, start }) => {
      const silent = carrier("silent", () => "never");
      const stored = await messages(await number("silent"), 4);
      await start(silent);
      const ended = all(stored, "delivery_unconfirmed");
      await eventually(async () => expect(await statusesOf(store, stored)).toEqual(ended), 3_000);
      await sleep(1_500);
      expect(silent.submits.map(({ messageId }) => messageId).toSorted()).toEqual(idsOf(stored).toSorted());
      expect(await statusesOf(store, stored)).toEqual(ended);
    }));

  it("loses no more than ten messages and a probe to a carrier that takes and never answers, a second at a time", () =>
    inHouse({ submitTimeoutMs: 100 }, async ({ store, carrier, number, messages, start }) => {
      const silent = carrier("silent", () => "never");
      const slow = await number("silent", { segmentsPerSecond: 50 });
      const stored = await messages(slow, 60);
      await start(silent);
      await sleep(2_500);
      // Ten in a row are known to be silent 100 ms after they left, and five more leave meanwhile; then one probe.
      expect(silent.submits.length).toBeLessThan(25);
      const statuses = await statusesOf(store, stored);
      expect(statuses.filter((status) => status === "queued").length).toBeGreaterThan(35);
    }));

  it("messages of a carrier that is not configured wait, without a claim for each", () =>
    inHouse({}, async ({ store, carrier, number, messages, start, stop }) => {
      const stored = await messages(await number("nowhere"), 20);
      await start(carrier("good"));
      await sleep(2_600);
      expect(await statusesOf(store, stored)).toEqual(all(stored, "queued"));
      await stop();
      const submits = (await store.listMessages(stored[0]?.organizationId ?? "", { after: undefined, limit: 50 })).rows;
      const nowhere = carrier("nowhere");
      await start(nowhere);
      await eventually(() => expect(nowhere.taken).toHaveLength(20), 4_000);
      expect(new Set(nowhere.taken)).toEqual(new Set(idsOf(stored)));
      // All at first, then one probe after a second.
      expect(submits.reduce((sum, message) => sum + message.submits, 0)).toBeLessThanOrEqual(20 + 3);
    }));

  it("retries a deferred message after a second, then two, and lets others pass", () =>
    inHouse({}, async ({ store, carrier, number, messages, start }) => {
      const one = await number("picky");
      const [first] = await messages(one, 1);
      const others = await messages(one, 5);
      const picky = carrier("picky", ({ messageId, nth }) => (messageId === first?.id && nth < 3 ? BUSY : undefined));
      await start(picky);
      await eventually(() => expect(picky.taken).toHaveLength(6), 6_000);
      expect(picky.taken).toEqual([...idsOf(others), first?.id]);
      const [begun, second, third] = picky.submits
        .filter(({ messageId }) => messageId === first?.id)
        .map(({ at }) => at);
      for (const [pause, least] of [
        [(second ?? 0) - (begun ?? 0), 1_000],
        [(third ?? 0) - (second ?? 0), 2_000],
      ] as const) {
        expect(pause).toBeGreaterThanOrEqual(least - 10);
        expect(pause).toBeLessThan(least * 1.25 + 300);
      }
      expect((await store.getMessage(one.organizationId, first?.id ?? ""))?.submits).toBe(3);
    }));

  it("waits for as long as a carrier asks", () =>
    inHouse({}, async ({ carrier, number, messages, start }) => {
      const patient = carrier("patient", ({ nth }) =>
        nth === 1 ? { kind: "deferred", carrierCode: "", retryAfterMs: 1_700 } : undefined,
      );
      await messages(await number("patient"), 1);
      await start(patient);
      await eventually(() => expect(patient.taken).toHaveLength(1), 4_000);
      const [first, second] = patient.submits.map(({ at }) => at);
      expect((second ?? 0) - (first ?? 0)).toBeGreaterThanOrEqual(1_690);
      expect((second ?? 0) - (first ?? 0)).toBeLessThan(2_100);
    }));

  it("a message deferred past its valid_until expires then, and not with the pause after it", () =>
    inHouse({}, async ({ store, carrier, number, start }) => {
      const picky = carrier("picky", () => BUSY);
      const validUntil = NOON + 4_000;
      const message = await storeMessage(store, await number("picky"), { validUntil });
      await start(picky);
      await sleep(validUntil + 700 - NOON);
      // After about 1.1 s and 3.4 s; the next pause would be over at 7.9 s.
      expect(picky.submits.length).toBe(3);
      expect(await store.getMessage(message.organizationId, message.id)).toMatchObject({ status: "expired" });
    }));

  it("a refusal for good is not tried again", () =>
    inHouse({}, async ({ store, carrier, number, messages, start }) => {
      const error = { reason: ErrorReason.UNDELIVERABLE, detail: "no" };
      const strict = carrier("strict", () => ({ kind: "refused", error, carrierCode: "no" }));
      const stored = await messages(await number("strict"), 2);
      await start(strict);
      await eventually(
        async () => expect(await statusesOf(store, stored)).toEqual(all(stored, "sending_failed")),
        2_000,
      );
      await sleep(1_400);
      expect(strict.submits).toHaveLength(2);
    }));

  it("a paused number's messages wait, and leave as soon as it is active; a draining one's leave", () =>
    inHouse({}, async ({ store, carrier, number, messages, start }) => {
      const good = carrier("good");
      const [paused, draining] = [
        await number("good", { state: "paused" }),
        await number("good", { state: "draining" }),
      ];
      const waiting = await messages(paused, 3);
      await messages(draining, 2);
      await start(good);
      await eventually(() => expect(good.taken).toHaveLength(2), 1_000);
      await sleep(500);
      expect(await statusesOf(store, waiting)).toEqual(all(waiting, "queued"));
      expect(good.submits.every(({ from }) => from === draining.phoneNumber)).toBe(true);
      await store.updateNumber(paused.organizationId, paused.id, (current) => ({ ...current, state: "active" }));
      await eventually(() => expect(good.taken).toHaveLength(5), 500);
    }));

  it("a paused number's messages expire when their time runs out", () =>
    inHouse({}, async ({ store, carrier, number, start }) => {
      const paused = await number("good", { state: "paused" });
      const message = await storeMessage(store, paused, { validUntil: NOON + 1_000 });
      await start(carrier("good"));
      await sleep(500);
      expect(await statusesOf(store, [message])).toEqual(["queued"]);
      await eventually(async () => expect(await statusesOf(store, [message])).toEqual(["expired"]), 1_500);
    }));

  it("no message of a removed number leaves, not even a deferred one", () =>
    inHouse({}, async ({ store, carrier, number, messages, start }) => {
      const picky = carrier("picky", () => BUSY);
      const one = await number("picky", { segmentsPerSecond: 5 });
      const stored = await messages(one, 5);
      await start(picky);
      await eventually(() => expect(picky.submits.length).toBeGreaterThan(0), 1_000);
      await store.removeNumber(one.organizationId, one.id);
      await sleep(100);
      const before = picky.submits.length;
      await eventually(
        async () => expect(await statusesOf(store, stored)).toEqual(all(stored, "sending_failed")),
        1_000,
      );
      await sleep(1_500);
      expect(picky.submits.length).toBe(before);
    }));

  it("a number that moves to another carrier sends its queue through that one", () =>
    inHouse({}, async ({ store, carrier, number, messages, start }) => {
      const [old, fresh] = [carrier("old", () => AWAY), carrier("new")];
      const one = await number("old");
      const stored = await messages(one, 10);
      await start(old, fresh);
      await eventually(() => expect(old.submits.length).toBeGreaterThan(0), 1_000);
      await sleep(100);
      await store.updateNumber(one.organizationId, one.id, (current) => ({ ...current, carrier: "new" }));
      const before = old.submits.length;
      await eventually(() => expect(fresh.taken).toHaveLength(10), 2_500);
      expect(new Set(fresh.taken)).toEqual(new Set(idsOf(stored)));
      expect(old.submits.length).toBe(before);
      await eventually(async () => expect(await statusesOf(store, stored)).toEqual(all(stored, "sent")), 1_000);
      expect(await store.getMessage(one.organizationId, stored[0]?.id ?? "")).toMatchObject({ carrier: "new" });
    }));

  it("an answer that comes after the submit was given up is booked, and its receipt settles the message", () =>
    inHouse({ submitTimeoutMs: 100 }, async ({ store, clock, carrier, number, messages, start }) => {
      let answer = (_: undefined) => {};
      const late = carrier("late", () => new Promise<undefined>((resolve) => (answer = resolve)));
      const [message] = await messages(await number("late"), 1);
      await start(late);
      const isNow = (status: string) => async () =>
        expect(await statusesOf(store, [message as Message])).toEqual([status]);
      await eventually(isNow("delivery_unconfirmed"), 3 * SECOND);
      const target = { carrier: "late", carrierMessageId: "late-1" };
      const receipt = { kind: "failed", at: clock(), error: BLOCKED_AS_SPAM, carrierCode: "1" } as const;
      expect(await store.applyReports([{ target, report: receipt }])).toMatchObject([{ messageId: undefined }]);
      answer(undefined);
      await eventually(isNow("delivery_failed"), 3 * SECOND);
      const [, unconfirmed, accepted, failed] = await eventsOf(store, message as Message);
      expect(unconfirmed).toMatchObject({ kind: "submit_unconfirmed", status: "delivery_unconfirmed" });
      expect(accepted).toMatchObject({ kind: "accepted", status: "delivery_unconfirmed", carrierMessageId: "late-1" });
      expect(failed).toMatchObject({ kind: "failed", status: "delivery_failed", carrierMessageId: "late-1" });
      const [stored] = (await store.listNumbers(message?.organizationId ?? "", { offset: 0, limit: 1 })).rows;
      expect(stored?.health).toMatchObject({ failed: 1, spam: 1 });
      expect(late.submits).toHaveLength(1);
    }));

  const LATE: readonly [string, SubmitAnswer, string, ErrorReason][] = [
    [
      "a refusal",
      { kind: "refused", error: BLOCKED_AS_SPAM, carrierCode: "9" },
      "9",
      ErrorReason.BLOCKED_AS_SPAM_TEMPORARY,
    ],
    ["a deferral", BUSY, "busy", ErrorReason.RECIPIENT_SERVER_UNAVAILABLE],
    ["throttling", THROTTLED, "busy", ErrorReason.RECIPIENT_SERVER_UNAVAILABLE],
    ["a lost connection", AWAY, "away", ErrorReason.RECIPIENT_SERVER_UNAVAILABLE],
  ];

  it.each(LATE)("%s that comes late ends the message as failed, and nothing is sent again", (_, given, code, reason) =>
    inHouse({ submitTimeoutMs: 100 }, async ({ store, carrier, number, messages, start }) => {
      let answer = (_: SubmitAnswer) => {};
      const late = carrier("late", () => new Promise<SubmitAnswer>((resolve) => (answer = resolve)));
      const one = await number("late");
      const [message] = await messages(one, 1);
      await start(late);
      const isNow = (status: string) => async () =>
        expect(await statusesOf(store, [message as Message])).toEqual([status]);
      await eventually(isNow("delivery_unconfirmed"), 3 * SECOND);
      answer(given);
      await eventually(isNow("sending_failed"), 3 * SECOND);
      expect((await eventsOf(store, message as Message)).at(-1)).toMatchObject({
        status: "sending_failed",
        carrierCode: code,
        error: { reason },
      });
      // The carrier is not slowed down for what it said of a submit that was over.
      const next = await messages(one, 3);
      late.submits.length = 0;
      await eventually(() => expect(late.submits.map(({ messageId }) => messageId)).toEqual(idsOf(next)), 7 * SECOND);
    }),
  );

  it("a carrier that is down stays so, whatever it answers late", () =>
    inHouse({ submitTimeoutMs: 100 }, async ({ store, carrier, number, messages, start }) => {
      const answers: ((_: undefined) => void)[] = [];
      const late = carrier("late", () => new Promise<undefined>((resolve) => answers.push(resolve)));
      const one = await number("late");
      const silent = await messages(one, 10);
      const dispatcher = await start(late);
      const isUnconfirmed = all(silent, "delivery_unconfirmed");
      await eventually(async () => expect(await statusesOf(store, silent)).toEqual(isUnconfirmed), 3 * SECOND);
      const [waiting] = await messages(one, 1);
      dispatcher.wake([one.id]);
      for (const answer of answers.splice(0)) answer(undefined);
      await eventually(async () => {
        const rows = await Promise.all(silent.map((message) => eventsOf(store, message)));
        expect(rows.map((events) => events.at(-1)?.kind)).toEqual(all(silent, "accepted"));
      }, 900);
      expect(await statusesOf(store, [waiting as Message])).toEqual(["queued"]);
      expect(late.submits).toHaveLength(10);
      await eventually(() => expect(late.submits).toHaveLength(11), 3 * SECOND);
    }));

  it("does not wait for late answers when it stops", () =>
    inHouse({ submitTimeoutMs: 100 }, async ({ store, carrier, number, messages, start }) => {
      const silent = carrier("silent", () => "never");
      const stored = await messages(await number("silent"), 5);
      const dispatcher = await start(silent);
      const isUnconfirmed = all(stored, "delivery_unconfirmed");
      await eventually(async () => expect(await statusesOf(store, stored)).toEqual(isUnconfirmed), 3 * SECOND);
      const began = performance.now();
      await dispatcher.stop(10 * SECOND);
      expect(performance.now() - began).toBeLessThan(5 * SECOND);
    }));

  it("stops when what it handed over is answered and written, and claims nothing more", () =>
    inHouse({}, async ({ store, carrier, number, messages, start, stop }) => {
      const good = carrier("good");
      const stored = await messages(await number("good", { segmentsPerSecond: 50 }), 30);
      await start(good);
      await eventually(() => expect(good.taken.length).toBeGreaterThan(4), 1_000);
      await stop();
      const taken = good.taken.length;
      const statuses = await statusesOf(store, stored);
      expect(statuses.filter((status) => status === "sent")).toHaveLength(taken);
      expect(statuses.filter((status) => status === "queued")).toHaveLength(30 - taken);
      await sleep(300);
      expect(good.taken).toHaveLength(taken);
    }));
});
