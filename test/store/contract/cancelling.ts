import { expect, it } from "vitest";
import type { Message, MessageStatus } from "../../../src/domain/message.ts";
import {
  aScheduled,
  claimOne,
  eventsOf,
  HOUR,
  NOON,
  newId,
  report,
  SECOND,
  senderOf,
  storeMessage,
  storeMessages,
  storeNumber,
  storeProfile,
  write,
} from "./records.ts";
import type { Subject } from "./subject.ts";

const AT = NOON + 5 * SECOND;
const TOO_LATE: readonly MessageStatus[] = [
  "sending",
  "sent",
  "delivered",
  "delivery_failed",
  "delivery_unconfirmed",
  "sending_failed",
  "expired",
];

/** Cancelling messages that have not left. */
export function cancelling(subject: Subject): void {
  const stored = ({ organizationId, id }: Message) => subject().store.getMessage(organizationId, id);
  const cancelledOf = (message: Message) => ({
    ...message,
    status: "cancelled",
    sentAt: undefined,
    completedAt: AT,
    error: undefined,
  });
  const applied = ({ id, messagingProfileId, phoneNumberId }: Message) => ({
    messageId: id,
    messagingProfileId,
    phoneNumberId,
    status: "cancelled",
    health: undefined,
    reported: 0,
    queuedSegments: 0,
    followed: [],
  });

  it("a scheduled message is cancelled, costs its number nothing, and is no longer due", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const number = await storeNumber(store, profile);
    for (const message of [aScheduled(profile), aScheduled(profile, { ...senderOf(number), parts: 3 })]) {
      await write(store, { messages: [message] });
      expect(await store.cancelMessage(profile.organizationId, message.id, AT)).toEqual({
        kind: "cancelled",
        message: cancelledOf(message),
        applied: applied(message),
      });
      expect(await stored(message)).toEqual(cancelledOf(message));
      expect(await store.listDueMessages(NOON + 5 * HOUR, 10)).toEqual({ messages: [], nextAt: undefined });
      expect(await eventsOf(store, message)).toMatchObject([
        { kind: "cancelled", status: "cancelled", at: AT, error: undefined, carrierMessageId: undefined },
      ]);
    }
  });

  it("a queued message is cancelled, leaves its queue, and gives the segments that it leaves", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    const [message, next] = await storeMessages(store, number, { parts: 3 }, {});
    if (message === undefined || next === undefined) throw new Error("nothing was stored");
    expect(await store.cancelMessage(message.organizationId, message.id, AT)).toEqual({
      kind: "cancelled",
      message: cancelledOf(message),
      applied: { ...applied(message), reported: 1, queuedSegments: -3 },
    });
    expect(await stored(message)).toEqual(cancelledOf(message));
    expect((await store.loadPoolNumber(number.id))?.traffic).toMatchObject({ queuedSegments: 1, unreported: 1 });
    expect(await store.measureQueue()).toEqual({ messages: 1, oldestId: next.id });
    const claim = await claimOne(store, number, NOON + HOUR);
    expect([claim.messages.map(({ id }) => id), claim.expired, claim.dueAt]).toEqual([[next.id], [], undefined]);
    expect((await claimOne(store, number, message.validUntil)).expired).toEqual([]);
    expect(await eventsOf(store, message)).toMatchObject([{ kind: "cancelled", status: "cancelled", at: AT }]);
  });

  it("a message that its carrier deferred can be cancelled, and is not submitted again", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    const message = await storeMessage(store, number, { parts: 2 });
    await claimOne(store, number, NOON);
    await report(store, message, { kind: "deferred", at: NOON, carrierCode: "088", retryAt: NOON + HOUR });
    const cancelled = await store.cancelMessage(message.organizationId, message.id, AT);
    expect(cancelled).toMatchObject({ kind: "cancelled", applied: { reported: 1, queuedSegments: -2 } });
    expect((await stored(message))?.submits).toBe(1);
    expect(await claimOne(store, number, NOON + HOUR)).toMatchObject({ messages: [], expired: [], dueAt: undefined });
    expect((await eventsOf(store, message)).map(({ kind }) => kind)).toEqual(["sending", "deferred", "cancelled"]);
  });

  it.each(TOO_LATE)("it is too late for one that is %s, which stays unchanged", async (status) => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    const message = await storeMessage(store, number, { status });
    const answer = await store.cancelMessage(message.organizationId, message.id, AT);
    expect(answer).toEqual({ kind: "tooLate", message });
    expect([await stored(message), await eventsOf(store, message)]).toEqual([message, []]);
  });

  it("it is too late for one that is cancelled already, which keeps its first cancellation", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    const message = await storeMessage(store, number);
    await store.cancelMessage(message.organizationId, message.id, AT);
    const again = await store.cancelMessage(message.organizationId, message.id, AT + HOUR);
    expect(again).toEqual({ kind: "tooLate", message: cancelledOf(message) });
    expect(await eventsOf(store, message)).toHaveLength(1);
  });

  it("a message of another organization, or one that does not exist, is unknown", async () => {
    const { store } = subject();
    const [profile, foreign] = [await storeProfile(store), await storeProfile(store)];
    const message = await storeMessage(store, await storeNumber(store, profile));
    expect(await store.cancelMessage(foreign.organizationId, message.id, AT)).toEqual({ kind: "unknown" });
    expect(await store.cancelMessage(profile.organizationId, newId(), AT)).toEqual({ kind: "unknown" });
    expect(await stored(message)).toEqual(message);
  });

  it("a message is cancelled or sent, and never both, in any order", async ({ skip }) => {
    const { store, another } = subject();
    if (another === undefined) return skip("this store cannot be opened twice");
    const canceller = await another();
    const number = await storeNumber(store, await storeProfile(store), { segmentsPerSecond: 1_000 });
    const messages = await storeMessages(store, number, ...Array.from({ length: 30 }, () => ({})));
    const claimed = new Set<string>();
    const cancelled = new Set<string>();
    const claiming = async () => {
      for (let now = NOON; now < NOON + 200; now += 10) {
        for (const { id } of (await claimOne(store, number, now)).messages) claimed.add(id);
      }
    };
    const cancellingAll = async () => {
      for (const { organizationId, id } of messages.toReversed()) {
        if ((await canceller.cancelMessage(organizationId, id, NOON)).kind === "cancelled") cancelled.add(id);
      }
    };
    await Promise.all([claiming(), cancellingAll()]);
    expect(claimed.size + cancelled.size).toBe(messages.length);
    for (const message of messages) {
      expect((await stored(message))?.status).toBe(claimed.has(message.id) ? "sending" : "cancelled");
    }
  });
}
