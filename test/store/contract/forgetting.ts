import fc from "fast-check";
import { expect, it } from "vitest";
import { createIds, earliestId } from "../../../src/domain/ids.ts";
import type { Message, MessageStatus } from "../../../src/domain/message.ts";
import type { Store } from "../../../src/store/store.ts";
import {
  aScheduled,
  eventsOf,
  HOUR,
  idsOf,
  NOON,
  report,
  SECOND,
  storeMessage,
  storeMessages,
  storeNumber,
  storeProfile,
  write,
} from "./records.ts";
import type { Subject } from "./subject.ts";

const OPEN: readonly MessageStatus[] = ["queued", "sending", "sent"];
const ENDED: readonly MessageStatus[] = [
  "delivered",
  "delivery_failed",
  "delivery_unconfirmed",
  "sending_failed",
  "expired",
  "cancelled",
];
const NEVER_YET = { keys: 0, recentSends: 0, stickyMappings: 0, unmatchedReceipts: 0 };

/** Retention of old messages and of unmatched receipts. */
export function forgetting(subject: Subject): void {
  const idAt = createIds((bytes) => new Uint8Array(bytes).fill(7));
  const isThere = async ({ organizationId, id }: Message) =>
    (await subject().store.getMessage(organizationId, id)) !== undefined;
  /** Every step of one round over an organization. */
  const forget = async (organizationId: string, before: string, limit: number): Promise<number[]> => {
    const steps: number[] = [];
    let after: string | undefined;
    do {
      const step = await subject().store.forgetMessages({ organizationId, before, after, limit });
      expect(step.forgotten).toBeLessThanOrEqual(limit);
      steps.push(step.forgotten);
      after = step.next;
      if (steps.length > 100) throw new Error("the round has no end");
    } while (after !== undefined);
    return steps;
  };

  it("forgets messages of one organization that ended before a moment, in steps of any size, and no others", async () => {
    const { store } = subject();
    const numbers = [
      await storeNumber(store, await storeProfile(store)),
      await storeNumber(store, await storeProfile(store)),
    ] as const;
    const status = fc.constantFrom(...OPEN, ...ENDED);
    const given = fc.array(fc.tuple(fc.integer({ min: 0, max: 9 }), status, fc.boolean()), { maxLength: 12 });
    let day = NOON;
    await fc.assert(
      fc.asyncProperty(
        given,
        fc.integer({ min: 0, max: 10 }),
        fc.integer({ min: 1, max: 14 }),
        async (all, until, limit) => {
          // Later runs use later days, so that the messages of earlier runs come first.
          day += 24 * HOUR;
          const messages: [Message, number][] = [];
          for (const [after, each, isForeign] of all.toSorted(([one], [other]) => one - other)) {
            const id = idAt(day + after * SECOND);
            messages.push([await storeMessage(store, numbers[isForeign ? 1 : 0], { id, status: each }), after]);
          }
          await forget(numbers[0].organizationId, earliestId(day + until * SECOND), limit);
          for (const [message, after] of messages) {
            const isOld = ENDED.includes(message.status) && after < until;
            const isForgotten = isOld && message.organizationId === numbers[0].organizationId;
            expect(await isThere(message)).toBe(!isForgotten);
          }
        },
      ),
      { numRuns: 15 },
    );
  });

  it("open and scheduled messages are never forgotten, however many steps read them", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const number = await storeNumber(store, profile);
    const scheduled = aScheduled(profile);
    await write(store, { messages: [scheduled] });
    const open = [scheduled, ...(await storeMessages(store, number, ...OPEN.map((status) => ({ status }))))];
    const ended = await storeMessages(store, number, ...ENDED.map((status) => ({ status })));
    const counts = await forget(profile.organizationId, earliestId(NOON + HOUR), 3);
    expect(counts.reduce((sum, each) => sum + each)).toBe(ended.length);
    expect(await Promise.all(open.map(isThere))).toEqual(open.map(() => true));
    expect(await Promise.all(ended.map(isThere))).toEqual(ended.map(() => false));
    expect(await forget(profile.organizationId, earliestId(NOON + HOUR), 100)).toEqual([0]);
    expect((await store.measureQueue()).messages).toBe(1);
  });

  it("continues from its cursor, up to the end of the range", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    const ended = { status: "delivered" } as const;
    const messages = await storeMessages(store, number, ended, ended, ended, ended, ended);
    const [first, , third, , last] = idsOf(messages) as [string, string, string, string, string];
    const { organizationId } = number;
    const between = { organizationId, before: last, after: first, limit: 2 };
    expect(await store.forgetMessages(between)).toEqual({ forgotten: 2, next: third });
    expect(await store.forgetMessages({ ...between, after: third })).toMatchObject({ forgotten: 1, next: undefined });
    expect(await Promise.all(messages.map(isThere))).toEqual([true, false, false, false, true]);
  });

  it("a message's events are deleted with it, and those of others stay", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    const [old, young] = await storeMessages(store, number, { status: "sending" }, { status: "sending" });
    if (old === undefined || young === undefined) throw new Error("nothing was stored");
    for (const message of [old, young]) await report(store, message, { kind: "delivered", at: NOON });
    await forget(number.organizationId, young.id, 10);
    expect([await eventsOf(store, old), (await eventsOf(store, young)).length]).toEqual([[], 1]);
    expect(idsOf((await store.listMessages(number.organizationId, { after: undefined, limit: 10 })).rows)).toEqual([
      young.id,
    ]);
  });

  it("a receipt about a forgotten message does nothing, and health stays as it was", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    const message = await storeMessage(store, number, { status: "sending" });
    await report(
      store,
      message,
      { kind: "accepted", at: NOON, carrierMessageId: "c-1" },
      { kind: "delivered", at: NOON },
    );
    await forget(number.organizationId, earliestId(NOON + HOUR), 10);
    const before = await store.loadPoolNumber(number.id);
    const target = { carrier: "sandbox", carrierMessageId: "c-1" };
    const [applied] = await store.applyReports([{ target, report: { kind: "delivered", at: NOON + HOUR } }]);
    expect(applied).toMatchObject({ messageId: undefined, reported: 0, health: undefined });
    expect(await store.loadPoolNumber(number.id)).toEqual(before);
  });

  it("unmatched receipts are forgotten when they are too old, at most the limit in one call", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    const receive = (carrierMessageId: string, at: number) =>
      store.applyReports([{ target: { carrier: "sandbox", carrierMessageId }, report: { kind: "delivered", at } }]);
    for (const hour of [0, 1, 2, 3, 4]) await receive(`c-${hour}x`, NOON + hour * HOUR);
    expect(await store.forget({ ...NEVER_YET, unmatchedReceipts: NOON }, 10)).toBe(0);
    const before = { ...NEVER_YET, unmatchedReceipts: NOON + 3 * HOUR };
    expect(await store.forget(before, 2)).toBe(2);
    expect(await store.forget(before, 2)).toBe(1);
    expect(await store.forget(before, 2)).toBe(0);
    const followed = await Promise.all(
      [0, 1, 2, 3, 4].map((hour) =>
        followedBy(store, storeMessage(store, number, { status: "sending" }), `c-${hour}x`),
      ),
    );
    expect(followed).toEqual([0, 0, 0, 1, 1]);
  });

  it("the age of an unmatched receipt starts when it was received, whatever the carrier's clock says", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    const receive = (carrierMessageId: string, at: number, receivedAt: number) =>
      store.applyReports([
        { target: { carrier: "sandbox", carrierMessageId }, report: { kind: "delivered", at }, receivedAt },
      ]);
    await receive("c-early", NOON - 100 * HOUR, NOON);
    await receive("c-late", NOON + 100 * HOUR, NOON - 1);
    expect(await store.forget({ ...NEVER_YET, unmatchedReceipts: NOON }, 10)).toBe(1);
    const message = () => storeMessage(store, number, { status: "sending" });
    expect(await followedBy(store, message(), "c-early")).toBe(1);
    expect(await followedBy(store, message(), "c-late")).toBe(0);
  });
}

async function followedBy(store: Store, message: Promise<Message>, carrierMessageId: string): Promise<number> {
  const [applied] = await report(store, await message, { kind: "accepted", at: NOON, carrierMessageId });
  return applied?.followed.length ?? 0;
}
