import fc from "fast-check";
import { expect, it } from "vitest";
import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import type { Message } from "../../../src/domain/message.ts";
import { changesOfReleased } from "../../../src/domain/plan/released.ts";
import { laneText, type ScheduledFacts, type ScheduledRead, type WaitingLane } from "../../../src/store/schedule.ts";
import {
  aMessage,
  aScheduled,
  claimOne,
  eventsOf,
  HOUR,
  idsOf,
  NEVER,
  NOON,
  newId,
  read,
  report,
  SECOND,
  senderOf,
  settleOthers,
  storeNumber,
  storeProfile,
  write,
} from "./records.ts";
import type { Subject } from "./subject.ts";

const DUE = NOON + HOUR;
const byLane = (one: WaitingLane, other: WaitingLane) => (laneText(one) < laneText(other) ? -1 : 1);
const NO_WRITES = {};
const FULL = { reason: ErrorReason.QUEUE_FULL, detail: "Später – “maybe” 📵" };

/** Scheduled messages. */
export function schedule(subject: Subject): void {
  const stored = ({ organizationId, id }: Message) => subject().store.getMessage(organizationId, id);
  const readOf = ({ organizationId, id, messagingProfileId }: Message): ScheduledRead => ({
    organizationId,
    id,
    messagingProfileId,
  });
  /** Reads the facts of messages and writes nothing. */
  const factsOf = async (...messages: Message[]): Promise<readonly ScheduledFacts[]> => {
    let given: readonly ScheduledFacts[] = [];
    await subject().store.releaseScheduled(messages.map(readOf), (facts) => {
      given = facts;
      return NO_WRITES;
    });
    return given;
  };
  const release = (message: Message, change: Partial<Message>, retryAt?: number) =>
    subject().store.releaseScheduled([readOf(message)], (facts) => ({
      ...changesOfReleased(facts.map((fact) => ({ message: { ...fact.message, ...change }, at: DUE + 5, retryAt }))),
    }));

  it("lists due messages, earliest first, at most the limit, and the time of the next one", async () => {
    const { store } = subject();
    const profiles = [await storeProfile(store), await storeProfile(store)] as const;
    const moments = fc.uniqueArray(fc.integer({ min: 0, max: 50 }), { maxLength: 12 });
    const calls = fc.array(fc.tuple(fc.integer({ min: 0, max: 51 }), fc.integer({ min: 1, max: 14 })), {
      maxLength: 6,
    });
    await fc.assert(
      fc.asyncProperty(moments, calls, async (given, asked) => {
        const messages = given.map((at) => aScheduled(profiles[at % 2 === 0 ? 0 : 1], { sendAt: NOON + at }));
        await write(store, { messages });
        const inOrder = messages.toSorted((one, other) => (one.sendAt ?? 0) - (other.sendAt ?? 0));
        for (const [after, limit] of asked) {
          const due = inOrder.filter(({ sendAt }) => (sendAt ?? 0) <= NOON + after).slice(0, limit);
          const listed = await store.listDueMessages(NOON + after, limit);
          expect(listed.messages).toEqual(due.map(readOf));
          expect(listed.nextAt).toBe(inOrder[due.length]?.sendAt);
        }
        for (const { organizationId, id } of messages) await store.cancelMessage(organizationId, id, NOON);
      }),
      { numRuns: 25 },
    );
    expect(await store.listDueMessages(NOON + HOUR, 10)).toEqual({ messages: [], nextAt: undefined });
  });

  it("a scheduled message is stored whole, with or without a sender that its caller named", async () => {
    const { store, reopen } = subject();
    const profile = await storeProfile(store);
    const number = await storeNumber(store, profile);
    const open = aScheduled(profile, { text: "Grüße 👋", encoding: "UCS-2" });
    const named = aScheduled(profile, senderOf(number));
    await write(store, { messages: [open, named] });
    expect([await stored(open), await stored(named)]).toEqual([open, named]);
    const again = await reopen();
    expect(await again.getMessage(open.organizationId, open.id)).toEqual(open);
    const due = await again.listDueMessages(DUE, 10);
    expect(idsOf(due.messages).toSorted()).toEqual([open.id, named.id].toSorted());
  });

  it("a scheduled message is in no queue: not listed, not claimed, not measured, not in its number's load", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const number = await storeNumber(store, profile);
    const message = aScheduled(profile, { ...senderOf(number), parts: 3 });
    await write(store, { messages: [message] });
    expect(await store.listQueues(10)).toEqual([]);
    expect(await store.measureQueue()).toEqual({ messages: 0, oldestId: undefined });
    expect((await store.loadPoolNumber(number.id))?.traffic).toMatchObject({ queuedSegments: 0, unreported: 0 });
    const nothing = { messages: [], expired: [], dueAt: undefined };
    expect(await claimOne(store, number, DUE + HOUR)).toMatchObject(nothing);
    expect(await claimOne(store, number, message.validUntil + HOUR)).toMatchObject(nothing);
    expect(await settleOthers(store, "process-9", NOON)).toBe(0);
    expect(await stored(message)).toEqual(message);
  });

  it("a release reads those of the named messages that are still scheduled, and no others", async () => {
    const { store } = subject();
    const [profile, foreign] = [await storeProfile(store), await storeProfile(store)];
    const number = await storeNumber(store, profile);
    const [waiting, cancelled, ended] = [aScheduled(profile), aScheduled(profile), aScheduled(profile)];
    const [unnamed, strange] = [aScheduled(profile), aScheduled(foreign)];
    const queued = aMessage(number);
    await write(store, { messages: [waiting, cancelled, ended, unnamed, strange, queued] });
    await store.cancelMessage(profile.organizationId, cancelled.id, NOON);
    await release(ended, { status: "sending_failed", completedAt: DUE, error: FULL });
    const notTheirs = { ...strange, organizationId: profile.organizationId };
    const unknown = { ...waiting, id: newId() };
    const facts = await factsOf(waiting, cancelled, ended, queued, notTheirs, unknown);
    expect(facts).toEqual([{ message: waiting, recipient: { optedOut: false, mapping: undefined } }]);
    expect(await factsOf()).toEqual([]);
  });

  it("a release reads the recipient's facts of each message at that time", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const [mapped, left, plain] = ["+12125550110", "+12125550111", "+12125550112"].map((to) =>
      aScheduled(profile, { to }),
    ) as [Message, Message, Message];
    await write(store, { messages: [mapped, left, plain] });
    const { organizationId, id: messagingProfileId } = profile;
    const generations = { profileGeneration: 1, numberGeneration: 2 };
    const key = { organizationId, messagingProfileId };
    const mapping = { ...key, to: mapped.to, phoneNumberId: newId(), ...generations, lastMessageAt: NOON };
    await store.putMapping(mapping);
    await store.addOptOut({ ...key, to: left.to, phoneNumber: "", keyword: "STOP", createdAt: NOON });
    const facts = new Map((await factsOf(plain, left, mapped)).map((fact) => [fact.message.id, fact.recipient]));
    expect(facts.get(mapped.id)).toEqual({ optedOut: false, mapping });
    expect(facts.get(left.id)).toEqual({ optedOut: true, mapping: undefined });
    expect(facts.get(plain.id)).toEqual({ optedOut: false, mapping: undefined });
  });

  it("a message that is released into a queue is like any other, with its sender and mapping", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const number = await storeNumber(store, profile, { dailySegmentLimit: 10, carrier: "elsewhere" });
    const message = aScheduled(profile, { parts: 2 });
    await write(store, { messages: [message] });
    const { decision } = aMessage(number);
    const queued: Message = { ...message, ...senderOf(number), status: "queued", decision, waitSeconds: 1.5 };
    const { organizationId, messagingProfileId, to } = message;
    const mapping = {
      organizationId,
      messagingProfileId,
      to,
      phoneNumberId: number.id,
      profileGeneration: 0,
      numberGeneration: 0,
      lastMessageAt: DUE,
    };
    await store.releaseScheduled([readOf(message)], () => ({
      ...changesOfReleased([{ message: queued, at: DUE, retryAt: undefined }]),
      mappings: [mapping],
    }));
    expect(await stored(message)).toEqual(queued);
    expect(await store.listDueMessages(DUE, 10)).toEqual({ messages: [], nextAt: undefined });
    expect(await store.listQueues(10)).toEqual([{ phoneNumberId: number.id, dueAt: 0 }]);
    expect(await store.measureQueue()).toEqual({ messages: 1, oldestId: message.id });
    expect((await store.loadPoolNumber(number.id))?.traffic).toMatchObject({
      queuedSegments: 2,
      unreported: 1,
      usedToday: 0,
    });
    expect((await read(store, { recipients: [mapping] })).recipients).toEqual([{ optedOut: false, mapping }]);
    const claim = await claimOne(store, number, DUE);
    expect(claim.messages).toEqual([{ ...queued, status: expect.anything(), submits: 1 }]);
    expect(await factsOf(message)).toEqual([]);
  });

  it("the sender that the caller named stays unless the decision says otherwise", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const number = await storeNumber(store, profile);
    const message = aScheduled(profile, senderOf(number));
    await write(store, { messages: [message] });
    expect(await factsOf(message)).toMatchObject([{ message: senderOf(number) }]);
    await release(message, { status: "queued", decision: aMessage(number).decision });
    expect(idsOf((await claimOne(store, number, DUE)).messages)).toEqual([message.id]);
  });

  it.each(["sending_failed", "expired"] as const)(
    "a message that ends as %s is never sent, and says why",
    async (status) => {
      const { store } = subject();
      const profile = await storeProfile(store);
      const number = await storeNumber(store, profile);
      const message = aScheduled(profile, senderOf(number));
      await write(store, { messages: [message] });
      const end = { status, completedAt: DUE + 5, error: FULL };
      await release(message, end);
      expect(await stored(message)).toEqual({ ...message, ...end });
      expect(await store.listDueMessages(DUE + HOUR, 10)).toEqual({ messages: [], nextAt: undefined });
      expect((await claimOne(store, number, DUE + HOUR)).messages).toEqual([]);
      expect(await eventsOf(store, message)).toMatchObject([{ kind: status, status, at: DUE + 5, error: FULL }]);
    },
  );

  it("writes the event of a decision at the time of the decision", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const number = await storeNumber(store, profile);
    const message = aScheduled(profile);
    await write(store, { messages: [message] });
    await release(message, { ...senderOf(number), status: "queued", decision: aMessage(number).decision });
    expect(await eventsOf(store, message)).toMatchObject([
      { kind: "decided", status: "queued", messageId: message.id, at: DUE + 5, error: undefined },
    ]);
  });

  it("a message without room stays scheduled, and is due again at the moment to which it was deferred", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const [early, late] = [aScheduled(profile), aScheduled(profile, { sendAt: DUE + SECOND })];
    await write(store, { messages: [early, late] });
    const { messages: due } = await store.listDueMessages(DUE, 10);
    expect(due).toEqual([readOf(early)]);
    await release(early, {}, DUE + 5 * SECOND);
    expect(await stored(early)).toEqual(early);
    expect(await store.listDueMessages(DUE, 10)).toEqual({ messages: [], nextAt: DUE + SECOND });
    const both = await store.listDueMessages(DUE + 5 * SECOND, 10);
    expect(both).toEqual({ messages: [readOf(late), readOf(early)], nextAt: undefined });
    expect(await eventsOf(store, early)).toEqual([]);
    expect(await factsOf(early)).toMatchObject([{ message: early }]);
  });

  it("messages that wait for room are not due, but listed by lane, in the order of their moments", async () => {
    const { store } = subject();
    const profiles = [await storeProfile(store), await storeProfile(store)] as const;
    const number = await storeNumber(store, profiles[0]);
    const lanes = [{}, senderOf(number)].flatMap((sender) =>
      [2, 0, 1].map((at) => aScheduled(profiles[0], { ...sender, sendAt: DUE + at })),
    );
    const others = [0, 1].map((at) => aScheduled(profiles[1], { sendAt: DUE + at }));
    await write(store, { messages: [...lanes, ...others] });
    expect(await store.listWaitingLanes(10)).toEqual([]);
    for (const message of [...lanes, ...others]) await release(message, {});
    expect(await store.listDueMessages(DUE + HOUR, 10)).toEqual({ messages: [], nextAt: undefined });
    const found = await store.listWaitingLanes(10);
    const expected = [lanes[0], lanes[3], others[0]].map((message) => {
      const { organizationId, messagingProfileId, phoneNumberId } = message as Message;
      return { organizationId, messagingProfileId, phoneNumberId };
    });
    expect(found.toSorted(byLane)).toEqual(expected.toSorted(byLane));
    expect(await store.listWaitingLanes(2)).toEqual(found.slice(0, 2));
    expect(await store.listWaitingLanes(2, found[1])).toEqual(found.slice(2));
    expect(await store.listWaitingLanes(2, found[2])).toEqual([]);
    const inLane = (all: Message[], limit: number) =>
      all
        .toSorted((one, other) => (one.sendAt ?? 0) - (other.sendAt ?? 0))
        .slice(0, limit)
        .map(readOf);
    expect(await store.listWaitingMessages(expected, 2)).toEqual([
      ...inLane(lanes.slice(0, 3), 2),
      ...inLane(lanes.slice(3), 2),
      ...inLane(others, 2),
    ]);
    expect(await store.listWaitingMessages([], 2)).toEqual([]);
    await release(others[0] as Message, {}, DUE + SECOND);
    expect(await store.listWaitingMessages(expected.slice(2), 5)).toEqual(inLane(others.slice(1), 5));
    expect(await store.listDueMessages(DUE + SECOND, 10)).toMatchObject({ messages: [readOf(others[0] as Message)] });
    for (const message of lanes) await store.cancelMessage(message.organizationId, message.id, DUE);
    expect(await store.listWaitingLanes(10)).toHaveLength(1);
  });

  it("scheduled and queued messages expire at their valid_until, earliest first, whatever they wait for", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const number = await storeNumber(store, profile, { state: "paused" });
    const long = aMessage(number, { validUntil: DUE + HOUR });
    const short = aMessage(number, { validUntil: DUE + 2, parts: 2 });
    const putOff = aMessage(number, { status: "sending", validUntil: DUE + 3 });
    const waiting = aScheduled(profile, { sendAt: DUE, validUntil: DUE + 1 });
    const sent = aMessage(number, { status: "sent", validUntil: DUE + 1 });
    await write(store, { messages: [long, short, putOff, waiting, sent] });
    await report(store, putOff, { kind: "deferred", at: NOON, carrierCode: "088", retryAt: DUE + HOUR });
    expect(await store.expireMessages(DUE, 10)).toEqual([]);
    const first = await store.expireMessages(DUE + 2, 1);
    expect(first).toMatchObject([{ messageId: waiting.id, status: "expired", reported: 0, queuedSegments: 0 }]);
    const second = await store.expireMessages(DUE + 2, 10);
    const end = { status: "expired", reported: 1, queuedSegments: -2, phoneNumberId: number.id };
    expect(second).toMatchObject([{ messageId: short.id, ...end }]);
    expect(await store.expireMessages(DUE + 3, 10)).toMatchObject([{ messageId: putOff.id, queuedSegments: -1 }]);
    expect(await store.expireMessages(DUE + 3, 10)).toEqual([]);
    for (const message of [short, waiting]) {
      expect(await stored(message)).toMatchObject({ status: "expired", completedAt: DUE + 2 });
      expect(await eventsOf(store, message)).toMatchObject([{ kind: "expired", at: DUE + 2 }]);
    }
    expect([await stored(long), await stored(sent)]).toEqual([long, sent]);
    expect(await store.measureQueue()).toEqual({ messages: 1, oldestId: long.id });
  });

  it("a policy that throws rolls the whole release back", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const messages = [aScheduled(profile), aScheduled(profile)];
    await write(store, { messages });
    await expect(store.releaseScheduled(messages.map(readOf), NEVER)).rejects.toThrow("this policy must not run");
    expect(await factsOf(...messages)).toHaveLength(2);
    for (const message of messages)
      expect([await stored(message), await eventsOf(store, message)]).toEqual([message, []]);
    expect((await store.listDueMessages(DUE, 10)).messages).toHaveLength(2);
  });

  it("a message that was cancelled meanwhile is not released, whatever happens to the others", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const number = await storeNumber(store, profile);
    const messages = [aScheduled(profile), aScheduled(profile), aScheduled(profile)];
    await write(store, { messages });
    const { messages: due } = await store.listDueMessages(DUE, 10);
    const cancelled = messages[1] as Message;
    expect((await store.cancelMessage(profile.organizationId, cancelled.id, DUE)).kind).toBe("cancelled");
    await store.releaseScheduled(due, (facts) => ({
      ...changesOfReleased(
        facts.map(({ message }) => ({
          message: { ...message, ...senderOf(number), status: "queued" as const, decision: aMessage(number).decision },
          at: DUE,
          retryAt: undefined,
        })),
      ),
    }));
    const statuses = await Promise.all(messages.map(async (message) => (await stored(message))?.status));
    expect(statuses).toEqual(["queued", "cancelled", "queued"]);
    expect(await store.listDueMessages(DUE + HOUR, 10)).toEqual({ messages: [], nextAt: undefined });
  });

  it("a message is released once by two concurrent releases", async ({ skip }) => {
    const { store, another } = subject();
    if (another === undefined) return skip("this store cannot be opened twice");
    const stores = [store, await another()];
    const profile = await storeProfile(store);
    const number = await storeNumber(store, profile);
    const messages = Array.from({ length: 10 }, () => aScheduled(profile));
    await write(store, { messages });
    const released: string[] = [];
    const decision = aMessage(number).decision;
    await Promise.all(
      stores.map(async (each) => {
        const { messages: due } = await each.listDueMessages(DUE, 100);
        await each.releaseScheduled(due, (facts) => {
          released.push(...facts.map(({ message }) => message.id));
          return {
            ...changesOfReleased(
              facts.map(({ message }) => ({
                message: { ...message, ...senderOf(number), status: "queued" as const, decision },
                at: DUE,
                retryAt: undefined,
              })),
            ),
          };
        });
      }),
    );
    expect(released.toSorted()).toEqual(idsOf(messages).toSorted());
    for (const message of messages) expect(await eventsOf(store, message)).toHaveLength(1);
  });
}
