import fc from "fast-check";
import { beforeEach, expect, it } from "vitest";
import type { MessagingProfile } from "../../../src/domain/messaging-profile.ts";
import { leaveProfile, type PhoneNumber } from "../../../src/domain/phone-number-record.ts";
import type { StickyMapping } from "../../../src/domain/recipient.ts";
import { LIST_SCAN } from "../../../src/store/pages.ts";
import type { MappingQuery, OptOut } from "../../../src/store/recipients.ts";
import { ALL, aProfile, HOUR, NOON, newId, read, SECOND, storeNumber, storeProfile, write } from "./records.ts";
import type { Subject } from "./subject.ts";

/** Sticky mappings and opt-outs. */
export function recipients(subject: Subject): void {
  let profile: MessagingProfile;
  let number: PhoneNumber;
  const nth = (index: number) => `+121255501${String(index).padStart(2, "0")}`;
  const aMapping = (to: string, given: Partial<StickyMapping> = {}): StickyMapping => ({
    organizationId: profile.organizationId,
    messagingProfileId: profile.id,
    to,
    phoneNumberId: number.id,
    profileGeneration: profile.stickyGeneration,
    numberGeneration: number.generation,
    lastMessageAt: NOON,
    ...given,
  });
  const anOptOut = (to: string, given: Partial<OptOut> = {}): OptOut => ({
    organizationId: profile.organizationId,
    messagingProfileId: profile.id,
    to,
    phoneNumber: "",
    keyword: "STOP",
    createdAt: NOON,
    ...given,
  });

  beforeEach(async () => {
    profile = await storeProfile(subject().store);
    number = await storeNumber(subject().store, profile, { generation: 2 });
  });

  mappings();
  optOuts();

  function mappings() {
    const list = (query: Partial<MappingQuery> = {}, since = 0) =>
      subject().store.listMappings(
        {
          organizationId: profile.organizationId,
          messagingProfileId: profile.id,
          profileGeneration: profile.stickyGeneration,
          since,
        },
        { after: undefined, limit: 100, ...query },
      );

    it("a send to the recipient finds the mapping that was put", async () => {
      const { store } = subject();
      const mapping = aMapping(nth(1));
      expect(await store.readRecipient(mapping)).toEqual({ optedOut: false, mapping: undefined });
      await store.putMapping(mapping);
      expect(await store.readRecipient(mapping)).toEqual({ optedOut: false, mapping });
      expect((await read(store, { recipients: [mapping] })).recipients).toEqual([{ optedOut: false, mapping }]);
      const next = aMapping(nth(1), { phoneNumberId: newId(), lastMessageAt: NOON + HOUR });
      await store.putMapping(next);
      expect((await store.readRecipient(mapping)).mapping).toEqual(next);
    });

    it("one call reads a bounded part of the list, and gives a cursor", async () => {
      const { store } = subject();
      const ofMany = (index: number) => `+1312${5_550_000 + index}`;
      // All but the last are invalid: their number has another generation.
      const void_ = Array.from({ length: LIST_SCAN }, (_, index) => aMapping(ofMany(index), { numberGeneration: 7 }));
      const last = aMapping(ofMany(LIST_SCAN));
      await write(store, { mappings: [...void_, last] });
      const first = await list();
      expect([first.rows, first.next]).toEqual([[], void_.at(-1)?.to]);
      expect(await list({ after: first.next })).toEqual({ rows: [last], next: undefined });
    });

    it("a mapping is removed once, and the removal gives it", async () => {
      const { store } = subject();
      const [mapping, other] = [aMapping(nth(1)), aMapping(nth(2))];
      for (const each of [mapping, other]) await store.putMapping(each);
      expect(await store.removeMapping(mapping)).toEqual(mapping);
      expect(await store.removeMapping(mapping)).toBeUndefined();
      expect((await store.readRecipient(mapping)).mapping).toBeUndefined();
      expect((await store.readRecipient(other)).mapping).toEqual(other);
    });

    it("mappings are listed by recipient, page by page, those of sends too", async () => {
      const { store } = subject();
      const all = [5, 1, 4, 2, 3].map((index) => aMapping(nth(index)));
      for (const mapping of all.slice(0, 3)) await store.putMapping(mapping);
      await write(store, { mappings: all.slice(3) });
      const sorted = all.toSorted((a, b) => (a.to < b.to ? -1 : 1));
      expect(await list()).toEqual({ rows: sorted });
      const first = await list({ limit: 2 });
      expect(first.rows).toEqual(sorted.slice(0, 2));
      const second = await list({ limit: 2, after: first.next });
      expect(second.rows).toEqual(sorted.slice(2, 4));
      expect(await list({ limit: 2, after: second.next })).toEqual({ rows: sorted.slice(4) });
      expect(await list({ limit: 5 })).toEqual({ rows: sorted });
    });

    it("mappings are filtered by number", async () => {
      const { store } = subject();
      const other = await storeNumber(store, profile);
      const mine = aMapping(nth(1));
      const theirs = aMapping(nth(2), { phoneNumberId: other.id, numberGeneration: other.generation });
      for (const mapping of [mine, theirs]) await store.putMapping(mapping);
      expect((await list({ phoneNumberId: number.id })).rows).toEqual([mine]);
      expect((await list({ phoneNumberId: other.id })).rows).toEqual([theirs]);
      expect((await list({ phoneNumberId: newId() })).rows).toEqual([]);
    });

    it("invalid and old mappings are not listed", async () => {
      const { store } = subject();
      const other = aProfile(profile.organizationId);
      await store.insertProfile(other);
      const elsewhere = await storeNumber(store, other);
      const left = await storeNumber(store, profile);
      const gone = await storeNumber(store, profile);
      const holds = aMapping(nth(1), { lastMessageAt: NOON + 1 });
      const others = [
        aMapping(nth(2), { lastMessageAt: NOON }),
        aMapping(nth(3), { lastMessageAt: NOON - HOUR }),
        aMapping(nth(4), { lastMessageAt: NOON + 1, profileGeneration: profile.stickyGeneration + 1 }),
        aMapping(nth(5), { lastMessageAt: NOON + 1, numberGeneration: number.generation - 1 }),
        aMapping(nth(6), { lastMessageAt: NOON + 1, messagingProfileId: other.id }),
        aMapping(nth(7), { lastMessageAt: NOON + 1, phoneNumberId: elsewhere.id, numberGeneration: 0 }),
        aMapping(nth(8), { lastMessageAt: NOON + 1, phoneNumberId: left.id, numberGeneration: 0 }),
        aMapping(nth(9), { lastMessageAt: NOON + 1, phoneNumberId: gone.id, numberGeneration: 0 }),
      ];
      for (const mapping of [...others, holds]) await store.putMapping(mapping);
      expect((await list({}, NOON)).rows).toHaveLength(3);
      await store.updateNumber(profile.organizationId, left.id, (current) =>
        leaveProfile(current, { ...current, messagingProfileId: undefined }),
      );
      await store.removeNumber(profile.organizationId, gone.id);
      expect((await list({}, NOON)).rows).toEqual([holds]);
      // Excluded rows take no place on the page.
      expect(await list({ limit: 1 }, NOON)).toEqual({ rows: [holds] });
    });
  }

  function optOuts() {
    it("a recipient's opt-out is found by sends of its profile, and by no others", async () => {
      const { store } = subject();
      const other = aProfile(profile.organizationId);
      await store.insertProfile(other);
      const optOut = anOptOut(nth(1));
      await store.addOptOut(optOut);
      const asked = [
        optOut,
        anOptOut(nth(2)),
        { ...optOut, messagingProfileId: other.id },
        { ...optOut, sticky: false },
      ];
      const facts = await read(store, { recipients: asked });
      expect(facts.recipients.map(({ optedOut }) => optedOut)).toEqual([true, false, false, true]);
      expect(await store.readRecipient(optOut)).toEqual({ optedOut: true, mapping: undefined });
      expect(await store.readRecipient(anOptOut(nth(2)))).toEqual({ optedOut: false, mapping: undefined });
    });

    it("the first of two opt-outs stays unchanged", async () => {
      const { store } = subject();
      const first = anOptOut(nth(1), { phoneNumber: number.phoneNumber, keyword: "ARRÊT" });
      expect(await store.addOptOut(first)).toEqual(first);
      expect(await store.addOptOut(anOptOut(nth(1), { createdAt: NOON + HOUR }))).toEqual(first);
      expect(await store.listOptOuts(profile.organizationId, ALL)).toEqual({ rows: [first], total: 1 });
    });

    it("an opt-out is removed once, the removal gives it, and the recipient can be texted", async () => {
      const { store } = subject();
      const optOut = anOptOut(nth(1));
      await store.addOptOut(optOut);
      expect(await store.removeOptOut(anOptOut(nth(2)))).toBeUndefined();
      expect(await store.removeOptOut(optOut)).toEqual(optOut);
      expect(await store.removeOptOut(optOut)).toBeUndefined();
      expect((await store.readRecipient(optOut)).optedOut).toBe(false);
      const again = { ...optOut, createdAt: NOON + HOUR };
      expect(await store.addOptOut(again)).toEqual(again);
    });

    it("opt-outs are listed newest first, by every filter alone and together", async () => {
      const { store } = subject();
      const other = aProfile(profile.organizationId);
      await store.insertProfile(other);
      const all: OptOut[] = [];
      for (let made = 0; made < 12; made += 1) {
        const messagingProfileId = made % 3 === 0 ? other.id : profile.id;
        const phoneNumber = made % 2 === 0 ? number.phoneNumber : "";
        const optOut = anOptOut(nth(made >> 1), { messagingProfileId, phoneNumber, createdAt: NOON + made * SECOND });
        const noted = await store.addOptOut(optOut);
        if (noted.createdAt === optOut.createdAt) all.unshift(optOut);
      }
      const maybe = <Value>(value: fc.Arbitrary<Value>) => fc.option(value, { nil: undefined });
      const moment = fc.integer({ min: -1, max: 12 }).map((second) => NOON + second * SECOND);
      const query = fc.record({
        offset: fc.nat(4),
        limit: fc.nat(12),
        messagingProfileId: maybe(fc.constantFrom(profile.id, other.id, newId())),
        to: maybe(fc.constantFrom(nth(0), nth(3), nth(99), "%")),
        phoneNumber: maybe(fc.constantFrom(number.phoneNumber, "", nth(99))),
        createdSince: maybe(moment),
        createdUntil: maybe(moment),
      });
      await fc.assert(
        fc.asyncProperty(query, async (asked) => {
          const left = all
            .filter((o) => asked.messagingProfileId === undefined || o.messagingProfileId === asked.messagingProfileId)
            .filter((o) => asked.to === undefined || o.to === asked.to)
            .filter((o) => asked.phoneNumber === undefined || o.phoneNumber === asked.phoneNumber)
            .filter((o) => o.createdAt >= (asked.createdSince ?? 0))
            .filter((o) => o.createdAt <= (asked.createdUntil ?? Number.POSITIVE_INFINITY));
          const { rows, total } = await store.listOptOuts(profile.organizationId, asked);
          expect([rows, total]).toEqual([left.slice(asked.offset, asked.offset + asked.limit), left.length]);
        }),
        { numRuns: 100 },
      );
    });
  }
}
