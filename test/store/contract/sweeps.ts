import fc from "fast-check";
import { expect, it } from "vitest";
import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import type { AppliedReport } from "../../../src/domain/carrier-report.ts";
import { NO_EVIDENCE } from "../../../src/domain/health.ts";
import type { Message } from "../../../src/domain/message.ts";
import {
  claimOne,
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
} from "./records.ts";
import type { Subject } from "./subject.ts";

const WINDOW = 72 * HOUR;

/** Messages without receipts, processes that are gone, and unreported messages. */
export function sweeps(subject: Subject): void {
  const statusOf = async ({ organizationId, id }: Message) =>
    (await subject().store.getMessage(organizationId, id))?.status;
  /** Every step of one sweep. */
  const sweep = async (sentBefore: number, limit: number): Promise<AppliedReport[][]> => {
    const steps: AppliedReport[][] = [];
    let after: string | undefined;
    do {
      const { applied, next } = await subject().store.settleReceiptTimeouts({
        sentBefore,
        at: NOON + WINDOW,
        after,
        limit,
      });
      expect(applied.length).toBeLessThanOrEqual(limit);
      steps.push([...applied]);
      after = next;
      if (steps.length > 100) throw new Error("the sweep has no end");
    } while (after !== undefined);
    return steps;
  };

  it("a message that was sent long ago without a receipt becomes unconfirmed, and its number's health stays", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    const message = await storeMessage(store, number, { status: "sent", sentAt: NOON });
    expect(await store.settleReceiptTimeouts({ sentBefore: NOON, at: NOON, after: undefined, limit: 10 })).toEqual({
      applied: [],
      next: undefined,
    });
    const [applied] = (await sweep(NOON + 1, 10)).flat();
    expect(applied).toEqual({
      messageId: message.id,
      messagingProfileId: message.messagingProfileId,
      phoneNumberId: number.id,
      status: "delivery_unconfirmed",
      health: undefined,
      reported: 1,
      queuedSegments: 0,
      followed: [],
    });
    expect(await store.getMessage(message.organizationId, message.id)).toEqual({
      ...message,
      status: "delivery_unconfirmed",
      completedAt: NOON + WINDOW,
      error: { reason: ErrorReason.RECEIPT_MISSING, detail: expect.stringMatching(/\S/) },
    });
    expect((await store.loadPoolNumber(number.id))?.traffic).toMatchObject({ health: NO_EVIDENCE, unreported: 0 });
    expect(await eventsOf(store, message)).toMatchObject([
      { kind: "receipt_timeout", status: "delivery_unconfirmed", at: NOON + WINDOW },
    ]);
    expect((await sweep(NOON + WINDOW, 10)).flat()).toEqual([]);
  });

  it("a late receipt still corrects it", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    const message = await storeMessage(store, number, { status: "sent", sentAt: NOON });
    await sweep(NOON + 1, 10);
    const [late] = await report(store, message, { kind: "delivered", at: NOON + WINDOW + HOUR });
    expect(late).toMatchObject({ status: "delivered", reported: 0, health: { delivered: 1 } });
  });

  it("settles the messages that were sent before the moment and no others, in steps of any size", async () => {
    const { store } = subject();
    const others = ["queued", "sending", "delivered", "delivery_failed", "cancelled", "expired"] as const;
    const sent = fc.array(fc.tuple(fc.nat(2), fc.integer({ min: -2, max: 2 })), { maxLength: 14 });
    await fc.assert(
      fc.asyncProperty(sent, fc.integer({ min: 1, max: 16 }), async (given, limit) => {
        const profiles = [await storeProfile(store), await storeProfile(store)] as const;
        const numbers = [
          await storeNumber(store, profiles[0]),
          await storeNumber(store, profiles[0]),
          await storeNumber(store, profiles[1]),
        ] as const;
        const messages: Message[] = [];
        for (const [index, after] of given) {
          const number = numbers[index] ?? numbers[0];
          messages.push(await storeMessage(store, number, { status: "sent", sentAt: NOON + after }));
        }
        const kept = await storeMessages(
          store,
          numbers[0],
          ...others.map((status) => ({ status, sentAt: NOON - HOUR })),
        );
        const steps = await sweep(NOON, limit);
        const old = messages.filter(({ sentAt }) => (sentAt ?? 0) < NOON);
        expect(steps.flatMap((step) => step.map(({ messageId }) => messageId)).toSorted()).toEqual(
          idsOf(old).toSorted(),
        );
        for (const message of messages) {
          expect(await statusOf(message)).toBe(old.includes(message) ? "delivery_unconfirmed" : "sent");
        }
        expect(await Promise.all(kept.map(statusOf))).toEqual(others);
        await sweep(NOON + HOUR, 1_000);
      }),
      { numRuns: 12 },
    );
  });

  it("continues from its cursor although the message of the cursor was settled meanwhile", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    const old = { status: "sent", sentAt: NOON } as const;
    const messages = await storeMessages(store, number, old, old, old, old);
    const request = { sentBefore: NOON + 1, at: NOON + WINDOW, limit: 2 };
    const first = await store.settleReceiptTimeouts({ ...request, after: undefined });
    expect(first.applied).toHaveLength(2);
    const second = await store.settleReceiptTimeouts({ ...request, after: first.next });
    const settled = [...first.applied, ...second.applied].map(({ messageId }) => messageId);
    expect(settled.toSorted()).toEqual(idsOf(messages).toSorted());
  });

  it("a new process gets the settled messages of other processes, and later only new ones", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store), { segmentsPerSecond: 1_000 });
    const [lost, kept] = await storeMessages(store, number, { parts: 2 }, { parts: 10 }, {});
    await claimOne(store, number, NOON, "process-1");
    const heartbeat = (owner: string, now: number) => store.synchronize({ owner, now, backlog: [] });
    const first = await heartbeat("process-2", NOON + HOUR);
    expect(first.settled.map(({ messageId }) => messageId)).toEqual(expect.arrayContaining([lost?.id, kept?.id]));
    for (const settled of first.settled) {
      expect(settled).toMatchObject({
        messagingProfileId: number.messagingProfileId,
        phoneNumberId: number.id,
        status: "delivery_unconfirmed",
        reported: 1,
        queuedSegments: 0,
        health: undefined,
        followed: [],
      });
    }
    if (lost === undefined) throw new Error("nothing was stored");
    expect(await eventsOf(store, lost)).toMatchObject([
      { kind: "sending", status: "sending" },
      {
        kind: "submit_unconfirmed",
        status: "delivery_unconfirmed",
        at: NOON + HOUR,
      },
    ]);
    const own = await storeMessage(store, number);
    await claimOne(store, number, NOON + HOUR, "process-2");
    for (const after of [SECOND, 2 * SECOND])
      expect((await heartbeat("process-2", NOON + HOUR + after)).settled).toEqual([]);
    expect(await statusOf(own)).toBe("sending");
    expect((await heartbeat("process-2", NOON + HOUR)).backlog).toEqual([]);
  });

  it("a number's queued, sending and sent messages are unreported, and no others", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const number = await storeNumber(store, profile, { segmentsPerSecond: 1_000 });
    const unreported = async () =>
      (await store.loadPool(profile.organizationId, profile.id))?.numbers.map(({ traffic }) => traffic.unreported);
    const [first, second] = await storeMessages(store, number, {}, {}, {});
    const ended = [
      "delivered",
      "delivery_failed",
      "delivery_unconfirmed",
      "sending_failed",
      "expired",
      "cancelled",
    ] as const;
    await storeMessages(store, number, ...ended.map((status) => ({ status })));
    expect(await unreported()).toEqual([3]);
    await claimOne(store, number, NOON);
    expect(await unreported()).toEqual([3]);
    if (first === undefined || second === undefined) throw new Error("nothing was stored");
    await report(store, first, { kind: "accepted", at: NOON, carrierMessageId: "c-1" });
    expect(await unreported()).toEqual([3]);
    await report(store, first, { kind: "delivered", at: NOON });
    await report(store, second, { kind: "deferred", at: NOON, carrierCode: "", retryAt: NOON + SECOND });
    expect(await unreported()).toEqual([2]);
    expect((await store.loadPoolNumber(number.id))?.traffic.unreported).toBe(2);
  });
}
