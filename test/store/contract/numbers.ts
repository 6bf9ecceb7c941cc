import fc from "fast-check";
import { expect, it } from "vitest";
import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import { NO_EVIDENCE } from "../../../src/domain/health.ts";
import type { Message } from "../../../src/domain/message.ts";
import type { MessagingProfile } from "../../../src/domain/messaging-profile.ts";
import type { PhoneNumber } from "../../../src/domain/phone-number-record.ts";
import type { NumberQuery } from "../../../src/store/numbers.ts";
import {
  ALL,
  aNumber,
  aProfile,
  claimOne,
  eventsOf,
  expectHealth,
  FAILED_BY_SENDER,
  HOUR,
  idsOf,
  NEVER,
  NOON,
  newE164,
  newId,
  report,
  SECOND,
  storeMessage,
  storeMessages,
  storeNumber,
  storeProfile,
} from "./records.ts";
import type { Subject } from "./subject.ts";

/** Phone numbers. */
export function numbers(subject: Subject): void {
  it("gives back every field of a number", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const fields = fc.record({
      messagingProfileId: fc.constantFrom(profile.id, undefined),
      carrier: fc.constantFrom("sandbox", "carrier-2"),
      lineType: fc.constantFrom("long_code", "toll_free"),
      segmentsPerSecond: fc.double({ min: 0.001, max: 10_000, noNaN: true }),
      dailySegmentLimit: fc.option(fc.nat(100_000_000), { nil: undefined }),
      state: fc.constantFrom("active", "draining", "paused"),
      countryCode: fc.constantFrom("US", "001"),
      tags: fc.array(fc.string({ unit: "grapheme", maxLength: 5 })),
      generation: fc.nat(),
      createdAt: fc.nat(2 * NOON),
      updatedAt: fc.nat(2 * NOON),
    });
    await fc.assert(
      fc.asyncProperty(fields, async (given) => {
        const number = aNumber(profile, given as Partial<PhoneNumber>);
        const written = { kind: "written", number, health: NO_EVIDENCE };
        expect(await store.insertNumber(number)).toEqual(written);
        expect(await store.getNumber(profile.organizationId, number.id)).toEqual({ number, health: NO_EVIDENCE });
      }),
      { numRuns: 50 },
    );
  });

  it("finds one by its id and by its phone number, and nothing by another's", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const { organizationId } = profile;
    const number = await storeNumber(store, profile);
    const other = await storeNumber(store, profile);
    expect((await store.getNumber(organizationId, number.id))?.number).toEqual(number);
    expect((await store.getNumber(organizationId, number.phoneNumber))?.number).toEqual(number);
    expect((await store.getNumber(organizationId, other.phoneNumber))?.number).toEqual(other);
    for (const unknown of [newId(), newE164(), number.phoneNumber.slice(1), number.phoneNumber.slice(0, -1), ""]) {
      expect(await store.getNumber(organizationId, unknown)).toBeUndefined();
    }
  });

  it("registers a phone number once in an organization, and keeps the first", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const number = await storeNumber(store, profile, { tags: ["first"] });
    const again = aNumber(profile, { phoneNumber: number.phoneNumber, messagingProfileId: undefined });
    expect(await store.insertNumber(again)).toEqual({ kind: "exists" });
    expect((await store.getNumber(profile.organizationId, number.phoneNumber))?.number).toEqual(number);
    expect(await store.getNumber(profile.organizationId, again.id)).toBeUndefined();
  });

  it("registers many at once: gives the outcome of each, and registers those that are not refused", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const { organizationId } = profile;
    const there = await storeNumber(store, profile);
    const [first, last] = [aNumber(profile), aNumber(profile, { messagingProfileId: undefined, tags: ["last"] })];
    const many = [
      first,
      aNumber(profile, { phoneNumber: there.phoneNumber }),
      aNumber(profile, { messagingProfileId: newId() }),
      aNumber(profile, { phoneNumber: first.phoneNumber }),
      last,
    ];
    expect(await store.insertNumbers(many)).toEqual(["written", "exists", "unknownProfile", "exists", "written"]);
    const { rows } = await store.listNumbers(organizationId, ALL);
    expect(rows.map(({ number }) => number)).toEqual([there, first, last]);
    expect(await store.insertNumbers([])).toEqual([]);
  });

  it("refuses a phone number that another organization has, and accepts it once it is removed there", async () => {
    const { store } = subject();
    const [mine, theirs] = [await storeProfile(store), await storeProfile(store)];
    const first = await storeNumber(store, mine);
    const [second, other] = [aNumber(theirs, { phoneNumber: first.phoneNumber }), aNumber(theirs)];
    expect(await store.insertNumber(second)).toEqual({ kind: "taken" });
    expect(await store.insertNumbers([second, other])).toEqual(["taken", "written"]);
    expect(await store.getNumber(theirs.organizationId, first.phoneNumber)).toBeUndefined();
    const asked = [first.phoneNumber, other.phoneNumber, newE164()];
    expect(await store.listTaken(theirs.organizationId, asked)).toEqual([first.phoneNumber]);
    expect(await store.listTaken(mine.organizationId, asked)).toEqual([other.phoneNumber]);
    expect(await store.insertNumber(aNumber(mine, { phoneNumber: first.phoneNumber }))).toEqual({ kind: "exists" });
    await store.removeNumber(mine.organizationId, first.phoneNumber);
    expect((await store.insertNumber(second)).kind).toBe("written");
  });

  it("gives a phone number to one of two organizations that register it at the same time", async ({ skip }) => {
    const { store, another } = subject();
    if (another === undefined) return skip();
    const stores = [store, await another()];
    const profiles = [await storeProfile(store), await storeProfile(store)];
    for (let turn = 0; turn < 20; turn += 1) {
      const phoneNumber = newE164();
      const written = await Promise.all(
        stores.map((each, index) => each.insertNumber(aNumber(profiles[index] as MessagingProfile, { phoneNumber }))),
      );
      expect(written.map(({ kind }) => kind).sort()).toEqual(["taken", "written"]);
    }
  });

  it("registers a phone number for two organizations where it may be shared", async () => {
    const { store } = subject();
    const [mine, theirs] = [await storeProfile(store), await storeProfile(store)];
    const first = await storeNumber(store, mine);
    const second = aNumber(theirs, { phoneNumber: first.phoneNumber });
    expect((await store.insertNumber(second, true)).kind).toBe("written");
    expect((await store.getNumber(mine.organizationId, first.phoneNumber))?.number).toEqual(first);
    expect((await store.getNumber(theirs.organizationId, first.phoneNumber))?.number).toEqual(second);
    await store.removeNumber(mine.organizationId, first.phoneNumber);
    expect((await store.getNumber(theirs.organizationId, first.phoneNumber))?.number).toEqual(second);
  });

  it("registers no number in a profile that the organization does not have", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const foreign = await storeProfile(store);
    for (const messagingProfileId of [newId(), foreign.id]) {
      const number = aNumber(profile, { messagingProfileId });
      expect(await store.insertNumber(number)).toEqual({ kind: "unknownProfile" });
      expect(await store.getNumber(profile.organizationId, number.id)).toBeUndefined();
    }
    expect((await store.listNumbers(profile.organizationId, ALL)).total).toBe(0);
  });

  it("moves no number to a profile that the organization does not have", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const foreign = await storeProfile(store);
    const number = await storeNumber(store, profile);
    for (const messagingProfileId of [newId(), foreign.id]) {
      const move = (current: PhoneNumber) => ({ ...current, messagingProfileId });
      const written = await store.updateNumber(profile.organizationId, number.id, move);
      expect(written).toEqual({ kind: "unknownProfile" });
    }
    expect((await store.getNumber(profile.organizationId, number.id))?.number).toEqual(number);
  });

  it("lists by phone number, ascending or descending, as plain characters", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const given = ["+4930123456", "+12125550101", "+12125550100", "+442079460000", "+2901234", "+18005550199"];
    for (const phoneNumber of given) await storeNumber(store, profile, { phoneNumber });
    const listed = async (query: Partial<NumberQuery>) => {
      const { rows } = await store.listNumbers(profile.organizationId, { ...ALL, ...query });
      return rows.map(({ number }) => number.phoneNumber);
    };
    const sorted = ["+12125550100", "+12125550101", "+18005550199", "+2901234", "+442079460000", "+4930123456"];
    expect(await listed({})).toEqual(sorted);
    expect(await listed({ descending: false })).toEqual(sorted);
    expect(await listed({ descending: true })).toEqual(sorted.toReversed());
    expect(await listed({ offset: 1, limit: 3 })).toEqual(sorted.slice(1, 4));
    expect(await listed({ offset: 5, limit: 3 })).toEqual(sorted.slice(5));
    expect(await listed({ descending: true, offset: 4, limit: 9 })).toEqual(["+12125550101", "+12125550100"]);
  });

  it("filters by every field alone and together, and counts the matches", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const other = aProfile(profile.organizationId);
    await store.insertProfile(other);
    const lineTypes = ["long_code", "toll_free"] as const;
    const all: PhoneNumber[] = [];
    for (const messagingProfileId of [profile.id, other.id, undefined]) {
      for (const lineType of lineTypes) {
        all.push(await storeNumber(store, profile, { messagingProfileId, lineType }));
        all.push(await storeNumber(store, profile, { messagingProfileId, lineType }));
      }
    }
    const maybe = <Value>(value: fc.Arbitrary<Value>) => fc.option(value, { nil: undefined });
    const some = fc.subarray([...all.map(({ phoneNumber }) => phoneNumber), newE164()]);
    const query = fc.record({
      messagingProfileId: maybe(fc.constantFrom(profile.id, other.id, newId())),
      phoneNumbers: maybe(some),
      phoneNumberContains: maybe(fc.constantFrom("+1312", "1", "02", "%", "_", "+")),
      lineType: maybe(fc.constantFrom(...lineTypes)),
      descending: maybe(fc.boolean()),
      offset: fc.nat(3),
      limit: fc.nat(12),
    });
    await fc.assert(
      fc.asyncProperty(query, async (asked) => {
        const left = all
          .filter((n) => asked.messagingProfileId === undefined || n.messagingProfileId === asked.messagingProfileId)
          .filter((n) => asked.phoneNumbers?.includes(n.phoneNumber) ?? true)
          .filter((n) => n.phoneNumber.includes(asked.phoneNumberContains ?? ""))
          .filter((n) => asked.lineType === undefined || n.lineType === asked.lineType);
        if (asked.descending) left.reverse();
        const { rows, total } = await store.listNumbers(profile.organizationId, asked);
        expect(rows.map(({ number }) => number)).toEqual(left.slice(asked.offset, asked.offset + asked.limit));
        expect(total).toBe(left.length);
      }),
      { numRuns: 200 },
    );
  });

  it("gives a number's health with the number", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const number = await storeNumber(store, profile);
    await report(store, await storeMessage(store, number), { kind: "delivered", at: NOON });
    const health = { ...NO_EVIDENCE, delivered: 1, asOf: NOON };
    const { organizationId } = profile;
    expectHealth((await store.getNumber(organizationId, number.id))?.health, health);
    expectHealth((await store.getNumber(organizationId, number.phoneNumber))?.health, health);
    expectHealth((await store.listNumbers(organizationId, ALL)).rows[0]?.health, health);
    const written = await store.updateNumber(organizationId, number.id, (current) => ({ ...current, tags: ["x"] }));
    expectHealth(written.kind === "written" ? written.health : undefined, health);
    expectHealth((await store.removeNumber(organizationId, number.id))?.health, health);
  });

  it("resets a number's health, by id or by phone number", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const { organizationId } = profile;
    const neighbour = await storeNumber(store, profile);
    await report(store, await storeMessage(store, neighbour), { kind: "delivered", at: NOON });
    for (const name of ["id", "phoneNumber"] as const) {
      for (const hasOutcomes of [true, false]) {
        const number = await storeNumber(store, profile);
        if (hasOutcomes) {
          const failed = { kind: "failed", at: NOON, error: FAILED_BY_SENDER, carrierCode: "1" } as const;
          await report(store, await storeMessage(store, number), failed);
        }
        const found = await store.resetHealth(organizationId, number[name], NOON + SECOND);
        const health = { ...NO_EVIDENCE, asOf: NOON + SECOND, resetAt: NOON + SECOND };
        expect(found).toEqual({ number, health });
        expect(await store.getNumber(organizationId, number.id)).toEqual({ number, health });
        expect((await store.loadPoolNumber(number.id))?.traffic.health).toEqual(health);
        expect((await store.resetHealth(organizationId, number.id, NOON + HOUR))?.health.resetAt).toBe(NOON + HOUR);
      }
    }
    const untouched = { ...NO_EVIDENCE, delivered: 1, asOf: NOON };
    expectHealth((await store.getNumber(organizationId, neighbour.id))?.health, untouched);
    for (const unknown of [newId(), newE164()])
      expect(await store.resetHealth(organizationId, unknown, NOON)).toBeUndefined();
  });

  it("a reset excludes the outcomes of earlier submits, whenever their reports arrive, and no others", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store), { segmentsPerSecond: 1_000 });
    const messages = await storeMessages(store, number, {}, {}, {}, {});
    const [before, corrected, refused, other] = messages as [Message, Message, Message, Message];
    const failed = (at: number) => ({ kind: "failed", at, error: FAILED_BY_SENDER, carrierCode: "1" }) as const;
    const healthOf = async () => (await store.loadPoolNumber(number.id))?.traffic.health;
    expect((await claimOne(store, number, NOON)).messages).toHaveLength(4);
    await report(store, corrected, failed(NOON + 500));
    const reset = NOON + SECOND;
    await store.resetHealth(number.organizationId, number.id, reset);
    const nothing = { ...NO_EVIDENCE, asOf: reset, resetAt: reset };
    const [one] = await report(store, before, failed(NOON + 2 * SECOND));
    expect(one).toMatchObject({ status: "delivery_failed", health: undefined, reported: 1 });
    await report(store, corrected, { kind: "delivered", at: NOON + 2 * SECOND });
    await report(store, refused, {
      kind: "refused",
      at: NOON + 2 * SECOND,
      error: FAILED_BY_SENDER,
      carrierCode: "1",
    });
    expectHealth(await healthOf(), nothing);
    // Queued before, submitted after.
    const after = await storeMessage(store, number, { receivedAt: NOON });
    expect((await claimOne(store, number, reset)).messages).toHaveLength(1);
    const mixed = await store.applyReports(
      [other, after].map(({ organizationId, id: messageId }) => {
        return { target: { organizationId, messageId }, report: failed(reset) };
      }),
    );
    const counted = { ...nothing, failed: 1 };
    expect(mixed[0]?.health).toBeUndefined();
    expectHealth(mixed[1]?.health, counted);
    expectHealth(await healthOf(), counted);
    await report(store, after, { kind: "delivered", at: reset });
    expectHealth(await healthOf(), { ...nothing, delivered: 1 });
  });

  it("a reset among reports excludes every earlier submit", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    const sent = Array.from({ length: 30 }, () => ({ status: "sent", sentAt: NOON }) as const);
    const messages = await storeMessages(store, number, ...sent);
    const failed = { kind: "failed", at: NOON + SECOND, error: FAILED_BY_SENDER, carrierCode: "1" } as const;
    const reports = messages.map((message) => report(store, message, failed));
    reports.splice(15, 0, store.resetHealth(number.organizationId, number.id, NOON + SECOND) as Promise<never>);
    await Promise.all(reports);
    const health = (await store.loadPoolNumber(number.id))?.traffic.health;
    expect(health).toEqual({ ...NO_EVIDENCE, asOf: NOON + SECOND, resetAt: NOON + SECOND });
  });

  it("changes one by a policy, by id or by phone number, and gives the changed one", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const other = aProfile(profile.organizationId);
    await store.insertProfile(other);
    const neighbour = await storeNumber(store, profile);
    for (const name of ["id", "phoneNumber"] as const) {
      const number = await storeNumber(store, profile);
      const change = (current: PhoneNumber): PhoneNumber => ({
        ...current,
        messagingProfileId: other.id,
        segmentsPerSecond: 0.25,
        dailySegmentLimit: 5,
        state: "draining",
        tags: ["a", "b"],
        generation: 1,
        updatedAt: NOON + 1,
      });
      const written = await store.updateNumber(profile.organizationId, number[name], change);
      expect(written).toEqual({ kind: "written", number: change(number), health: NO_EVIDENCE });
      expect((await store.getNumber(profile.organizationId, number.id))?.number).toEqual(change(number));
    }
    expect((await store.getNumber(profile.organizationId, neighbour.id))?.number).toEqual(neighbour);
  });

  it("a policy that throws changes nothing, and its error reaches the caller", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const number = await storeNumber(store, profile);
    const error = new Error("the policy says no");
    const refuse = () => {
      throw error;
    };
    await expect(store.updateNumber(profile.organizationId, number.id, refuse)).rejects.toBe(error);
    expect((await store.getNumber(profile.organizationId, number.id))?.number).toEqual(number);
  });

  it("runs no policy on an unknown number", async () => {
    const { store } = subject();
    const { organizationId } = await storeProfile(store);
    for (const unknown of [newId(), newE164()]) {
      expect(await store.updateNumber(organizationId, unknown, NEVER)).toEqual({ kind: "unknownNumber" });
      expect(await store.removeNumber(organizationId, unknown)).toBeUndefined();
    }
  });

  it("a change of a number keeps its traffic", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const number = await storeNumber(store, profile, { dailySegmentLimit: 100 });
    const [first] = await storeMessages(store, number, {}, {});
    await claimOne(store, number, NOON);
    if (first !== undefined) await report(store, first, { kind: "delivered", at: NOON });
    const before = await store.loadPoolNumber(number.id);
    await store.updateNumber(profile.organizationId, number.id, (current) => ({ ...current, tags: ["x"] }));
    const after = await store.loadPoolNumber(number.id);
    expect(before?.traffic).toMatchObject({ queuedSegments: 1, dueAt: NOON - 20 + 1_000, usedToday: 1 });
    expect(after?.traffic).toEqual(before?.traffic);
    expect(after?.number.tags).toEqual(["x"]);
  });

  it("removes one, by id or by phone number, and gives what it was", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const { organizationId } = profile;
    const neighbour = await storeNumber(store, profile);
    for (const name of ["id", "phoneNumber"] as const) {
      const number = await storeNumber(store, profile);
      const removed = await store.removeNumber(organizationId, number[name]);
      expect(removed).toEqual({ number, health: NO_EVIDENCE });
      expect(await store.getNumber(organizationId, number.id)).toBeUndefined();
      expect(await store.getNumber(organizationId, number.phoneNumber)).toBeUndefined();
      expect(await store.loadPoolNumber(number.id)).toBeUndefined();
      expect(await store.removeNumber(organizationId, number[name])).toBeUndefined();
    }
    expect((await store.listNumbers(organizationId, ALL)).rows.map(({ number }) => number)).toEqual([neighbour]);
  });

  it("a removed number is gone at once, and its queue ends in small steps, deferred messages too", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const { organizationId } = profile;
    const number = await storeNumber(store, profile);
    const neighbour = await storeNumber(store, profile);
    const other = await storeMessage(store, neighbour);
    const [sending] = await storeMessages(store, number, {});
    const delivered = await storeMessage(store, number, { status: "delivered", sentAt: NOON, completedAt: NOON + 1 });
    expect(idsOf((await claimOne(store, number, NOON)).messages)).toEqual([sending?.id]);
    const putOff = await storeMessage(store, number, { queuedAt: NOON + 1 });
    expect((await claimOne(store, number, NOON + SECOND)).messages).toHaveLength(1);
    await report(store, putOff, { kind: "deferred", at: NOON + SECOND, carrierCode: "088", retryAt: NOON + HOUR });
    const waiting = await storeMessages(store, number, ...Array.from({ length: 249 }, () => ({ parts: 2 })));

    expect((await store.removeNumber(organizationId, number.id))?.number).toEqual(number);
    expect(await store.getNumber(organizationId, number.phoneNumber)).toBeUndefined();
    const again = await storeNumber(store, profile, { phoneNumber: number.phoneNumber });
    const fresh = await storeMessage(store, again);
    expect((await store.measureQueue()).messages).toBe(252);

    const steps: number[] = [];
    const ended: string[] = [];
    for (let dueAt: number | undefined = NOON + 2 * SECOND; dueAt !== undefined; ) {
      const claim: Awaited<ReturnType<typeof claimOne>> = await claimOne(store, number, NOON + 2 * SECOND);
      expect([claim.carrier, claim.messages]).toEqual([undefined, []]);
      steps.push(claim.expired.length);
      ended.push(...claim.expired.map(({ messageId }) => messageId ?? ""));
      dueAt = claim.dueAt;
    }
    expect(steps).toEqual([100, 100, 50]);
    expect(ended.toSorted()).toEqual(idsOf([putOff, ...waiting]).toSorted());
    const end = {
      status: "sending_failed",
      completedAt: NOON + 2 * SECOND,
      error: { reason: ErrorReason.INVALID_FROM, detail: "The number was removed while the message was queued." },
    } as const;
    for (const message of [waiting[0], waiting[248]] as Message[]) {
      expect(await store.getMessage(organizationId, message.id)).toEqual({ ...message, ...end });
      expect(await eventsOf(store, message)).toMatchObject([
        { kind: "sending_failed", status: "sending_failed", at: end.completedAt, error: end.error },
      ]);
    }
    expect((await store.getMessage(organizationId, putOff.id))?.status).toBe("sending_failed");
    expect((await store.getMessage(organizationId, sending?.id ?? ""))?.status).toBe("sending");
    expect((await eventsOf(store, sending as Message)).map(({ kind }) => kind)).toEqual(["sending"]);
    expect(await store.getMessage(organizationId, delivered.id)).toEqual(delivered);
    expect(await store.getMessage(organizationId, other.id)).toEqual(other);
    expect((await store.measureQueue()).messages).toBe(2);
    expect((await store.loadPoolNumber(again.id))?.traffic).toMatchObject({ queuedSegments: 1, unreported: 1 });
    expect(idsOf((await claimOne(store, again, NOON)).messages)).toEqual([fresh.id]);
  });

  it("one claim ends a bounded number of messages, however many of its numbers are gone", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const gone = [];
    for (let count = 0; count < 8; count++) {
      const number = await storeNumber(store, profile);
      await storeMessages(store, number, ...Array.from({ length: 30 }, () => ({})));
      await store.removeNumber(profile.organizationId, number.id);
      gone.push(number.id);
    }
    let left = 240;
    for (let due = gone; due.length > 0; ) {
      const claims = await store.claim({ now: NOON, owner: "process-1", phoneNumberIds: due, budgets: new Map() });
      const ended = claims.reduce((sum, { expired }) => sum + expired.length, 0);
      expect(ended).toBeLessThanOrEqual(100);
      expect(ended).toBeGreaterThan(left > 100 ? 80 : 0);
      left -= ended;
      due = claims.filter(({ dueAt }) => dueAt !== undefined).map(({ phoneNumberId }) => phoneNumberId);
    }
    expect((await store.measureQueue()).messages).toBe(0);
  });

  it("a number that is registered again has new health, queue, pace, usage and sequence", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const number = await storeNumber(store, profile, { dailySegmentLimit: 50 });
    const [first] = await storeMessages(store, number, {}, {});
    await claimOne(store, number, NOON);
    const failed = { kind: "failed", at: NOON, error: FAILED_BY_SENDER, carrierCode: "011" } as const;
    if (first !== undefined) await report(store, first, failed);
    const before = await store.loadPoolNumber(number.id);
    expect(before?.traffic.health.failed).toBe(1);
    await store.removeNumber(profile.organizationId, number.id);

    const again = { ...number, id: newId() };
    expect(await store.insertNumber(again)).toEqual({ kind: "written", number: again, health: NO_EVIDENCE });
    const after = await store.loadPoolNumber(again.id);
    expect(after?.traffic).toMatchObject({ health: NO_EVIDENCE, dueAt: 0, queuedSegments: 0, usedToday: 0 });
    expect(after?.traffic.sequence).toBeGreaterThan(before?.traffic.sequence ?? Number.POSITIVE_INFINITY);
  });
}
