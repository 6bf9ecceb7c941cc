import { expect, it } from "vitest";
import type { AppliedReport } from "../../../src/domain/carrier-report.ts";
import { NO_EVIDENCE } from "../../../src/domain/health.ts";
import type { Report } from "../../../src/domain/lifecycle.ts";
import type { QueuedMessage } from "../../../src/domain/message.ts";
import type { Store } from "../../../src/store/store.ts";
import {
  aNumber,
  claimOne,
  eventsOf,
  expectHealth,
  FAILED_BY_SENDER,
  HOUR,
  NOON,
  newId,
  report,
  SECOND,
  settleOthers,
  storeMessage,
  storeNumber,
  storeProfile,
} from "./records.ts";
import type { Subject } from "./subject.ts";

const DELIVERED: Report = { kind: "delivered", at: NOON + SECOND };
const FAILED: Report = { kind: "failed", at: NOON + SECOND, error: FAILED_BY_SENDER, carrierCode: "011" };
const BUFFERED: Report = { kind: "buffered", at: NOON + SECOND };

/** Receipts by the carrier's id, before and after its message is known. */
export function receipts(subject: Subject): void {
  const sending = async (carrier = "sandbox"): Promise<QueuedMessage> => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store), { carrier });
    return storeMessage(store, number, { status: "sending" });
  };
  const statusOf = async ({ organizationId, id }: QueuedMessage, store = subject().store) =>
    (await store.getMessage(organizationId, id))?.status;
  const healthOf = async (message: QueuedMessage, store = subject().store) =>
    (await store.getNumber(message.organizationId, message.phoneNumberId))?.health;
  const take = async (message: QueuedMessage, carrierMessageId: string, store = subject().store) => {
    const answer = { kind: "accepted", at: NOON, carrierMessageId } as const;
    return (await report(store, message, answer))[0] as AppliedReport;
  };
  const receive = async (
    carrierMessageId: string,
    receipt: Report,
    given: { readonly carrier?: string; readonly organizationId?: string; readonly store?: Store } = {},
  ) => {
    const { carrier = "sandbox", organizationId, store = subject().store } = given;
    const target = { carrier, carrierMessageId, organizationId };
    return (await store.applyReports([{ target, report: receipt }]))[0] as AppliedReport;
  };

  it("a receipt before the answer waits for it, across a restart too, and counts once", async () => {
    const { reopen } = subject();
    const message = await sending();
    expect((await receive("c-1", DELIVERED)).messageId).toBeUndefined();
    expect(await statusOf(message)).toBe("sending");
    const again = await reopen();
    const applied = await take(message, "c-1", again);
    expect(applied).toMatchObject({ messageId: message.id, status: "sent", reported: 0, queuedSegments: 0 });
    expect(applied.followed).toMatchObject([{ messageId: message.id, status: "delivered", reported: 1, followed: [] }]);
    const health = { ...NO_EVIDENCE, delivered: 1, asOf: DELIVERED.at };
    expectHealth(applied.followed[0]?.health, health);
    expectHealth(await healthOf(message, again), health);
    const { organizationId, id } = message;
    expect(await again.getMessage(organizationId, id)).toMatchObject({
      status: "delivered",
      sentAt: NOON,
      completedAt: DELIVERED.at,
    });
    expect(await eventsOf(again, message)).toMatchObject([
      { kind: "accepted", carrierMessageId: "c-1" },
      { kind: "delivered", carrierMessageId: "c-1", at: DELIVERED.at },
    ]);
    // The receipt was applied: the same id on a later message finds none.
    expect((await take(message, "c-1", again)).followed).toEqual([]);
    expect(await receive("c-1", DELIVERED, { store: again })).toMatchObject({ messageId: id, reported: 0 });
  });

  it("waiting receipts are applied in the order of arrival, repeated ones once", async () => {
    const message = await sending();
    for (const receipt of [BUFFERED, FAILED, FAILED, BUFFERED, DELIVERED, DELIVERED]) await receive("c-2", receipt);
    const { followed } = await take(message, "c-2");
    expect(followed.map(({ status }) => status)).toEqual(["sent", "delivery_failed", "delivered"]);
    expect(followed.map(({ reported }) => reported)).toEqual([0, 1, 0]);
    expectHealth(await healthOf(message), { ...NO_EVIDENCE, delivered: 1, asOf: NOON + SECOND });
    expect((await eventsOf(subject().store, message)).map(({ kind }) => kind)).toEqual([
      "accepted",
      "buffered",
      "failed",
      "delivered",
    ]);
  });

  it("a waiting receipt keeps its moment, code, reason and detail", async () => {
    const message = await sending();
    const error = { reason: FAILED_BY_SENDER.reason, detail: "Später – “maybe” 📵" };
    await receive("c-3", { kind: "failed", at: NOON + HOUR, error, carrierCode: "4-µ" });
    await take(message, "c-3");
    const { organizationId, id } = message;
    expect(await subject().store.getMessage(organizationId, id)).toMatchObject({
      status: "delivery_failed",
      completedAt: NOON + HOUR,
      error,
    });
    expect((await eventsOf(subject().store, message))[1]).toMatchObject({ carrierCode: "4-µ", error, at: NOON + HOUR });
  });

  it("a receipt of another carrier does not match, before or after the answer", async () => {
    const [message, other] = [await sending("one"), await sending("two")];
    await receive("c-4", DELIVERED, { carrier: "two" });
    expect((await take(message, "c-4")).followed).toEqual([]);
    expect((await receive("c-4", DELIVERED, { carrier: "three" })).messageId).toBeUndefined();
    expect(await statusOf(message)).toBe("sent");
    expect((await take(other, "c-4")).followed).toMatchObject([{ messageId: other.id, status: "delivered" }]);
    expect(await receive("c-4", FAILED, { carrier: "one" })).toMatchObject({ messageId: message.id });
  });

  it("the receipt of a number that moved to another carrier matches the carrier that sent the message", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store), { carrier: "old" });
    const message = await storeMessage(store, number);
    await store.updateNumber(number.organizationId, number.id, (current) => ({ ...current, carrier: "new" }));
    const [claimed] = (await claimOne(store, number, NOON)).messages;
    expect(claimed?.carrier).toBe("new");
    await receive("c-5", DELIVERED, { carrier: "old" });
    expect((await take(message, "c-5")).followed).toEqual([]);
    expect(await receive("c-5", DELIVERED, { carrier: "new" })).toMatchObject({ messageId: message.id });
  });

  it.each(["before", "after"])(
    "a receipt that an organization reported %s the answer touches its own messages and nobody else's",
    async (when) => {
      const [own, foreign] = [await sending(), await sending()];
      const { organizationId } = own;
      const tell = () => receive("c-6", FAILED, { organizationId });
      if (when === "before") await tell();
      expect((await take(foreign, "c-6")).followed).toEqual([]);
      if (when === "after") expect((await tell()).messageId).toBeUndefined();
      expect(await statusOf(foreign)).toBe("sent");
      expect(await healthOf(foreign)).toEqual(NO_EVIDENCE);
      expect((await take(own, "c-6")).followed).toMatchObject([{ messageId: own.id, status: "delivery_failed" }]);
      expect(await tell()).toMatchObject({ messageId: own.id });
      expect(await statusOf(foreign)).toBe("sent");
      expect(await eventsOf(subject().store, foreign)).toHaveLength(1);
    },
  );

  it("an organization's report of an id does not keep the carrier's own receipt from its message", async () => {
    const [own, foreign] = [await sending(), await sending()];
    await receive("c-7", FAILED, { organizationId: foreign.organizationId });
    await receive("c-7", DELIVERED);
    expect((await take(own, "c-7")).followed).toMatchObject([{ messageId: own.id, status: "delivered" }]);
    expect((await take(foreign, "c-7")).followed).toMatchObject([{ messageId: foreign.id, status: "delivery_failed" }]);
  });

  const FORMS: readonly [string, string][] = [
    ["ABCDEF01-7", "abcdef01-7"],
    ["000000c1", "C1"],
    ["c1", "000000C1"],
    ["0", "0000"],
    [" c-9 ", "C-9"],
    ["ffff", "65535"],
    ["00FFFF", "65535"],
    ["65535", "FFFF"],
    ["65535", "0000ffff"],
    ["18446744073709551615", "ffffffffffffffff"],
    ["FFFFFFFFFFFFFFFF", "18446744073709551615"],
  ];

  /** The results of all stored receipts, a little later. */
  const match = async (now = NOON + 2 * SECOND) => {
    const applied: AppliedReport[] = [];
    let after: string | undefined;
    do {
      const swept = await subject().store.matchReceipts({ now, after, limit: 2 });
      applied.push(...swept.applied);
      after = swept.next;
    } while (after !== undefined);
    return applied.map(({ messageId, status }) => [messageId, status]);
  };
  /** A carrier that no other test knows. */
  const aCarrier = () => `carrier-${newId()}`;

  it.each(FORMS)(
    "an answer with %j and a receipt with %j are about one message, whichever comes first",
    async (answer, other) => {
      const [one, two] = [aCarrier(), aCarrier()];
      const [first, second] = [await sending(one), await sending(two)];
      await take(first, answer);
      expect((await receive(other, DELIVERED, { carrier: one })).messageId).toBeUndefined();
      expect(await match()).toEqual([[first.id, "delivered"]]);
      await receive(other, DELIVERED, { carrier: two });
      expect((await take(second, answer)).followed).toEqual([]);
      expect(await match()).toEqual([[second.id, "delivered"]]);
      expectHealth(await healthOf(second), { ...NO_EVIDENCE, delivered: 1, asOf: DELIVERED.at });
      const story = await eventsOf(subject().store, first);
      expect(story.map(({ carrierMessageId }) => carrierMessageId)).toEqual([answer, other]);
      expect(await match()).toEqual([]);
    },
  );

  it("a receipt waits for the message with exactly its id while its submit is open", async () => {
    const carrier = aCarrier();
    const [before, other] = [await sending(carrier), await sending(carrier)];
    await take(before, "1000");
    await receive("4096", FAILED, { carrier });
    expect(await match()).toEqual([]);
    expect((await take(other, "4096")).followed).toMatchObject([{ messageId: other.id, status: "delivery_failed" }]);
    expect(await match()).toEqual([]);
    expect(await statusOf(before)).toBe("sent");
    expect(await healthOf(before)).toEqual(NO_EVIDENCE);
  });

  it("a receipt whose answer never arrives matches no other message in a form that its carrier has not shown", async () => {
    const carrier = aCarrier();
    const [before, other] = [await sending(carrier), await sending(carrier)];
    await take(before, "1000");
    await receive("4096", FAILED, { carrier });
    await report(subject().store, other, { kind: "submit_unconfirmed", at: NOON + SECOND });
    expect(await match()).toEqual([]);
    expect(await match(NOON + 50 * HOUR)).toEqual([]);
    expect(await statusOf(before)).toBe("sent");
    // However late the answer is.
    expect((await take(other, "4096")).followed).toMatchObject([{ messageId: other.id, status: "delivery_failed" }]);
  });

  it("a form that a carrier has shown resolves ambiguous ids, once every submit is answered", async () => {
    const carrier = aCarrier();
    const [telling, silent, open] = [await sending(carrier), await sending(carrier), await sending(carrier)];
    await take(silent, "1000");
    await receive("4096", FAILED, { carrier });
    await take(telling, "ffff");
    await receive("65535", DELIVERED, { carrier });
    expect(await match()).toEqual([]);
    await take(open, "fffe");
    // The next sweep also reads earlier receipts in the form.
    expect(await match()).toEqual([[telling.id, "delivered"]]);
    expect(await match()).toEqual([[silent.id, "delivery_failed"]]);
    await receive("65534", DELIVERED, { carrier });
    expect(await match()).toEqual([[open.id, "delivered"]]);
  });

  it("a receipt does not wait for a later submit, nor for one that stays open for hours", async () => {
    const { store } = subject();
    for (const [claimedAt, now] of [
      [NOON + HOUR, NOON + HOUR],
      [NOON - HOUR, NOON + 2 * HOUR],
    ] as const) {
      const carrier = aCarrier();
      const message = await sending(carrier);
      await take(message, "ffff");
      await receive("65535", DELIVERED, { carrier });
      const number = await storeNumber(store, await storeProfile(store), { carrier });
      await storeMessage(store, number);
      expect((await claimOne(store, number, claimedAt)).messages).toHaveLength(1);
      expect(await match(now)).toEqual([[message.id, "delivered"]]);
    }
  });

  it("receipts of a carrier that keeps the ids of its answers match in no other form", async () => {
    const carrier = aCarrier();
    const [first, second] = [await sending(carrier), await sending(carrier)];
    await take(first, "fffe");
    expect((await receive("fffe", DELIVERED, { carrier })).messageId).toBe(first.id);
    await take(second, "ffff");
    await receive("65535", FAILED, { carrier });
    await receive("FFFF", FAILED, { carrier });
    expect(await match()).toEqual([]);
    expect(await match(NOON + 50 * HOUR)).toEqual([]);
    expect(await statusOf(second)).toBe("sent");
    expect((await receive("ffff", DELIVERED, { carrier })).messageId).toBe(second.id);
  });

  it.each([
    ["ffff", "FFFF", "fFFf"],
    ["ffff", "0FFFF", "65535"],
    ["65535", "065535", "FFFF"],
  ])("where answers with %j and %j may both be meant by %j, neither is", async (one, two, receipt) => {
    const carrier = aCarrier();
    const messages = [await sending(carrier), await sending(carrier)] as const;
    await take(messages[0], one);
    await take(messages[1], two);
    await receive(receipt, FAILED, { carrier });
    expect(await match()).toEqual([]);
    expect([await statusOf(messages[0]), await statusOf(messages[1])]).toEqual(["sent", "sent"]);
  });

  it("a form that an organization shows is its own only", async () => {
    const carrier = aCarrier();
    const [own, foreign] = [await sending(carrier), await sending(carrier)];
    await take(own, "ffff");
    await take(foreign, "1000");
    await receive("65535", DELIVERED, { carrier, organizationId: own.organizationId });
    expect(await match()).toEqual([[own.id, "delivered"]]);
    await receive("4096", FAILED, { carrier });
    expect(await match()).toEqual([]);
    await receive("4096", FAILED, { carrier, organizationId: own.organizationId });
    expect(await match()).toEqual([]);
    expect(await statusOf(foreign)).toBe("sent");
  });

  it("a receipt in another form settles a message whose answer arrives after its submit timed out", async () => {
    const carrier = aCarrier();
    const message = await sending(carrier);
    await receive("65535", DELIVERED, { carrier });
    await report(subject().store, message, { kind: "submit_unconfirmed", at: NOON + SECOND });
    expect(await match()).toEqual([]);
    expect(await take(message, "ffff")).toMatchObject({ status: "delivery_unconfirmed", followed: [] });
    expect(await match()).toEqual([[message.id, "delivered"]]);
  });

  it("receipts of foreign messages are examined once", async () => {
    const { store } = subject();
    const carrier = aCarrier();
    for (const id of ["7001", "7002", "7003"]) await receive(id, DELIVERED, { carrier });
    const look = () => store.matchReceipts({ now: NOON + SECOND, after: undefined, limit: 3 });
    expect((await look()).next).toBeDefined();
    expect((await look()).next).toBeUndefined();
  });

  it("a receipt with exactly a message's id matches no message with a similar id", async () => {
    const [ten, sixteen] = [await sending(), await sending()];
    await take(ten, "10");
    await take(sixteen, "16");
    expect((await receive("16", DELIVERED)).messageId).toBe(sixteen.id);
    expect((await receive("10", FAILED)).messageId).toBe(ten.id);
    expect([await statusOf(ten), await statusOf(sixteen)]).toEqual(["delivery_failed", "delivered"]);
  });

  it("waiting receipts match the messages with exactly their ids, whichever is answered first", async () => {
    for (const answers of [
      ["10", "16"],
      ["16", "10"],
    ] as const) {
      const carrier = `carrier ${answers[0]}`;
      const messages = new Map([
        ["10", await sending(carrier)],
        ["16", await sending(carrier)],
      ]);
      await receive("16", DELIVERED, { carrier });
      await receive("10", FAILED, { carrier });
      for (const id of answers) await take(messages.get(id) as QueuedMessage, id);
      const statuses = [...messages.values()].map((message) => statusOf(message));
      expect(await Promise.all(statuses)).toEqual(["delivery_failed", "delivered"]);
    }
  });

  it("where two messages of a carrier have one id, a receipt matches the later one", async () => {
    const [before, after] = [await sending(), await sending()];
    await take(after, "c-8");
    await take(before, "c-8");
    expect((await receive("c-8", DELIVERED)).messageId).toBe(after.id);
    expect((await receive("c-8", FAILED, { organizationId: before.organizationId })).messageId).toBe(before.id);
  });

  it("a buffered message says so, and is still unreported", async () => {
    const message = await sending();
    const [applied] = await report(subject().store, message, BUFFERED);
    expect(applied).toMatchObject({ status: "sent", reported: 0, health: undefined });
    await take(message, "c-10");
    expect(await receive("c-10", BUFFERED)).toMatchObject({ messageId: message.id, status: "sent", reported: 0 });
    const { organizationId, id } = message;
    expect(await subject().store.getMessage(organizationId, id)).toMatchObject({ status: "sent", sentAt: NOON });
    expect(await healthOf(message)).toEqual(NO_EVIDENCE);
  });

  it("no event is earlier than its message, whatever a carrier's clock says", async () => {
    const message = await sending();
    const early = { ...DELIVERED, at: NOON - HOUR };
    await receive("c-11", early);
    const { followed } = await take(message, "c-11");
    expectHealth(followed[0]?.health, { ...NO_EVIDENCE, delivered: 1, asOf: NOON });
    const { organizationId, id } = message;
    expect(await subject().store.getMessage(organizationId, id)).toMatchObject({ sentAt: NOON, completedAt: NOON });
    expect((await eventsOf(subject().store, message)).map(({ at }) => at)).toEqual([NOON, NOON]);
    const second = await sending();
    await report(subject().store, second, { kind: "accepted", at: NOON - HOUR, carrierMessageId: "c-12" });
    expect(await subject().store.getMessage(second.organizationId, second.id)).toMatchObject({ sentAt: NOON });
  });

  it("a receipt settles a message without an answer, once its id is known", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    const message = await storeMessage(store, number);
    await claimOne(store, number, NOON, "process-1");
    expect(await settleOthers(store, "process-2", NOON + SECOND)).toBe(1);
    await receive("c-13", DELIVERED);
    const applied = await take(message, "c-13");
    expect(applied).toMatchObject({ status: "delivery_unconfirmed", reported: 0 });
    expect(applied.followed).toMatchObject([{ status: "delivered", reported: 0 }]);
    expect(await statusOf(message)).toBe("delivered");
  });

  it("a receipt of a removed number's message settles the message and records no health", async () => {
    const { store } = subject();
    const message = await sending();
    const { organizationId, phoneNumberId } = message;
    const removed = await store.removeNumber(organizationId, phoneNumberId);
    await receive("c-14", FAILED);
    const { followed } = await take(message, "c-14");
    expect(followed).toMatchObject([{ status: "delivery_failed", health: undefined, reported: 1 }]);
    if (removed !== undefined) await store.insertNumber(aNumber(await storeProfile(store), removed.number));
    expect(await statusOf(message)).toBe("delivery_failed");
  });

  it("only receipts wait: an answer without a message is dropped", async () => {
    const message = await sending();
    for (const kind of ["submit_unconfirmed", "receipt_timeout"] as const) await receive("c-15", { kind, at: NOON });
    await receive("c-15", { kind: "refused", at: NOON, error: FAILED_BY_SENDER, carrierCode: "" });
    await receive("c-15", { kind: "deferred", at: NOON, carrierCode: "", retryAt: NOON + SECOND });
    expect((await take(message, "c-15")).followed).toEqual([]);
  });

  it("a receipt and its message's answer in one transaction find each other, in either order", async () => {
    const { store } = subject();
    const [early, late] = [await sending(), await sending()];
    const answer = (message: QueuedMessage, carrierMessageId: string) => ({
      target: { organizationId: message.organizationId, messageId: message.id },
      report: { kind: "accepted", at: NOON, carrierMessageId } as const,
    });
    const receipt = (carrierMessageId: string) => ({
      target: { carrier: "sandbox", carrierMessageId },
      report: DELIVERED,
    });
    const applied = await store.applyReports([
      receipt("c-16"),
      answer(early, "c-16"),
      answer(late, "c-17"),
      receipt("c-17"),
    ]);
    expect(applied.map(({ messageId }) => messageId)).toEqual([undefined, early.id, late.id, late.id]);
    expect([await statusOf(early), await statusOf(late)]).toEqual(["delivered", "delivered"]);
  });
}
