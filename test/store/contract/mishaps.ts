import { expect, it } from "vitest";
import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import {
  claimOne,
  eventsOf,
  HOUR,
  idsOf,
  NOON,
  newId,
  SECOND,
  storeMessage,
  storeMessages,
  storeNumber,
  storeProfile,
} from "./records.ts";
import type { Subject } from "./subject.ts";

/** Faults between a store, its clocks and its callers. */
export function mishaps(subject: Subject): void {
  it("a clock that is set back an hour stops no number, and the pace continues from there", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store), { segmentsPerSecond: 1 });
    const messages = await storeMessages(store, number, {}, {}, {});
    await claimOne(store, number, NOON);
    const back = NOON - HOUR;
    const claimed = await claimOne(store, number, back);
    expect([idsOf(claimed.messages), claimed.dueAt]).toEqual([[messages[1]?.id], back + SECOND]);
    expect((await claimOne(store, number, back + 500)).messages).toEqual([]);
    expect(idsOf((await claimOne(store, number, back + SECOND)).messages)).toEqual([messages[2]?.id]);
  });

  it("a deferral that is written twice does not undo the submit after it", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    const { organizationId, id: messageId } = await storeMessage(store, number);
    await claimOne(store, number, NOON);
    const report = { kind: "deferred", at: NOON, carrierCode: "busy", retryAt: NOON + SECOND } as const;
    const deferral = { target: { organizationId, messageId }, carrier: "sandbox", report, submit: 1 };
    await store.applyReports([deferral]);
    expect((await claimOne(store, number, NOON + 2 * SECOND)).messages).toHaveLength(1);
    await store.applyReports([deferral]);
    expect(await store.getMessage(organizationId, messageId)).toMatchObject({ status: "sending", submits: 2 });
    expect((await claimOne(store, number, NOON + 9 * SECOND)).messages).toEqual([]);
    await store.applyReports([{ ...deferral, submit: 2 }]);
    expect(await store.getMessage(organizationId, messageId)).toMatchObject({ status: "queued" });
  });

  it("the messages of a claim whose answer was lost return to their queue, and those in flight or of another owner stay", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store), { segmentsPerSecond: 100 });
    const [known, lost] = await storeMessages(store, number, {}, {}, {});
    const own = await claimOne(store, number, NOON, "process-1");
    expect(own.messages).toHaveLength(3);
    const foreign = await storeNumber(store, await storeProfile(store));
    const theirs = await storeMessage(store, foreign);
    await claimOne(store, foreign, NOON, "process-2");
    const underWay = own.messages.map(({ id }) => id).filter((id) => id !== lost?.id);
    expect(await store.requeue("process-1", underWay, NOON)).toEqual({ phoneNumberIds: [number.id], isSettled: true });
    const statusOf = async (message = known) =>
      (await store.getMessage(message?.organizationId ?? "", message?.id ?? ""))?.status;
    expect([await statusOf(known), await statusOf(lost), await statusOf(theirs)]).toEqual([
      "sending",
      "queued",
      "sending",
    ]);
    expect((await eventsOf(store, lost as NonNullable<typeof lost>)).at(-1)).toMatchObject({
      kind: "requeued",
      status: "queued",
      changesStatus: true,
      at: NOON,
    });
    const again = await claimOne(store, number, NOON + SECOND, "process-1");
    expect(again.messages.map(({ id, submits }) => [id, submits])).toEqual([[lost?.id, 1]]);
    expect((await store.requeue("process-1", idsOf([...own.messages]), NOON)).phoneNumberIds).toEqual([]);
  });

  it("a lost claim does not use up the day of a number: its messages leave on the same day", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store), {
      segmentsPerSecond: 100,
      dailySegmentLimit: 2,
    });
    const [message] = await storeMessages(store, number, { parts: 2 });
    expect(idsOf((await claimOne(store, number, NOON, "process-1")).messages)).toEqual([message?.id]);
    await store.requeue("process-1", [], NOON);
    expect(idsOf((await claimOne(store, number, NOON + SECOND, "process-1")).messages)).toEqual([message?.id]);
    await storeMessages(store, number, {});
    expect((await claimOne(store, number, NOON + 2 * SECOND, "process-1")).messages).toEqual([]);
  });

  it("a recipient who opts out while a message waits is not texted", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store), { segmentsPerSecond: 100 });
    const [left, stays] = await storeMessages(store, number, { to: "+12125550123" }, { to: "+12125550124" });
    const { organizationId, messagingProfileId, to } = left ?? { organizationId: "", messagingProfileId: "", to: "" };
    const key = { organizationId, messagingProfileId, to };
    await store.addOptOut({ ...key, phoneNumber: "", keyword: "STOP", createdAt: NOON });
    const claim = await claimOne(store, number, NOON + SECOND);
    expect(idsOf(claim.messages)).toEqual([stays?.id]);
    expect(claim.expired).toMatchObject([
      { messageId: left?.id, status: "sending_failed", reported: 1, queuedSegments: -1 },
    ]);
    const ended = { status: "sending_failed", error: { reason: ErrorReason.OPTED_OUT }, completedAt: NOON + SECOND };
    expect(await store.getMessage(organizationId, left?.id ?? "")).toMatchObject(ended);
    if (left !== undefined)
      expect(await eventsOf(store, left)).toMatchObject([{ kind: "sending_failed", at: NOON + SECOND }]);
  });

  it("a message that enters the queue of a number during its removal fails", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const number = await storeNumber(store, profile);
    await store.removeNumber(profile.organizationId, number.id);
    const message = await storeMessage(store, number, { id: newId() });
    expect((await store.listQueues(10)).map(({ phoneNumberId }) => phoneNumberId)).toEqual([number.id]);
    const claim = await claimOne(store, number, NOON + SECOND);
    expect([claim.messages, claim.expired.map(({ messageId }) => messageId)]).toEqual([[], [message.id]]);
    const ended = { status: "sending_failed", error: { reason: ErrorReason.INVALID_FROM } };
    expect(await store.getMessage(profile.organizationId, message.id)).toMatchObject(ended);
    expect(await store.listQueues(10)).toEqual([]);
  });
}
