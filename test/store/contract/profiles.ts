import fc from "fast-check";
import { expect, it } from "vitest";
import type { MessagingProfile } from "../../../src/domain/messaging-profile.ts";
import type { PhoneNumber } from "../../../src/domain/phone-number-record.ts";
import {
  ALL,
  ANY_NAME,
  aNumber,
  aProfile,
  idsOf,
  NEVER,
  NOON,
  newId,
  storeMessage,
  storeNumber,
  storeProfile,
} from "./records.ts";
import type { Subject } from "./subject.ts";

/** Text that every database can store: without NUL. */
const aText = fc.string({ unit: "binary", maxLength: 20 }).map((text) => text.replaceAll("\0", ""));
const maybe = <Value>(value: fc.Arbitrary<Value>) => fc.option(value, { nil: undefined });
const aMoment = fc.integer({ min: 0, max: 2 * NOON });

/** Messaging profiles. */
export function profiles(subject: Subject): void {
  it("gives back every field of a profile", async () => {
    const { store } = subject();
    const { organizationId } = await storeProfile(store);
    const settings = fc.record({
      longCodeWeight: fc.double({ min: 0, max: 1_000, noNaN: true }).map((weight) => weight + 0),
      tollFreeWeight: fc.constantFrom(0, 1, 0.1, 1_000),
      skipUnhealthy: fc.boolean(),
      stickySender: fc.boolean(),
      geomatch: fc.boolean(),
    });
    const fields = fc.record({
      name: aText,
      enabled: fc.boolean(),
      webhookUrl: maybe(fc.constantFrom("", "https://example.com/a?b=c")),
      webhookFailoverUrl: maybe(fc.constantFrom("", "https://example.net/")),
      whitelistedDestinations: fc.uniqueArray(fc.constantFrom("US", "CA", "GB", "*")),
      poolSettings: maybe(settings),
      validityPeriodSeconds: fc.integer({ min: 1, max: 36_000 }),
      stickyGeneration: fc.nat(),
      createdAt: aMoment,
      updatedAt: aMoment,
    });
    await fc.assert(
      fc.asyncProperty(fields, async (given) => {
        const profile = aProfile(organizationId, given);
        await store.insertProfile(profile);
        expect(await store.getProfile(organizationId, profile.id)).toEqual(profile);
      }),
      { numRuns: 50 },
    );
  });

  it("does not find an unknown one", async () => {
    const { store } = subject();
    const { organizationId } = await storeProfile(store);
    expect(await store.getProfile(organizationId, newId())).toBeUndefined();
  });

  it("lists the newest first, also those created in one millisecond", async () => {
    const { store } = subject();
    const first = await storeProfile(store);
    const later = Array.from({ length: 4 }, () => aProfile(first.organizationId));
    for (const profile of later) await store.insertProfile(profile);
    const { rows, total } = await store.listProfiles(first.organizationId, ANY_NAME);
    expect(rows).toEqual([first, ...later].reverse());
    expect(total).toBe(5);
  });

  it("gives a page of the list and counts the whole list", async () => {
    const { store } = subject();
    const first = await storeProfile(store);
    const ids = [first.id];
    for (let made = 1; made < 5; made += 1) {
      const profile = aProfile(first.organizationId);
      await store.insertProfile(profile);
      ids.unshift(profile.id);
    }
    const page = async (offset: number, limit: number) => {
      const { rows, total } = await store.listProfiles(first.organizationId, { ...ANY_NAME, offset, limit });
      return [idsOf(rows), total];
    };
    expect(await page(0, 2)).toEqual([ids.slice(0, 2), 5]);
    expect(await page(2, 2)).toEqual([ids.slice(2, 4), 5]);
    expect(await page(4, 2)).toEqual([ids.slice(4), 5]);
    expect(await page(6, 2)).toEqual([[], 5]);
  });

  it("counts only the rows that match the filter", async () => {
    const { store } = subject();
    const { organizationId } = await storeProfile(store, { name: "Autumn" });
    for (const name of ["Winter 1", "Winter 2", "Winter 3"]) {
      await store.insertProfile(aProfile(organizationId, { name }));
    }
    const query = { offset: 1, limit: 1, nameEquals: undefined, nameContains: "winter" };
    const { rows, total } = await store.listProfiles(organizationId, query);
    expect([rows.map(({ name }) => name), total]).toEqual([["Winter 2"], 3]);
  });

  it("treats SQL wildcards as plain characters in both filters", async () => {
    const { store } = subject();
    const names = ["100% off", "100 off", "a_b", "axb", "back\\slash", "it's"];
    const { organizationId } = await storeProfile(store, { name: "another" });
    for (const name of names) await store.insertProfile(aProfile(organizationId, { name }));
    const named = async (filter: { nameEquals?: string; nameContains?: string }) => {
      const { rows } = await store.listProfiles(organizationId, { ...ANY_NAME, ...filter });
      return rows.map(({ name }) => name).toSorted();
    };
    expect(await named({ nameContains: "0% o" })).toEqual(["100% off"]);
    expect(await named({ nameContains: "%" })).toEqual(["100% off"]);
    expect(await named({ nameContains: "A_B" })).toEqual(["a_b"]);
    expect(await named({ nameContains: "_" })).toEqual(["a_b"]);
    expect(await named({ nameContains: "\\" })).toEqual(["back\\slash"]);
    expect(await named({ nameContains: "'" })).toEqual(["it's"]);
    expect(await named({ nameEquals: "a_b" })).toEqual(["a_b"]);
    expect(await named({ nameEquals: "100%" })).toEqual([]);
    expect(await named({ nameEquals: "a_b", nameContains: "x" })).toEqual([]);
  });

  it("finds by the whole name exactly, and by a part ignoring the case of ASCII letters", async () => {
    const { store } = subject();
    const { organizationId } = await storeProfile(store);
    const letters = fc.string({
      unit: fc.constantFrom("a", "A", "b", "é", "É", "ß", "😀", "%", "_", " "),
      maxLength: 5,
    });
    const names: string[] = ["Spring sale"];
    const folded = (text: string) => text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
    const query = fc.record({ nameEquals: maybe(letters), nameContains: maybe(letters) });
    await fc.assert(
      fc.asyncProperty(letters, query, async (name, { nameEquals, nameContains }) => {
        await store.insertProfile(aProfile(organizationId, { name }));
        names.unshift(name);
        const { rows, total } = await store.listProfiles(organizationId, { ...ALL, nameEquals, nameContains });
        const expected = names
          .filter((each) => nameEquals === undefined || each === nameEquals)
          .filter((each) => nameContains === undefined || folded(each).includes(folded(nameContains)));
        expect([rows.map((row) => row.name), total]).toEqual([expected, expected.length]);
      }),
      { numRuns: 100, endOnFailure: true },
    );
  });

  it("changes one by a policy, and gives the changed one", async () => {
    const { store } = subject();
    const profile = await storeProfile(store, { webhookUrl: "https://example.com/" });
    const neighbour = aProfile(profile.organizationId);
    await store.insertProfile(neighbour);
    const seen: MessagingProfile[] = [];
    const changed = await store.updateProfile(profile.organizationId, profile.id, (current) => {
      seen.push(current);
      return {
        ...current,
        name: "Summer",
        enabled: false,
        webhookUrl: undefined,
        poolSettings: undefined,
        updatedAt: 9,
      };
    });
    const expected = { ...profile, name: "Summer", enabled: false, webhookUrl: undefined, poolSettings: undefined };
    expect(seen).toEqual([profile]);
    expect(changed).toEqual({ ...expected, updatedAt: 9 });
    expect(await store.getProfile(profile.organizationId, profile.id)).toEqual({ ...expected, updatedAt: 9 });
    expect(await store.getProfile(profile.organizationId, neighbour.id)).toEqual(neighbour);
  });

  it("a changed profile keeps its place in the list", async () => {
    const { store } = subject();
    const oldest = await storeProfile(store);
    const newest = aProfile(oldest.organizationId);
    await store.insertProfile(newest);
    await store.updateProfile(oldest.organizationId, oldest.id, (profile) => ({ ...profile, name: "Changed" }));
    const { rows } = await store.listProfiles(oldest.organizationId, ANY_NAME);
    expect(idsOf(rows)).toEqual([newest.id, oldest.id]);
  });

  it("a policy that throws changes nothing, and its error reaches the caller", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const error = new Error("the policy says no");
    const refuse = () => {
      throw error;
    };
    await expect(store.updateProfile(profile.organizationId, profile.id, refuse)).rejects.toBe(error);
    expect(await store.getProfile(profile.organizationId, profile.id)).toEqual(profile);
  });

  it("runs no policy on an unknown profile", async () => {
    const { store } = subject();
    const { organizationId } = await storeProfile(store);
    expect(await store.updateProfile(organizationId, newId(), NEVER)).toBeUndefined();
    expect(await store.deleteProfile(organizationId, newId(), NOON)).toBeUndefined();
  });

  it("deletes one, gives what it was, and leaves the others", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const other = aProfile(profile.organizationId);
    await store.insertProfile(other);
    expect(await store.deleteProfile(profile.organizationId, profile.id, NOON)).toEqual(profile);
    expect(await store.getProfile(profile.organizationId, profile.id)).toBeUndefined();
    expect(await store.loadPool(profile.organizationId, profile.id)).toBeUndefined();
    expect(await store.deleteProfile(profile.organizationId, profile.id, NOON)).toBeUndefined();
    expect((await store.listProfiles(profile.organizationId, ANY_NAME)).rows).toEqual([other]);
  });

  it("a deleted profile's numbers are unassigned at once, their rows in small steps, and no others", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const { organizationId } = profile;
    const other = aProfile(organizationId);
    await store.insertProfile(other);
    const mine = [
      ...Array.from({ length: 24 }, () => aNumber(profile)),
      aNumber(profile, { generation: 4, updatedAt: NOON - 5 }),
    ];
    await store.insertNumbers(mine);
    const foreign = await storeNumber(store, other);
    const free = await storeNumber(store, profile, { messagingProfileId: undefined });
    expect(await store.unassignNumbers(10)).toEqual({ unassigned: 0, isMore: false });
    await store.deleteProfile(organizationId, profile.id, NOON + 7);

    /** The view of every reader, however many rows are rewritten. */
    const look = async (moved: readonly PhoneNumber[] = []) => {
      const freed = mine
        .filter((number) => moved.every(({ id }) => id !== number.id))
        .map((number) => {
          const generation = number.generation + 1;
          return { ...number, messagingProfileId: undefined, generation, updatedAt: NOON + 7 };
        });
      for (const number of [freed[0], freed.at(-1), foreign, free, ...moved] as PhoneNumber[]) {
        expect((await store.getNumber(organizationId, number.id))?.number).toEqual(number);
        expect((await store.getNumber(organizationId, number.phoneNumber))?.number).toEqual(number);
        expect((await store.loadPoolNumber(number.id))?.number).toEqual(number);
      }
      const { rows, total } = await store.listNumbers(organizationId, ALL);
      expect(total).toBe(27);
      expect(rows.map(({ number }) => number)).toEqual(expect.arrayContaining([...freed, foreign, free, ...moved]));
      const assigned = { ...ALL, messagingProfileId: profile.id };
      expect(await store.listNumbers(organizationId, assigned)).toEqual({ rows: [], total: 0 });
      expect(await store.getProfile(organizationId, profile.id)).toBeUndefined();
      expect((await store.listProfiles(organizationId, ANY_NAME)).rows).toEqual([other]);
    };
    await look();
    const first = mine[0] as PhoneNumber;
    const written = await store.updateNumber(organizationId, first.id, (current) => {
      expect(current.messagingProfileId).toBeUndefined();
      return { ...current, messagingProfileId: other.id };
    });
    const moved = [{ ...first, messagingProfileId: other.id, generation: 1, updatedAt: NOON + 7 }];
    expect(written).toMatchObject({ kind: "written", number: moved[0] });
    expect(
      await store.updateNumber(organizationId, first.id, (current) => ({ ...current, messagingProfileId: profile.id })),
    ).toEqual({
      kind: "unknownProfile",
    });
    const steps: number[] = [];
    for (let isMore = true; isMore; ) {
      const step = await store.unassignNumbers(10);
      steps.push(step.unassigned);
      isMore = step.isMore;
      await look(moved);
    }
    expect(steps.filter((count) => count > 0)).toEqual([10, 10, 4]);
    expect(await store.unassignNumbers(10)).toEqual({ unassigned: 0, isMore: false });
  });

  it("a deleted profile's messages stay readable", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const number = await storeNumber(store, profile);
    const message = await storeMessage(store, number);
    await store.deleteProfile(profile.organizationId, profile.id, NOON);
    expect(await store.getMessage(profile.organizationId, message.id)).toEqual(message);
  });

  it("a deleted profile accepts no numbers", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    await store.deleteProfile(profile.organizationId, profile.id, NOON);
    expect(await store.insertNumber(aNumber(profile))).toEqual({ kind: "unknownProfile" });
  });
}
