import { expect, it } from "vitest";
import { NO_EVIDENCE } from "../../../src/domain/health.ts";
import type { PhoneNumber } from "../../../src/domain/phone-number-record.ts";
import {
  aProfile,
  BLOCKED_AS_SPAM,
  claimOne,
  expectHealth,
  HOUR,
  idsOf,
  NOON,
  newId,
  report,
  SECOND,
  storeMessage,
  storeMessages,
  storeNumber,
  storeProfile,
  TODAY,
} from "./records.ts";
import type { Subject } from "./subject.ts";

/** The rows from which pools are built. */
export function poolRows(subject: Subject): void {
  const trafficOf = async (id: string) => (await subject().store.loadPoolNumber(id))?.traffic;

  it("gives the profile with its numbers, and no other numbers", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const other = aProfile(profile.organizationId);
    await store.insertProfile(other);
    const numbers = [
      await storeNumber(store, profile, { state: "paused" }),
      await storeNumber(store, profile, { lineType: "toll_free", segmentsPerSecond: 3 }),
    ];
    await storeNumber(store, other);
    await storeNumber(store, profile, { messagingProfileId: undefined });
    const rows = await store.loadPool(profile.organizationId, profile.id);
    expect(rows?.profile).toEqual(profile);
    expect(rows?.numbers).toHaveLength(2);
    expect(rows?.numbers.map(({ number }) => number)).toEqual(expect.arrayContaining(numbers));
  });

  it("steps through the health of numbers that are assigned, whatever their organization", async () => {
    const { store } = subject();
    const profiles = [await storeProfile(store), await storeProfile(store)];
    const numbers = [];
    for (const profile of [...profiles, ...profiles]) {
      const number = await storeNumber(store, profile);
      const message = await storeMessage(store, number);
      await claimOne(store, number, NOON);
      await report(store, message, { kind: "accepted", at: NOON, carrierMessageId: number.id });
      await report(store, message, { kind: "failed", at: NOON, error: BLOCKED_AS_SPAM, carrierCode: "" });
      numbers.push(number);
    }
    await store.updateNumber(profiles[0]?.organizationId ?? "", numbers[0]?.id ?? "", (number) => ({
      ...number,
      messagingProfileId: undefined,
    }));
    const found: unknown[] = [];
    let after: string | undefined;
    do {
      const step = await store.listHealth(2, after);
      expect(step.rows.length).toBeLessThanOrEqual(2);
      found.push(...step.rows);
      after = step.next;
    } while (after !== undefined);
    const health = expect.objectContaining({ failed: 1, spam: 1 });
    expect(found).toEqual(
      numbers
        .slice(1)
        .map(({ organizationId, messagingProfileId }) => ({ organizationId, messagingProfileId, health })),
    );
  });

  it("gives a profile without numbers, and undefined for an unknown one", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    expect(await store.loadPool(profile.organizationId, profile.id)).toEqual({ profile, numbers: [] });
    expect(await store.loadPool(profile.organizationId, newId())).toBeUndefined();
    expect(await store.loadPoolNumber(newId())).toBeUndefined();
  });

  it("gives one number by its id alone, assigned or not, with the same traffic as in its pool", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const number = await storeNumber(store, profile);
    const free = await storeNumber(store, profile, { messagingProfileId: undefined });
    await storeMessages(store, number, { parts: 3 }, { parts: 2 });
    const rows = await store.loadPool(profile.organizationId, profile.id);
    expect(await store.loadPoolNumber(number.id)).toEqual(rows?.numbers[0]);
    expect((await store.loadPoolNumber(free.id))?.number).toEqual(free);
  });

  it("an unused number has no traffic", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    expect(await trafficOf(number.id)).toMatchObject({
      health: NO_EVIDENCE,
      dueAt: 0,
      queuedSegments: 0,
      unreported: 0,
      usedToday: 0,
    });
  });

  it("counts the segments of the messages that are still in a number's queue", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const number = await storeNumber(store, profile);
    const neighbour = await storeNumber(store, profile);
    await storeMessages(store, neighbour, { parts: 10 });
    await storeMessages(store, number, { parts: 4 }, { parts: 2 }, { parts: 1 });
    await storeMessage(store, number, { parts: 9, status: "delivered", completedAt: NOON });
    await storeMessage(store, number, { parts: 9, status: "cancelled", completedAt: NOON });
    expect(await trafficOf(number.id)).toMatchObject({ queuedSegments: 7, unreported: 3 });
    await claimOne(store, number, NOON);
    expect(await trafficOf(number.id)).toMatchObject({ queuedSegments: 3 });
    expect(await trafficOf(neighbour.id)).toMatchObject({ queuedSegments: 10, unreported: 1 });
  });

  it("counts unreported messages up to a bound, however many await receipts, and all of them below it", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    const sent = await storeMessages(
      store,
      number,
      ...Array.from({ length: 103 }, () => ({ status: "sent", sentAt: NOON }) as const),
    );
    await storeMessages(store, number, {}, {});
    expect((await trafficOf(number.id))?.unreported).toBe(Number.POSITIVE_INFINITY);
    const target = (message: (typeof sent)[number]) => ({
      target: { organizationId: message.organizationId, messageId: message.id },
      report: { kind: "delivered", at: NOON } as const,
    });
    await store.applyReports(sent.slice(0, 4).map(target));
    expect((await trafficOf(number.id))?.unreported).toBe(Number.POSITIVE_INFINITY);
    await store.applyReports(sent.slice(4, 5).map(target));
    expect((await trafficOf(number.id))?.unreported).toBe(100);
  });

  it("gives when a number is due again", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store), { segmentsPerSecond: 0.3 });
    await storeMessage(store, number, { parts: 2 });
    const { dueAt } = await claimOne(store, number, NOON);
    expect(dueAt).toBeUndefined();
    expect((await trafficOf(number.id))?.dueAt).toBeCloseTo(NOON - 20 + (2 * SECOND) / 0.3, 6);
  });

  it("gives a number's health", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    const [first, second] = await storeMessages(store, number, {}, {});
    if (first !== undefined) await report(store, first, { kind: "delivered", at: NOON });
    const blocked = { kind: "failed", at: NOON, error: BLOCKED_AS_SPAM, carrierCode: "1" } as const;
    if (second !== undefined) await report(store, second, blocked);
    const health = { delivered: 1, failed: 1, spam: 1, inbound: 0, asOf: NOON };
    expectHealth((await trafficOf(number.id))?.health, health);
  });

  it("gives every number a sequence of its own, which grows with each registration", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const foreign = await storeProfile(store);
    const places: number[] = [];
    for (const owner of [profile, foreign, profile, profile]) {
      const number = await storeNumber(store, owner);
      places.push((await trafficOf(number.id))?.sequence ?? Number.NaN);
    }
    const last = await storeNumber(store, profile);
    places.push((await trafficOf(last.id))?.sequence ?? Number.NaN);
    await store.removeNumber(profile.organizationId, last.id);
    const next = await storeNumber(store, profile);
    places.push((await trafficOf(next.id))?.sequence ?? Number.NaN);
    expect(places.every((place, index) => index === 0 || place > (places[index - 1] as number))).toBe(true);
  });

  it("sums the segments that a number used in a day, and starts again on the next", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const number = await storeNumber(store, profile, { dailySegmentLimit: 100 });
    const neighbour = await storeNumber(store, profile, { dailySegmentLimit: 100 });
    const unlimited = await storeNumber(store, profile);
    const send = async (from: PhoneNumber, at: number, parts: number) => {
      const message = await storeMessage(store, from, { parts, queuedAt: at, validUntil: at + HOUR });
      expect(idsOf((await claimOne(store, from, at)).messages)).toEqual([message.id]);
    };
    await send(number, NOON, 3);
    await send(number, NOON + HOUR, 4);
    expect(await trafficOf(number.id)).toMatchObject({ usedDay: TODAY, usedToday: 7 });
    await storeMessage(store, number, { parts: 9 });
    expect(await trafficOf(number.id)).toMatchObject({ usedDay: TODAY, usedToday: 7, queuedSegments: 9 });
    expect((await claimOne(store, number, NOON + 2 * HOUR)).messages).toHaveLength(1);
    await send(number, NOON + 24 * HOUR, 2);
    expect(await trafficOf(number.id)).toMatchObject({ usedDay: TODAY + 1, usedToday: 2 });
    expect((await trafficOf(neighbour.id))?.usedToday).toBe(0);
    // A limit that is set at noon includes the morning's usage.
    await send(unlimited, NOON, 2);
    expect(await trafficOf(unlimited.id)).toMatchObject({ usedDay: TODAY, usedToday: 2 });
  });

  it("sends what its daily limit allows and no more, and the rest on the next day", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store), {
      dailySegmentLimit: 100,
      segmentsPerSecond: 1_000,
    });
    const midnight = (TODAY + 1) * 24 * HOUR;
    const validUntil = midnight + 48 * HOUR;
    const accept = (at: number) =>
      storeMessages(
        store,
        number,
        ...Array.from({ length: 100 }, () => ({ queuedAt: at, receivedAt: at, validUntil })),
      );
    const sendAll = async (from: number, until: number) => {
      let sent = 0;
      for (let at = from; at < until; ) {
        const { messages, dueAt } = await claimOne(store, number, at);
        sent += messages.length;
        if (dueAt === undefined) break;
        at = Math.max(dueAt, at + 1);
      }
      return sent;
    };
    await accept(midnight - SECOND);
    expect(await sendAll(midnight - SECOND, midnight)).toBe(100);
    await accept(midnight + SECOND);
    await accept(midnight + SECOND);
    expect(await sendAll(midnight + SECOND, midnight + 24 * HOUR)).toBe(100);
    expect(await claimOne(store, number, midnight + 2 * HOUR)).toMatchObject({
      messages: [],
      dueAt: midnight + 24 * HOUR,
      freeAt: midnight + 24 * HOUR,
    });
    // A raised limit applies at once.
    await store.updateNumber(number.organizationId, number.id, (current) => ({ ...current, dailySegmentLimit: 130 }));
    expect(await sendAll(midnight + 2 * HOUR, midnight + 24 * HOUR)).toBe(30);
    expect(await sendAll(midnight + 24 * HOUR, midnight + 48 * HOUR)).toBe(70);
  });

  it("expires and cancels messages that wait for the next day, and overtakes no message that is too long for today", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store), {
      dailySegmentLimit: 5,
      segmentsPerSecond: 1_000,
    });
    const midnight = (TODAY + 1) * 24 * HOUR;
    const long = { validUntil: midnight + HOUR };
    const [first, short, unwanted, three, one] = await storeMessages(
      store,
      number,
      { parts: 4, ...long },
      { parts: 2, validUntil: NOON + HOUR },
      { ...long },
      { parts: 3, ...long },
      { parts: 1, ...long },
    );
    const claimed = await claimOne(store, number, NOON);
    expect(idsOf(claimed.messages)).toEqual([first?.id]);
    expect((await claimOne(store, number, NOON + SECOND)).messages).toEqual([]);
    expect((await store.cancelMessage(number.organizationId, unwanted?.id ?? "", NOON + SECOND)).kind).toBe(
      "cancelled",
    );
    expect(await store.expireMessages(NOON + HOUR, 10)).toMatchObject([{ messageId: short?.id, status: "expired" }]);
    expect(await claimOne(store, number, NOON + HOUR)).toMatchObject({ messages: [], dueAt: midnight });
    const sent: string[] = [];
    for (let at = midnight; at < midnight + SECOND; at += 20) {
      sent.push(...idsOf((await claimOne(store, number, at)).messages));
    }
    expect(sent).toEqual([three?.id, one?.id]);
  });

  it("counts submits, not messages: a deferred message counts again", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store), { dailySegmentLimit: 2 });
    const message = await storeMessage(store, number);
    for (const at of [NOON, NOON + HOUR]) {
      expect(idsOf((await claimOne(store, number, at)).messages)).toEqual([message.id]);
      await report(store, message, { kind: "deferred", at, carrierCode: "busy", retryAt: at + SECOND });
    }
    const { messages, dueAt } = await claimOne(store, number, NOON + 2 * HOUR);
    expect([messages, dueAt]).toEqual([[], (TODAY + 1) * 24 * HOUR]);
  });
}
