import fc from "fast-check";
import { expect, it } from "vitest";
import type { IdempotencyRecord, RecentSend } from "../../../src/domain/idempotency.ts";
import type { DecisionRecord, Message, QueuedMessage } from "../../../src/domain/message.ts";
import type { MessagingProfile } from "../../../src/domain/messaging-profile.ts";
import type { StickyMapping } from "../../../src/domain/recipient.ts";
import type { Store } from "../../../src/store/store.ts";
import {
  aMessage,
  aProfile,
  HOUR,
  NOON,
  newId,
  read,
  SECOND,
  storeMessage,
  storeNumber,
  storeProfile,
  write,
} from "./records.ts";
import type { Subject } from "./subject.ts";

const HASH = new Uint8Array(32).fill(1);
const OTHER_HASH = new Uint8Array(32).fill(2);
const UNKNOWN = { optedOut: false, mapping: undefined };

/** Reading, deciding and writing a group of sends. */
export function acceptance(subject: Subject): void {
  const aMapping = (profile: MessagingProfile, given: Partial<StickyMapping> = {}): StickyMapping => ({
    organizationId: profile.organizationId,
    messagingProfileId: profile.id,
    to: "+12125550100",
    phoneNumberId: newId(),
    profileGeneration: 1,
    numberGeneration: 2,
    lastMessageAt: NOON,
    ...given,
  });
  const aKey = (profile: MessagingProfile, given: Partial<IdempotencyRecord> = {}): IdempotencyRecord => ({
    organizationId: profile.organizationId,
    method: "SendMessage",
    key: "order-1",
    requestHash: HASH,
    response: new Uint8Array([8, 1]),
    createdAt: NOON,
    ...given,
  });
  const mappingsOf = async (store: Store, ...keys: StickyMapping[]) =>
    (await read(store, { recipients: keys })).recipients.map(({ mapping }) => mapping);

  it("gives the facts in the order of the reads, unknown and repeated ones too", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const number = await storeNumber(store, profile);
    const mappings = ["+12125550101", "+12125550102", "+12125550103"].map((to) => aMapping(profile, { to }));
    const keys = ["a", "b", "c"].map((key) => aKey(profile, { key }));
    const messages = [aMessage(number), aMessage(number)];
    const hashes = [HASH, OTHER_HASH];
    const recentSends = messages.map(({ id }, index): RecentSend => {
      const requestHash = hashes[index] as Uint8Array;
      return { organizationId: profile.organizationId, requestHash, messageId: id, at: NOON };
    });
    await write(store, { messages, mappings, keys, recentSends });

    const [a, b, c] = mappings as [StickyMapping, StickyMapping, StickyMapping];
    const nobody = { ...a, to: "+12125550199" };
    const retry = (requestHash: Uint8Array) => ({ requestHash, since: NOON - SECOND, until: NOON + SECOND });
    const facts = await read(store, {
      recipients: [c, nobody, a, b, a],
      keys: [aKey(profile, { key: "none" }), ...keys.toReversed(), aKey(profile, { key: "c" })],
      retries: [retry(OTHER_HASH), retry(new Uint8Array(32)), retry(HASH), retry(OTHER_HASH)],
    });
    expect(facts.recipients.map(({ optedOut }) => optedOut)).toEqual(Array(5).fill(false));
    expect(facts.recipients.map(({ mapping }) => mapping)).toEqual([c, undefined, a, b, a]);
    expect(facts.keys.map((record) => record?.key)).toEqual([undefined, "c", "b", "a", "c"]);
    const [first, second] = messages;
    expect(facts.retries).toEqual([second, undefined, first, second]);
  });

  it("gives no facts of unknown recipients, and none for no reads", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    expect((await read(store, { recipients: [aMapping(profile)] })).recipients).toEqual([UNKNOWN]);
    expect(await read(store, {})).toEqual({ recipients: [], keys: [], retries: [] });
  });

  it("gives no mapping where none is read", async () => {
    const { store } = subject();
    const mapping = aMapping(await storeProfile(store));
    await write(store, { mappings: [mapping] });
    const { recipients } = await read(store, { recipients: [{ ...mapping, sticky: false }, mapping] });
    expect(recipients).toEqual([UNKNOWN, { optedOut: false, mapping }]);
  });

  it("decides once, and resolves when the changes can be read", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    const message = aMessage(number);
    let decided = 0;
    await store.accept({ recipients: [], keys: [], retries: [] }, () => {
      decided += 1;
      return { messages: [message], mappings: [], keys: [], recentSends: [] };
    });
    expect(decided).toBe(1);
    expect(await store.getMessage(message.organizationId, message.id)).toEqual(message);
  });

  it("gives back every field of a message, whatever its text", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    const text = fc.string({ unit: "binary", maxLength: 200 }).map((each) => each.replaceAll("\0", ""));
    const emoji = fc.constantFrom(
      "👩‍👩‍👧‍👦",
      "naïve ﷽ 🇨🇭",
      "مرحبا",
      "'; DROP TABLE messages; --",
      "\u202e",
      "\r\n\t",
      "%_\\",
    );
    const maybe = <Value>(value: fc.Arbitrary<Value>) => fc.option(value, { nil: undefined });
    const moment = fc.integer({ min: NOON, max: NOON + 72 * HOUR });
    const count = fc.constantFrom(0, 1, 7, 100_000);
    const fields: fc.Arbitrary<Partial<Message>> = fc.record({
      carrier: fc.constantFrom("sandbox", "carrier-2"),
      lineType: fc.constantFrom("long_code", "toll_free"),
      to: fc.constantFrom("+12125550100", "+442079460000"),
      text: fc.oneof(text, emoji),
      encoding: fc.constantFrom("GSM-7", "UCS-2"),
      parts: fc.integer({ min: 1, max: 10 }),
      numChars: fc.nat(1_600),
      webhookUrl: maybe(fc.constantFrom("", "https://example.com/?q=1")),
      webhookFailoverUrl: maybe(fc.constantFrom("", "https://example.net/")),
      useProfileWebhooks: fc.boolean(),
      status: fc.constantFrom("queued", "sending", "sent", "delivered", "delivery_failed", "delivery_unconfirmed"),
      decision: fc.record({
        rule: fc.constantFrom("from", "sticky", "geomatch", "weights", "leastLoaded"),
        tier: maybe(fc.constantFrom("areaCode", "overlay", "region", "any")),
        isFallback: fc.boolean(),
        poolSize: count,
        eligible: count,
        excluded: fc.record({
          weightZero: count,
          paused: count,
          carrierUnavailable: count,
          draining: count,
          unhealthy: count,
          onTrial: count,
          dailyLimit: count,
          full: count,
        }),
      }),
      receivedAt: moment,
      sentAt: maybe(moment),
      completedAt: maybe(moment),
      validUntil: moment,
      waitSeconds: fc.double({ min: 0, max: 10_800, noNaN: true }).map((seconds) => seconds + 0),
      error: maybe(fc.record({ reason: fc.constantFrom(2, 42, 47), detail: fc.oneof(text, fc.constant("")) })),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(fields, { maxLength: 10 }), async (group) => {
        const messages = group.map((given) => aMessage(number, given as Partial<QueuedMessage>));
        await write(store, { messages });
        for (const message of messages) {
          expect(await store.getMessage(message.organizationId, message.id)).toEqual(message);
        }
      }),
      { numRuns: 50 },
    );
  });

  it("gives back a message whose sender no rule picked", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    const message = aMessage(number);
    const unpicked = { ...message, decision: { ...(message.decision as DecisionRecord), rule: undefined } };
    await write(store, { messages: [unpicked] });
    expect(await store.getMessage(message.organizationId, message.id)).toEqual(unpicked);
  });

  it("does not find an unknown message", async () => {
    const { store } = subject();
    const { organizationId } = await storeProfile(store);
    expect(await store.getMessage(organizationId, newId())).toBeUndefined();
  });

  it("keeps one mapping for a recipient of a profile, the newest", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const first = aMapping(profile);
    await write(store, { mappings: [first] });
    expect(await mappingsOf(store, first)).toEqual([first]);
    const next = aMapping(profile, { profileGeneration: 5, numberGeneration: 6, lastMessageAt: NOON + HOUR });
    await write(store, { mappings: [next] });
    expect(await mappingsOf(store, first)).toEqual([next]);
  });

  it("keeps the last of several mappings of one recipient in a group", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const [first, last] = [aMapping(profile), aMapping(profile, { lastMessageAt: NOON + 1 })];
    await write(store, { mappings: [first, last] });
    expect(await mappingsOf(store, first)).toEqual([last]);
  });

  it("keeps mappings apart by profile and by recipient", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const other = aProfile(profile.organizationId);
    await store.insertProfile(other);
    const mapping = aMapping(profile);
    await write(store, { mappings: [mapping] });
    const wanted = [{ ...mapping, messagingProfileId: other.id }, { ...mapping, to: "+12125550101" }, mapping];
    expect(await mappingsOf(store, ...wanted)).toEqual([undefined, undefined, mapping]);
  });

  it("finds an idempotency record with its exact bytes", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const visible = fc.string({
      unit: fc.integer({ min: 0x21, max: 0x7e }).map((c) => String.fromCharCode(c)),
      maxLength: 255,
    });
    const hash = fc.uint8Array({ minLength: 32, maxLength: 32 });
    let made = 0;
    await fc.assert(
      fc.asyncProperty(visible, hash, fc.uint8Array({ maxLength: 2_000 }), async (text, requestHash, response) => {
        made += 1;
        const record = aKey(profile, {
          key: `${made}-${text}`.slice(0, 255),
          requestHash,
          response,
          createdAt: NOON + made,
        });
        await write(store, { keys: [record] });
        const [found] = (await read(store, { keys: [record] })).keys;
        expect(found && plain(found)).toEqual(record);
      }),
      { numRuns: 50 },
    );
  });

  it("keeps keys apart by method and by every character, upper and lower case too", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const key = aKey(profile);
    await write(store, { keys: [key] });
    const others = [
      { ...key, method: "CreateMessage" },
      { ...key, key: "Order-1" },
      { ...key, key: "order-1 " },
    ];
    expect((await read(store, { keys: others })).keys).toEqual([undefined, undefined, undefined]);
  });

  describeRetries(subject);

  it("a decision that throws writes nothing, and its error reaches the caller", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    const error = new Error("the decision failed");
    const deciding = store.accept({ recipients: [], keys: [], retries: [] }, () => {
      throw error;
    });
    await expect(deciding).rejects.toBe(error);
    expect(await store.listQueues(10)).toEqual([]);
    const message = await storeMessage(store, number);
    expect(await store.getMessage(message.organizationId, message.id)).toEqual(message);
  });

  it.each(["message", "key"] as const)(
    "a %s that is there already fails the group, and nothing of it is left",
    async (twin) => {
      const { store } = subject();
      const profile = await storeProfile(store);
      const number = await storeNumber(store, profile, { dailySegmentLimit: 10 });
      const stored = await storeMessage(store, number, { text: "stored" });
      const storedKey = aKey(profile);
      await write(store, { keys: [storedKey] });

      const fresh = aMessage(number, { text: "fresh" });
      const group = {
        messages: [fresh, twin === "message" ? { ...stored, text: "twin" } : aMessage(number)],
        mappings: [aMapping(profile)],
        keys: [aKey(profile, { key: "fresh" }), ...(twin === "key" ? [{ ...storedKey, createdAt: NOON + 1 }] : [])],
        recentSends: [{ organizationId: profile.organizationId, requestHash: HASH, messageId: stored.id, at: NOON }],
      };
      await expect(write(store, group)).rejects.toThrow();

      const { organizationId } = profile;
      for (const message of group.messages) {
        const expected = message.id === stored.id ? stored : undefined;
        expect(await store.getMessage(organizationId, message.id)).toEqual(expected);
      }
      const facts = await read(store, {
        recipients: group.mappings,
        keys: [...group.keys, storedKey],
        retries: [{ requestHash: HASH, since: NOON, until: NOON }],
      });
      expect(facts.recipients).toEqual([UNKNOWN]);
      expect(facts.keys.map((record) => record?.createdAt)).toEqual(
        twin === "key" ? [undefined, NOON, NOON] : [undefined, NOON],
      );
      expect(facts.retries).toEqual([undefined]);
      expect((await store.loadPoolNumber(number.id))?.traffic).toMatchObject({ queuedSegments: 1, usedToday: 0 });
    },
  );

  it("two messages of one id in one group fail it too", async () => {
    const { store } = subject();
    const number = await storeNumber(store, await storeProfile(store));
    const message = aMessage(number);
    await expect(write(store, { messages: [message, message] })).rejects.toThrow();
    expect(await store.getMessage(message.organizationId, message.id)).toBeUndefined();
  });
}

function describeRetries(subject: Subject): void {
  const send = async (at: number, requestHash = HASH, number = subjectNumber()): Promise<Message> => {
    const { store } = subject();
    const from = await number;
    const message = aMessage(from, { receivedAt: at });
    const { organizationId } = from;
    await write(store, {
      messages: [message],
      recentSends: [{ organizationId, requestHash, messageId: message.id, at }],
    });
    return message;
  };
  const subjectNumber = async () => storeNumber(subject().store, await storeProfile(subject().store));
  const find = async (since: number, until: number, requestHash = HASH) =>
    (await read(subject().store, { retries: [{ requestHash, since, until }] })).retries[0];

  it("finds the message of an equal send between two moments, both included", async () => {
    const at = NOON + 5_500;
    const message = await send(at);
    expect(await find(at - 300 * SECOND, at + SECOND)).toEqual(message);
    expect(await find(at, at)).toEqual(message);
  });

  it("does not find an equal send a millisecond before them", async () => {
    const at = NOON + 5_500;
    await send(at);
    expect(await find(at + 1, at + 300 * SECOND)).toBeUndefined();
    expect(await find(at + SECOND, at + 300 * SECOND)).toBeUndefined();
  });

  it("does not find an equal send a millisecond after them", async () => {
    const at = NOON + 5_500;
    await send(at);
    expect(await find(at - 300 * SECOND, at - SECOND)).toBeUndefined();
    expect(await find(at - 300 * SECOND, at - 1)).toBeUndefined();
  });

  it("does not find a send of another hash", async () => {
    await send(NOON, OTHER_HASH);
    expect(await find(NOON - SECOND, NOON + SECOND)).toBeUndefined();
  });

  it("gives the newest of several equal sends", async () => {
    await send(NOON + 100);
    await send(NOON + 60 * SECOND);
    const newest = await send(NOON + 61 * SECOND);
    await send(NOON + 62 * SECOND, OTHER_HASH);
    expect(await find(NOON, NOON + 300 * SECOND)).toEqual(newest);
  });

  it("gives the newest of several equal sends in one second", async () => {
    await send(NOON + 100);
    const newest = await send(NOON + 101);
    expect(await find(NOON, NOON + 300 * SECOND)).toEqual(newest);
  });

  it("gives the newest between the two moments, though newer ones are outside", async () => {
    await send(NOON);
    const inside = await send(NOON + 60 * SECOND);
    await send(NOON + 120 * SECOND);
    expect(await find(NOON + 30 * SECOND, NOON + 90 * SECOND)).toEqual(inside);
  });

  it("gives the newest between the two moments, though a newer one is in the same second", async () => {
    const inside = await send(NOON + 100);
    await send(NOON + 200);
    expect(await find(NOON, NOON + 150)).toEqual(inside);
  });

  it("gives the message in its present state", async () => {
    const message = await send(NOON);
    const target = { organizationId: message.organizationId, messageId: message.id };
    await subject().store.applyReports([{ target, report: { kind: "delivered", at: NOON + 9 } }]);
    expect((await find(NOON, NOON))?.status).toBe("delivered");
  });
}

/** A record whose bytes are plain arrays, whatever buffer the driver gives. */
function plain(record: IdempotencyRecord): IdempotencyRecord {
  return { ...record, requestHash: new Uint8Array(record.requestHash), response: new Uint8Array(record.response) };
}
