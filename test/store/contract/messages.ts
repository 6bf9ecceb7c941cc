import fc from "fast-check";
import { expect, it } from "vitest";
import type { Message } from "../../../src/domain/message.ts";
import type { MessageQuery } from "../../../src/store/messages.ts";
import { LIST_SCAN } from "../../../src/store/pages.ts";
import { aProfile, idsOf, newId, storeMessage, storeMessages, storeNumber, storeProfile } from "./records.ts";
import type { Subject } from "./subject.ts";

/** Listing messages. */
export function messages(subject: Subject): void {
  /** Every page of a list, from the first to the one that says that it is the last. */
  const pagesOf = async (organizationId: string, query: Omit<MessageQuery, "after">): Promise<Message[][]> => {
    const pages: Message[][] = [];
    let after: string | undefined;
    do {
      const { rows, next } = await subject().store.listMessages(organizationId, { ...query, after });
      expect(rows.length).toBeLessThanOrEqual(query.limit);
      pages.push(rows);
      after = next;
      if (pages.length > 1_000) throw new Error("the list has no end");
    } while (after !== undefined);
    return pages;
  };

  it("lists whole messages, the newest first, page by page", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    const stored = await storeMessages(store, number, {}, { text: "ß 👋" }, { status: "sent" }, {}, {});
    const newestFirst = stored.toReversed();
    const { organizationId } = number;
    expect(await pagesOf(organizationId, { limit: 2 })).toEqual([
      newestFirst.slice(0, 2),
      newestFirst.slice(2, 4),
      newestFirst.slice(4),
    ]);
    expect(await pagesOf(organizationId, { limit: 5 })).toEqual([newestFirst]);
    expect(await pagesOf(organizationId, { limit: 100 })).toEqual([newestFirst]);
  });

  it("an organization without messages has one empty page", async () => {
    const { store } = subject();
    const { organizationId } = await storeProfile(store);
    expect(await store.listMessages(organizationId, { after: undefined, limit: 5 })).toEqual({ rows: [] });
  });

  it("newer messages do not change a later page", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    const [first] = await storeMessages(store, number, {}, {}, {});
    const { next: after } = await store.listMessages(number.organizationId, { after: undefined, limit: 2 });
    await storeMessage(store, number);
    const { rows, next } = await store.listMessages(number.organizationId, { after, limit: 2 });
    expect([idsOf(rows), next]).toEqual([[first?.id], undefined]);
  });

  it("filters by every field alone and together, over pages of any size", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const other = aProfile(profile.organizationId);
    await store.insertProfile(other);
    const numbers = [
      await storeNumber(store, profile),
      await storeNumber(store, profile),
      await storeNumber(store, other),
    ];
    const recipients = ["+12125550100", "+12125550101"];
    const statuses = ["queued", "sent", "delivered"] as const;
    const all: Message[] = [];
    for (let made = 0; made < 40; made += 1) {
      const number = numbers[made % 3];
      const to = recipients[(made >> 1) % 2] as string;
      if (number !== undefined)
        all.unshift(await storeMessage(store, number, { to, status: statuses[(made % 5) % 3] as never }));
    }
    const maybe = <Value>(value: fc.Arbitrary<Value>) => fc.option(value, { nil: undefined });
    const query = fc.record({
      limit: fc.integer({ min: 1, max: 45 }),
      messagingProfileId: maybe(fc.constantFrom(profile.id, other.id, newId())),
      to: maybe(fc.constantFrom(...recipients, "+12125550102", "%")),
      from: maybe(fc.constantFrom(...numbers.map(({ phoneNumber }) => phoneNumber))),
      status: maybe(fc.constantFrom(...statuses, "expired" as const)),
    });
    await fc.assert(
      fc.asyncProperty(query, async (asked) => {
        const expected = all
          .filter((m) => asked.messagingProfileId === undefined || m.messagingProfileId === asked.messagingProfileId)
          .filter((m) => asked.to === undefined || m.to === asked.to)
          .filter((m) => asked.from === undefined || m.from === asked.from)
          .filter((m) => asked.status === undefined || m.status === asked.status);
        expect((await pagesOf(profile.organizationId, asked)).flat()).toEqual(expected);
      }),
      { numRuns: 60 },
    );
  });

  it("limits a list to a range of ids, with and without a filter, over pages of any size", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    const to = (made: number) => ({ to: made % 3 === 0 ? "+12125550177" : "+12125550178" });
    const stored = await storeMessages(store, number, ...Array.from({ length: 20 }, (_, made) => to(made)));
    const newestFirst = stored.toReversed();
    for (const [from, before] of [
      [0, 20],
      [3, 11],
      [11, 3],
      [0, 1],
      [19, 20],
      [7, 7],
      [5, undefined],
      [undefined, 5],
    ]) {
      const fromId = from === undefined ? undefined : stored[from]?.id;
      const beforeId = before === undefined ? undefined : (stored[before]?.id ?? "ffffffff");
      const inside = newestFirst.filter(
        ({ id }) => (fromId === undefined || id >= fromId) && (beforeId === undefined || id < beforeId),
      );
      for (const limit of [1, 4, 100]) {
        expect((await pagesOf(number.organizationId, { limit, fromId, beforeId })).flat()).toEqual(inside);
        const some = inside.filter((message) => message.to === "+12125550177");
        const query = { limit, fromId, beforeId, to: "+12125550177" };
        expect((await pagesOf(number.organizationId, query)).flat()).toEqual(some);
      }
    }
  });

  it("finds a rare match after more messages than one call reads", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    const oldest = await storeMessage(store, number, { to: "+12125550177" });
    await storeMessages(store, number, ...Array.from({ length: LIST_SCAN }, () => ({})));
    const newest = await storeMessage(store, number, { to: "+12125550177" });
    const pages = await pagesOf(number.organizationId, { limit: 10, to: "+12125550177" });
    expect(pages.flat()).toEqual([newest, oldest]);
    expect(pages.length).toBeLessThanOrEqual(3);
  });
}
