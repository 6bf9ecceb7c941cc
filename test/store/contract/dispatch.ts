import fc from "fast-check";
import { expect, it } from "vitest";
import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import type { AppliedReport } from "../../../src/domain/carrier-report.ts";
import { addOutcome, HALF_LIFE_MS, type HealthCounts, NO_EVIDENCE } from "../../../src/domain/health.ts";
import { apply, type Progress, type Report } from "../../../src/domain/lifecycle.ts";
import type { Message, QueuedMessage } from "../../../src/domain/message.ts";
import { release } from "../../../src/domain/pace.ts";
import {
  aProfile,
  BLOCKED_AS_SPAM,
  claimOne,
  eventsOf,
  expectHealth,
  FAILED_BY_SENDER,
  HOUR,
  idsOf,
  NO_BUDGETS,
  NOON,
  newId,
  report,
  SECOND,
  settleOthers,
  storeMessage,
  storeMessages,
  storeNumber,
  storeProfile,
} from "./records.ts";
import type { Subject } from "./subject.ts";

const UNKNOWN: AppliedReport = {
  messageId: undefined,
  messagingProfileId: undefined,
  phoneNumberId: undefined,
  status: undefined,
  health: undefined,
  reported: 0,
  queuedSegments: 0,
  followed: [],
};

/** Queues, claims and reports of carriers. */
export function dispatch(subject: Subject): void {
  queues(subject);
  claims(subject);
  traffic(subject);
  reports(subject);
  settling(subject);
}

function queues(subject: Subject): void {
  it("lists the numbers that have queued messages, and when each is due", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const foreign = await storeProfile(store);
    const idle = await storeNumber(store, profile);
    const fresh = await storeNumber(store, profile);
    const paced = await storeNumber(store, foreign, { segmentsPerSecond: 0.5 });
    const finished = await storeNumber(store, profile);
    await storeMessages(store, fresh, {}, {});
    await storeMessages(store, paced, {}, {}, {});
    await storeMessage(store, finished, { status: "delivered", completedAt: NOON });
    const { dueAt } = await claimOne(store, paced, NOON);
    const listed = await store.listQueues(10);
    expect(listed).toHaveLength(2);
    expect(listed).toEqual(
      expect.arrayContaining([
        { phoneNumberId: fresh.id, dueAt: 0 },
        { phoneNumberId: paced.id, dueAt },
      ]),
    );
    expect(listed.map(({ phoneNumberId }) => phoneNumberId)).not.toContain(idle.id);
  });

  it("lists at most the limit, and each number once", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const ids = new Set<string>();
    for (let made = 0; made < 5; made += 1) {
      const number = await storeNumber(store, profile);
      await storeMessages(store, number, {}, {}, {});
      ids.add(number.id);
    }
    const some = await store.listQueues(3);
    expect(some).toHaveLength(3);
    expect(new Set(some.map(({ phoneNumberId }) => phoneNumberId)).size).toBe(3);
    const all = await store.listQueues(100);
    expect(all).toHaveLength(5);
    expect(new Set(all.map(({ phoneNumberId }) => phoneNumberId))).toEqual(ids);
  });

  it("measures the queues of all numbers, and names the message that was accepted first", async () => {
    const { store } = subject();
    expect(await store.measureQueue()).toEqual({ messages: 0, oldestId: undefined });
    const [one, two] = [
      await storeNumber(store, await storeProfile(store)),
      await storeNumber(store, await storeProfile(store)),
    ];
    await storeMessage(store, one, { status: "delivered", completedAt: NOON });
    const [first] = await storeMessages(store, two, { parts: 3 }, {});
    const second = await storeMessage(store, one);
    expect(await store.measureQueue()).toEqual({ messages: 3, oldestId: first?.id });
    await claimOne(store, two, NOON);
    expect(await store.measureQueue()).toMatchObject({ messages: 2 });
    await claimOne(store, two, NOON + 3 * SECOND);
    expect(await store.measureQueue()).toEqual({ messages: 1, oldestId: second.id });
  });

  it("a new store has no queues, and an emptied queue is not listed", async () => {
    const { store } = subject();
    expect(await store.listQueues(10)).toEqual([]);
    const number = await storeNumber(store, await storeProfile(store));
    await storeMessage(store, number);
    await claimOne(store, number, NOON);
    expect(await store.listQueues(10)).toEqual([]);
  });
}

function claims(subject: Subject): void {
  it("claims the oldest first, one for each interval of the pace, and gives when the next is due", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store), { segmentsPerSecond: 1 });
    const messages = await storeMessages(store, number, {}, { parts: 2 }, {});
    const first = await claimOne(store, number, NOON);
    expect([idsOf(first.messages), first.dueAt]).toEqual([[messages[0]?.id], NOON + 980]);
    const second = await claimOne(store, number, NOON + 980);
    expect([idsOf(second.messages), second.dueAt]).toEqual([[messages[1]?.id], NOON + 2_980]);
    const third = await claimOne(store, number, NOON + 2_980);
    expect([idsOf(third.messages), third.dueAt]).toEqual([[messages[2]?.id], undefined]);
    const nothing = await claimOne(store, number, NOON + HOUR);
    expect([idsOf(nothing.messages), nothing.dueAt]).toEqual([[], undefined]);
  });

  it("gives nothing before a number is due, and gives when it is due", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    const messages = await storeMessages(store, number, {}, {});
    await claimOne(store, number, NOON);
    for (const now of [NOON, NOON + 979]) {
      const early = await claimOne(store, number, now);
      expect([early.messages, early.dueAt]).toEqual([[], NOON + 980]);
    }
    expect(idsOf((await claimOne(store, number, NOON + 980)).messages)).toEqual([messages[1]?.id]);
  });

  it("the pace continues over a queue that was empty meanwhile", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    await storeMessage(store, number, { parts: 3 });
    expect((await claimOne(store, number, NOON)).dueAt).toBeUndefined();
    const next = await storeMessage(store, number);
    expect(await claimOne(store, number, NOON + SECOND)).toMatchObject({ messages: [], dueAt: NOON + 2_980 });
    expect(idsOf((await claimOne(store, number, NOON + 2_980)).messages)).toEqual([next.id]);
  });

  it("claims exactly what the pace allows, at any rate and at any times", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const rate = fc.oneof(fc.double({ min: 0.01, max: 10_000, noNaN: true }), fc.constantFrom(0.5, 1, 3, 50, 1_000));
    const parts = fc.array(fc.integer({ min: 1, max: 10 }), { minLength: 1, maxLength: 60 });
    const waits = fc.array(fc.oneof(fc.nat(50), fc.nat(20_000)), { maxLength: 15 });
    await fc.assert(
      fc.asyncProperty(rate, parts, waits, async (segmentsPerSecond, sizes, pauses) => {
        const number = await storeNumber(store, profile, { segmentsPerSecond });
        const queue = await storeMessages(store, number, ...sizes.map((size) => ({ parts: size })));
        let due = 0;
        let now = NOON;
        for (const pause of [0, ...pauses]) {
          now += pause;
          const claim = await claimOne(store, number, now);
          const sizesLeft = queue.map((message) => message.parts);
          const released = due > now ? { count: 0, dueAt: due } : release(sizesLeft, due, now, segmentsPerSecond);
          expect(idsOf(claim.messages)).toEqual(idsOf(queue.splice(0, released.count)));
          if (released.count > 0) due = released.dueAt;
          const traffic = (await store.loadPoolNumber(number.id))?.traffic;
          expect(traffic?.dueAt).toBeCloseTo(due, 3);
          expect(claim.freeAt).toBeCloseTo(due, 3);
          if (queue.length > 0) expect(claim.dueAt).toBeCloseTo(due, 3);
          else if (due <= now || released.count > 0) expect(claim.dueAt).toBeUndefined();
        }
        expect((await store.loadPoolNumber(number.id))?.traffic.queuedSegments).toBe(
          queue.reduce((sum, message) => sum + message.parts, 0),
        );
      }),
      // Rates at which a claim takes its maximum and leaves messages.
      {
        numRuns: 40,
        examples: [
          [50, [1, 1, 1], [40]],
          [1_000, Array(30).fill(1), [5, 30]],
        ],
      },
    );
  });

  it("gives whole messages, as they were accepted, and marks them as sending", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    const message = await storeMessage(store, number, { text: "Grüße 👋", encoding: "UCS-2", numChars: 7 });
    const [claimed] = (await claimOne(store, number, NOON)).messages;
    expect({ ...claimed, status: "queued" }).toEqual({ ...message, submits: 1 });
    expect(await store.getMessage(message.organizationId, message.id)).toEqual({
      ...message,
      status: "sending",
      submits: 1,
    });
  });

  it("claims several numbers at once, each at its own pace", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const slow = await storeNumber(store, profile, { segmentsPerSecond: 1 });
    const fast = await storeNumber(store, profile, { segmentsPerSecond: 100 });
    const empty = await storeNumber(store, profile);
    const slowMessages = await storeMessages(store, slow, {}, {});
    const fastMessages = await storeMessages(store, fast, {}, {}, {}, {});
    const phoneNumberIds = [fast.id, newId(), empty.id, slow.id];
    const claimed = await store.claim({ now: NOON, owner: "process-1", phoneNumberIds, budgets: NO_BUDGETS });
    const of = (id: string) => idsOf(claimed.find(({ phoneNumberId }) => phoneNumberId === id)?.messages ?? []);
    expect(of(slow.id)).toEqual(idsOf(slowMessages.slice(0, 1)));
    expect(of(fast.id)).toEqual(idsOf(fastMessages.slice(0, 3)));
    expect(of(empty.id)).toEqual([]);
    expect(claimed.flatMap(({ messages }) => messages)).toHaveLength(4);
  });

  it("a paused number's messages wait, and leave when it is active again; a draining one's leave", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const number = await storeNumber(store, profile, { state: "paused" });
    const draining = await storeNumber(store, profile, { state: "draining" });
    const message = await storeMessage(store, number);
    const other = await storeMessage(store, draining);
    const nothing = { messages: [], expired: [], dueAt: message.validUntil, freeAt: Number.POSITIVE_INFINITY };
    expect(await claimOne(store, number, NOON)).toMatchObject(nothing);
    expect(await store.getMessage(message.organizationId, message.id)).toEqual(message);
    expect(idsOf((await claimOne(store, draining, NOON)).messages)).toEqual([other.id]);
    await store.updateNumber(profile.organizationId, number.id, (current) => ({ ...current, state: "active" }));
    expect(idsOf((await claimOne(store, number, NOON)).messages)).toEqual([message.id]);
  });

  it("a paused number's messages expire like any others", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store), { state: "paused" });
    const message = await storeMessage(store, number);
    const late = await claimOne(store, number, message.validUntil);
    expect(late).toMatchObject({ messages: [], expired: [{ messageId: message.id, status: "expired" }] });
    expect((await store.getMessage(message.organizationId, message.id))?.status).toBe("expired");
    expect((await claimOne(store, number, message.validUntil)).dueAt).toBeUndefined();
  });

  it("a message that its carrier deferred waits until its next submit, and others overtake it", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    const [first, second, third] = await storeMessages(store, number, {}, {}, {});
    await claimOne(store, number, NOON);
    const retryAt = NOON + 10 * SECOND;
    if (first !== undefined) await report(store, first, { kind: "deferred", at: NOON, carrierCode: "088", retryAt });
    expect(await store.getMessage(number.organizationId, first?.id ?? "")).toEqual({ ...first, submits: 1 });

    const next = await claimOne(store, number, NOON + SECOND);
    expect([idsOf(next.messages), next.dueAt]).toEqual([[second?.id], NOON + 1_980]);
    const last = await claimOne(store, number, NOON + 2 * SECOND);
    expect([idsOf(last.messages), last.dueAt]).toEqual([[third?.id], retryAt]);
    const early = await claimOne(store, number, retryAt - 1);
    expect([early.messages, early.dueAt]).toEqual([[], retryAt]);
    const again = await claimOne(store, number, retryAt);
    expect([idsOf(again.messages), again.dueAt]).toEqual([[first?.id], undefined]);
  });

  it("a deferred message is not submitted before the pace allows it", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store), { segmentsPerSecond: 0.1 });
    const [first, second] = await storeMessages(store, number, {}, {});
    await claimOne(store, number, NOON);
    const retryAt = NOON + 10 * SECOND;
    if (first !== undefined) await report(store, first, { kind: "deferred", at: NOON, carrierCode: "088", retryAt });
    const next = await claimOne(store, number, NOON + 9_980);
    expect([idsOf(next.messages), next.dueAt]).toEqual([[second?.id], NOON + 19_980]);
    expect(await claimOne(store, number, retryAt)).toMatchObject({ messages: [], dueAt: NOON + 19_980 });
    expect(idsOf((await claimOne(store, number, NOON + 19_980)).messages)).toEqual([first?.id]);
  });

  it("an expired message ends at the claim, and costs no pace", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    const [late, timely] = await storeMessages(store, number, { validUntil: NOON }, { validUntil: NOON + 1 });
    const claim = await claimOne(store, number, NOON);
    expect(idsOf(claim.messages)).toEqual([timely?.id]);
    const { messagingProfileId, phoneNumberId } = late ?? {};
    const sender = { messagingProfileId, phoneNumberId };
    expect(claim.expired).toEqual([
      { ...UNKNOWN, messageId: late?.id, ...sender, status: "expired", reported: 1, queuedSegments: -1 },
    ]);
    expect(claim.freeAt).toBe(NOON + 980);
    expect((await claimOne(store, number, NOON + SECOND)).expired).toEqual([]);
    expect(await store.getMessage(number.organizationId, late?.id ?? "")).toEqual({
      ...late,
      status: "expired",
      completedAt: NOON,
      error: { reason: ErrorReason.EXPIRED_IN_QUEUE, detail: expect.stringMatching(/\S/) },
    });
    expect(await store.listQueues(10)).toEqual([]);
  });

  it("expired messages, however many, do not keep a number from its valid messages", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store), { segmentsPerSecond: 3 });
    const late = await storeMessages(store, number, ...Array.from({ length: 50 }, () => ({ validUntil: NOON })));
    const timely = await storeMessage(store, number);
    const got: string[] = [];
    const expired: (string | undefined)[] = [];
    for (let asked = 0; asked < 60 && got.length === 0; asked += 1) {
      const claim = await claimOne(store, number, NOON);
      got.push(...idsOf(claim.messages));
      expired.push(...claim.expired.map(({ messageId }) => messageId));
      // A claim that finds an empty queue gives no next claim.
      if (got.length === 0) expect(claim.dueAt).toBeLessThanOrEqual(NOON);
    }
    expect(got).toEqual([timely.id]);
    expect(expired).toEqual(idsOf(late));
  });

  it("writes an event for each expired message", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    const message = await storeMessage(store, number, { validUntil: NOON });
    await claimOne(store, number, NOON + 5);
    expect(await eventsOf(store, message)).toMatchObject([
      { kind: "expired", status: "expired", at: NOON + 5, error: { reason: ErrorReason.EXPIRED_IN_QUEUE } },
    ]);
  });

  it("claims only queued messages", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store), { segmentsPerSecond: 1_000 });
    const statuses = ["sent", "delivered", "cancelled", "expired", "sending_failed", "sending"] as const;
    for (const status of statuses) await storeMessage(store, number, { status });
    const queued = await storeMessage(store, number);
    expect(idsOf((await claimOne(store, number, NOON)).messages)).toEqual([queued.id]);
  });

  it("two owners never claim the same message", async ({ skip }) => {
    const { store, another } = subject();
    if (another === undefined) return skip("this store cannot be opened twice");
    const stores = [store, await another()] as const;
    const profile = await storeProfile(store);
    const numbers = [
      await storeNumber(store, profile, { segmentsPerSecond: 10_000 }),
      await storeNumber(store, profile, { segmentsPerSecond: 100 }),
    ];
    const accepted: string[] = [];
    for (const number of numbers) {
      accepted.push(...idsOf(await storeMessages(store, number, ...Array.from({ length: 60 }, () => ({})))));
    }
    const phoneNumberIds = numbers.map(({ id }) => id);
    const got: string[][] = [[], []];
    for (let now = NOON; now < NOON + SECOND; now += 10) {
      const claiming = stores.map(async (each, index) => {
        const claimed = await each.claim({ now, owner: `process-${index}`, phoneNumberIds, budgets: NO_BUDGETS });
        got[index]?.push(...claimed.flatMap(({ messages }) => idsOf(messages)));
      });
      await Promise.all(claiming);
    }
    expect(got.flat().toSorted()).toEqual(accepted.toSorted());
    // Each owner reports its own messages.
    expect(await settleOthers(store, "process-0", NOON + HOUR)).toBe(got[1]?.length);
    expect(await settleOthers(store, "process-2", NOON + 2 * HOUR)).toBe(got[0]?.length);
  });
}

function traffic(subject: Subject): void {
  it("counts the recent messages of each number of a profile, and half of them a day later", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const { organizationId } = profile;
    const other = aProfile(organizationId);
    await store.insertProfile(other);
    const number = await storeNumber(store, profile, { segmentsPerSecond: 100 });
    const idle = await storeNumber(store, profile);
    const elsewhere = await storeNumber(store, other);
    await storeMessage(store, idle);
    await storeMessage(store, elsewhere);
    await claimOne(store, elsewhere, NOON);
    await storeMessages(store, number, {}, { parts: 2 }, {}, {});
    expect(await store.listTraffic(organizationId, profile.id, NOON)).toEqual(new Map());

    expect((await claimOne(store, number, NOON)).messages).toHaveLength(2);
    const count = async (now: number) => [...(await store.listTraffic(organizationId, profile.id, now))];
    expect(await count(NOON)).toEqual([[number.id, expect.closeTo(2, 9)]]);
    expect(await count(NOON + HALF_LIFE_MS)).toEqual([[number.id, expect.closeTo(1, 9)]]);
    expect((await claimOne(store, number, NOON + HALF_LIFE_MS)).messages).toEqual([]);
    expect(await count(NOON + HALF_LIFE_MS)).toEqual([[number.id, expect.closeTo(1, 9)]]);
    await storeMessages(
      store,
      number,
      { validUntil: NOON + 2 * HALF_LIFE_MS },
      { validUntil: NOON + 2 * HALF_LIFE_MS },
    );
    expect((await claimOne(store, number, NOON + HALF_LIFE_MS)).messages).toHaveLength(2);
    expect(await count(NOON + HALF_LIFE_MS)).toEqual([[number.id, expect.closeTo(3, 9)]]);
    expect(await count(NOON + 2 * HALF_LIFE_MS)).toEqual([[number.id, expect.closeTo(1.5, 9)]]);
  });
}

function reports(subject: Subject): void {
  const accepted = (carrierMessageId: string, at = NOON): Report => ({ kind: "accepted", at, carrierMessageId });
  const delivered = (at = NOON + SECOND): Report => ({ kind: "delivered", at });
  const failed = (at = NOON + SECOND): Report => ({ kind: "failed", at, error: FAILED_BY_SENDER, carrierCode: "011" });

  const sending = async (): Promise<QueuedMessage> => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    return storeMessage(store, number, { status: "sending" });
  };
  const stored = (message: Message) => subject().store.getMessage(message.organizationId, message.id);
  const healthOf = async (message: QueuedMessage) =>
    (await subject().store.getNumber(message.organizationId, message.phoneNumberId))?.health;

  it("a report by the message's own id changes its status and the sender's health", async () => {
    const message = await sending();
    const { messagingProfileId, phoneNumberId } = message;
    const [took, arrived] = await report(subject().store, message, accepted("c-1"), delivered());
    const named = { messageId: message.id, messagingProfileId, phoneNumberId };
    expect(took).toEqual({ ...UNKNOWN, ...named, status: "sent" });
    expect(arrived).toMatchObject({ ...named, status: "delivered", reported: 1 });
    const health = { ...NO_EVIDENCE, delivered: 1, asOf: NOON + SECOND };
    expectHealth(arrived?.health, health);
    expectHealth(await healthOf(message), health);
    const progress = { status: "delivered", sentAt: NOON, completedAt: NOON + SECOND };
    expect(await stored(message)).toEqual({ ...message, ...progress });
  });

  it("a receipt finds its message by the carrier and the carrier's id", async () => {
    const { store } = subject();
    const [message, other] = [await sending(), await sending()];
    await report(store, message, accepted("c-7"));
    await report(store, other, accepted("c-8"));
    const about = (carrier: string, carrierMessageId: string) => ({
      target: { carrier, carrierMessageId },
      report: delivered(),
    });
    const asked = [about("elsewhere", "c-7"), about("sandbox", "c-7"), about("sandbox", "c-9")];
    const applied = await store.applyReports(asked);
    expect(applied.map(({ messageId }) => messageId)).toEqual([undefined, message.id, undefined]);
    expect((await stored(message))?.status).toBe("delivered");
    expect((await stored(other))?.status).toBe("sent");
  });

  it("a report without a message has no effect, and says so", async () => {
    const { store } = subject();
    const message = await sending();
    const { organizationId } = message;
    const applied = await store.applyReports([
      { target: { organizationId, messageId: newId() }, report: delivered() },
      { target: { carrier: "sandbox", carrierMessageId: "c-1" }, report: delivered() },
    ]);
    expect(applied).toEqual([UNKNOWN, UNKNOWN]);
    expect(await stored(message)).toEqual(message);
    expect(await healthOf(message)).toEqual(NO_EVIDENCE);
  });

  it("no reports give no results", async () => {
    expect(await subject().store.applyReports([])).toEqual([]);
  });

  it("a receipt that arrives five times counts once", async () => {
    const message = await sending();
    const applied = await report(subject().store, message, ...Array.from({ length: 5 }, () => failed()));
    expect(applied.map(({ reported }) => reported)).toEqual([1, 0, 0, 0, 0]);
    expect(applied.slice(1).map(({ health }) => health)).toEqual([undefined, undefined, undefined, undefined]);
    const again = await report(subject().store, message, failed(NOON + HOUR));
    expect(again).toMatchObject([{ messageId: message.id, health: undefined, reported: 0 }]);
    expectHealth(await healthOf(message), { ...NO_EVIDENCE, failed: 1, asOf: NOON + SECOND });
    expect(await stored(message)).toMatchObject({ status: "delivery_failed", completedAt: NOON + SECOND });
  });

  it("a receipt before the submit's answer stays valid, and the answer's id still finds the message", async () => {
    const { store } = subject();
    const message = await sending();
    await report(store, message, delivered(), accepted("c-3", NOON + 2 * SECOND));
    expect((await stored(message))?.status).toBe("delivered");
    const target = { carrier: "sandbox", carrierMessageId: "c-3" };
    const [repeated] = await store.applyReports([{ target, report: delivered(NOON + HOUR) }]);
    expect(repeated).toMatchObject({ messageId: message.id, health: undefined, reported: 0 });
  });

  it("a later, stronger report corrects a final status and the counts", async () => {
    const message = await sending();
    const spam: Report = { kind: "failed", at: NOON, error: BLOCKED_AS_SPAM, carrierCode: "9" };
    const [first, second] = await report(subject().store, message, spam, delivered(NOON));
    expectHealth(first?.health, { ...NO_EVIDENCE, failed: 1, spam: 1, asOf: NOON });
    expectHealth(second?.health, { ...NO_EVIDENCE, delivered: 1, asOf: NOON });
    expect([first?.reported, second?.reported]).toEqual([1, 0]);
    expect(await stored(message)).toMatchObject({ status: "delivered", error: undefined, completedAt: NOON });
  });

  it("a refusal keeps its reason and its detail", async () => {
    const message = await sending();
    const error = { reason: ErrorReason.RECIPIENT_SERVER_UNAVAILABLE, detail: "Später wieder – “maybe” 📵" };
    const [applied] = await report(subject().store, message, {
      kind: "refused",
      at: NOON + 3,
      error,
      carrierCode: "x",
    });
    expect(applied).toMatchObject({ messageId: message.id, health: undefined, reported: 1 });
    const progress = { status: "sending_failed", completedAt: NOON + 3, error };
    expect(await stored(message)).toEqual({ ...message, ...progress });
  });

  it("follows the domain's rules for any reports in any order and any grouping", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const errors = [
      FAILED_BY_SENDER,
      BLOCKED_AS_SPAM,
      { reason: ErrorReason.RECIPIENT_SERVER_UNAVAILABLE, detail: "" },
    ];
    const at = fc.integer({ min: NOON, max: NOON + 72 * HOUR });
    const error = fc.constantFrom(...errors);
    const carrierCode = fc.constant("011");
    const kinds: fc.Arbitrary<Report> = fc.oneof(
      fc.record({ kind: fc.constant("accepted" as const), at, carrierMessageId: fc.constant("any") }),
      fc.record({ kind: fc.constant("refused" as const), at, error, carrierCode }),
      fc.record({ kind: fc.constant("deferred" as const), at, carrierCode, retryAt: at }),
      fc.record({ kind: fc.constant("submit_unconfirmed" as const), at }),
      fc.record({ kind: fc.constant("delivered" as const), at }),
      fc.record({ kind: fc.constant("failed" as const), at, error, carrierCode }),
    );
    const groups = fc.array(fc.array(fc.tuple(fc.nat(2), kinds), { maxLength: 8 }), { maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(groups, async (all) => {
        const number = await storeNumber(store, profile);
        const messages = await storeMessages(
          store,
          number,
          {},
          { status: "sending" },
          { status: "sent", sentAt: NOON },
        );
        const progress: Progress[] = [...messages];
        let health: HealthCounts = NO_EVIDENCE;
        for (const group of all) {
          const applied = await store.applyReports(
            group.map(([index, each]) => ({
              target: { organizationId: profile.organizationId, messageId: messages[index]?.id as string },
              report: each,
            })),
          );
          expect(applied).toHaveLength(group.length);
          for (const [position, [index, each]] of group.entries()) {
            const effect = apply(progress[index] as Progress, each);
            progress[index] = effect.progress ?? (progress[index] as Progress);
            const done = applied[position];
            expect([done?.messageId, done?.status, done?.reported]).toEqual([
              messages[index]?.id,
              progress[index]?.status,
              effect.reported,
            ]);
            if (effect.health === undefined) expect(done?.health).toBeUndefined();
            else {
              health = addOutcome(health, effect.health, each.at);
              expectHealth(done?.health, health);
            }
          }
        }
        for (const [index, message] of messages.entries()) {
          const { status, sentAt, completedAt, error } = progress[index] as Progress;
          expect(await stored(message)).toEqual({ ...message, status, sentAt, completedAt, error });
        }
        expectHealth((await store.getNumber(profile.organizationId, number.id))?.health, health);
      }),
      { numRuns: 50 },
    );
  });

  it("a report on a removed number's message settles the message and records no health", async () => {
    const { store } = subject();
    const message = await sending();
    const { organizationId, messagingProfileId, phoneNumberId } = message;
    const removed = await store.removeNumber(organizationId, phoneNumberId);
    const [applied] = await report(store, message, failed());
    const named = { messageId: message.id, messagingProfileId, phoneNumberId };
    expect(applied).toEqual({ ...UNKNOWN, ...named, status: "delivery_failed", reported: 1 });
    expect((await stored(message))?.status).toBe("delivery_failed");
    if (removed !== undefined) await store.insertNumber(removed.number);
    expect(await healthOf(message)).toEqual(NO_EVIDENCE);
  });

  it("a message of a removed number that its carrier defers fails, because nothing submits it again", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    const message = await storeMessage(store, number);
    await claimOne(store, number, NOON);
    await store.removeNumber(message.organizationId, number.id);
    await report(store, message, { kind: "deferred", at: NOON + 1, carrierCode: "088", retryAt: NOON + SECOND });
    expect(await stored(message)).toMatchObject({ status: "sending_failed", completedAt: NOON + 1 });
  });

  it("writes an event for each received report, repeated ones too", async () => {
    const { store } = subject();
    const message = await sending();
    await report(store, message, { kind: "deferred", at: NOON, carrierCode: "088", retryAt: NOON });
    await report(store, message, accepted("c-5"), failed(), failed(), delivered(NOON + HOUR));
    const target = { carrier: "sandbox", carrierMessageId: "c-5" };
    await store.applyReports([{ target, report: delivered(NOON + 2 * HOUR) }]);
    const refusal = { status: "delivery_failed", at: NOON + SECOND, carrierCode: "011", error: FAILED_BY_SENDER };
    expect(await eventsOf(store, message)).toMatchObject([
      { kind: "deferred", status: "queued", at: NOON, carrierCode: "088", error: undefined },
      { kind: "accepted", status: "sent", at: NOON, carrierMessageId: "c-5", error: undefined },
      { kind: "failed", ...refusal },
      { kind: "failed", ...refusal },
      { kind: "delivered", status: "delivered", at: NOON + HOUR, error: undefined },
      { kind: "delivered", status: "delivered", at: NOON + 2 * HOUR, carrierMessageId: "c-5" },
    ]);
  });
}

function settling(subject: Subject): void {
  it("the messages that a lost process was sending become unconfirmed, and no others", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const number = await storeNumber(store, profile, { segmentsPerSecond: 1 });
    const [lost, lostToo, other, queued] = await storeMessages(store, number, {}, {}, {}, {});
    const answered = await storeNumber(store, profile);
    const sent = await storeMessage(store, answered);
    await claimOne(store, number, NOON, "process-1");
    await claimOne(store, number, NOON + SECOND, "process-3");
    await claimOne(store, number, NOON + 2 * SECOND, "process-2");
    await claimOne(store, answered, NOON, "process-1");
    await report(store, sent, { kind: "accepted", at: NOON, carrierMessageId: "c-1" });

    expect(await settleOthers(store, "process-2", NOON + HOUR)).toBe(2);

    const statusOf = async (message: Message | undefined) =>
      (await store.getMessage(profile.organizationId, message?.id ?? ""))?.status;
    const timedOut = apply(
      { ...(lost as Message), status: "sending" },
      { kind: "submit_unconfirmed", at: NOON + HOUR },
    );
    expect(timedOut.progress).toMatchObject({ status: "delivery_unconfirmed", completedAt: NOON + HOUR });
    const { status, sentAt, completedAt, error } = timedOut.progress as Progress;
    const unconfirmed = { ...lost, status, sentAt, completedAt, error, submits: 1 };
    expect(await store.getMessage(profile.organizationId, lost?.id ?? "")).toEqual(unconfirmed);
    expect(await statusOf(lostToo)).toBe("delivery_unconfirmed");
    expect(await statusOf(other)).toBe("sending");
    expect(await statusOf(queued)).toBe("queued");
    expect(await statusOf(sent)).toBe("sent");
    expect((await store.getNumber(profile.organizationId, number.id))?.health).toEqual(NO_EVIDENCE);
    expect(await settleOthers(store, "process-2", NOON + HOUR + SECOND)).toBe(0);
    expect(await statusOf(other)).toBe("sending");
  });

  it("all sending messages can be settled, whatever their owner", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    const messages = await storeMessages(store, number, {}, {}, {});
    await claimOne(store, number, NOON, "process-1");
    await claimOne(store, number, NOON + SECOND, "process-2");
    expect(await settleOthers(store, "process-3", NOON + HOUR)).toBe(2);
    const statuses = messages.map(
      async ({ organizationId, id }) => (await store.getMessage(organizationId, id))?.status,
    );
    expect(await Promise.all(statuses)).toEqual(["delivery_unconfirmed", "delivery_unconfirmed", "queued"]);
    expect(await settleOthers(store, "process-3", NOON + HOUR)).toBe(0);
  });

  it("a late receipt corrects a settled message", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    const message = await storeMessage(store, number);
    await claimOne(store, number, NOON);
    await settleOthers(store, "process-2", NOON + HOUR);
    const [applied] = await report(store, message, { kind: "delivered", at: NOON + 2 * HOUR });
    expect(applied?.reported).toBe(0);
    expectHealth(applied?.health, { ...NO_EVIDENCE, delivered: 1, asOf: NOON + 2 * HOUR });
    expect((await store.getMessage(message.organizationId, message.id))?.status).toBe("delivered");
  });
}
