import { expect, it } from "vitest";
import type { Message } from "../../../src/domain/message.ts";
import type { MessageEvent } from "../../../src/domain/message-event.ts";
import {
  claimOne,
  eventsOf,
  HOUR,
  NOON,
  newId,
  report,
  SECOND,
  storeMessages,
  storeNumber,
  storeProfile,
} from "./records.ts";
import type { Subject } from "./subject.ts";

/** Reading a message's events. */
export function events(subject: Subject): void {
  const pagesOf = async ({ organizationId, id }: Message, limit: number): Promise<MessageEvent[][]> => {
    const pages: MessageEvent[][] = [];
    let after: string | undefined;
    do {
      const { rows, next } = await subject().store.listMessageEvents(organizationId, id, { after, limit });
      pages.push(rows);
      after = next;
      if (pages.length > 50) throw new Error("the story has no end");
    } while (after !== undefined);
    return pages;
  };

  /** Two messages with six events each, alternating. */
  const twoStories = async (): Promise<[Message, Message]> => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store), { segmentsPerSecond: 1_000 });
    const [one, other] = await storeMessages(store, number, {}, {});
    if (one === undefined || other === undefined) throw new Error("nothing was stored");
    await claimOne(store, number, NOON);
    for (let told = 0; told < 5; told += 1) {
      for (const message of [other, one]) await report(store, message, { kind: "buffered", at: NOON + told * SECOND });
    }
    return [one, other];
  };

  it("lists each message's own events, oldest first, page by page", async () => {
    const { store } = subject();
    for (const message of await twoStories()) {
      const whole = await eventsOf(store, message);
      expect(whole.map(({ at, messageId }) => [at, messageId])).toEqual(
        [0, 0, 1, 2, 3, 4].map((told) => [NOON + told * SECOND, message.id]),
      );
      const { id } = message;
      expect(whole.map(({ kind, status, changesStatus }) => [kind, status, changesStatus])).toEqual([
        ["sending", "sending", true],
        ["buffered", "sent", true],
        ...Array(4).fill(["buffered", "sent", false]),
      ]);
      expect(whole.every(({ messageId }) => messageId === id)).toBe(true);
      expect(new Set(whole.map(({ sequence }) => sequence)).size).toBe(6);
      expect(whole.map(({ sequence }) => sequence)).toEqual(
        whole.map(({ sequence }) => sequence).toSorted((a, b) => a - b),
      );
      for (const limit of [1, 2, 3, 5, 6, 7]) {
        const pages = await pagesOf(message, limit);
        expect(pages.flat()).toEqual(whole);
        expect(pages).toHaveLength(Math.ceil(6 / limit));
      }
    }
  });

  it("a page of size 0 gives a cursor when there are events, and none otherwise", async () => {
    const { store } = subject();
    const [message] = await twoStories();
    const { organizationId, id } = message;
    const first = await store.listMessageEvents(organizationId, id, { after: undefined, limit: 0 });
    expect([first.rows, first.next]).toEqual([[], expect.any(String)]);
    const all = await store.listMessageEvents(organizationId, id, { after: first.next, limit: 10 });
    expect([all.rows, all.next]).toEqual([await eventsOf(store, message), undefined]);
    const last = String(all.rows.at(-1)?.sequence);
    expect(await store.listMessageEvents(organizationId, id, { after: last, limit: 0 })).toEqual({ rows: [] });
  });

  it("events after a page was read are on the next page", async () => {
    const { store } = subject();
    const [message] = await twoStories();
    const { organizationId, id } = message;
    const { next } = await store.listMessageEvents(organizationId, id, { after: undefined, limit: 5 });
    await report(store, message, { kind: "delivered", at: NOON + HOUR });
    const { rows } = await store.listMessageEvents(organizationId, id, { after: next, limit: 10 });
    expect(rows.map(({ kind }) => kind)).toEqual(["buffered", "delivered"]);
  });

  it("gives no events to another organization, and none of an unknown message", async () => {
    const { store } = subject();
    const [message] = await twoStories();
    const { organizationId: foreign } = await storeProfile(store);
    const query = { after: undefined, limit: 10 };
    expect(await store.listMessageEvents(foreign, message.id, query)).toEqual({ rows: [] });
    expect(await store.listMessageEvents(message.organizationId, newId(), query)).toEqual({ rows: [] });
  });
}
