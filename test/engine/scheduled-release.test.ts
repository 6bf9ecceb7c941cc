import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import type { Message } from "../../src/domain/message.ts";
import type { MessagingProfile } from "../../src/domain/messaging-profile.ts";
import { leaveProfile, type PhoneNumber } from "../../src/domain/phone-number-record.ts";
import { segment } from "../../src/domain/segments.ts";
import { type AcceptanceParts, createAcceptance } from "../../src/engine/accept/acceptance.ts";
import type { Outcome, ReadyItem } from "../../src/engine/accept/decide-item.ts";
import type { LivePool } from "../../src/engine/pools/live-pools.ts";
import { openPools, type Pools } from "../../src/engine/pools/pools.ts";
import { createScheduledRelease, type ReleaseParts } from "../../src/engine/schedule/release.ts";
import type { Store } from "../../src/store/store.ts";
import {
  aScheduled,
  claimOne,
  eventsOf,
  FAILED_BY_SENDER,
  HOUR,
  idsOf,
  NOON,
  newId,
  report,
  SECOND,
  storeMessages,
  storeNumber,
  storeProfile,
  write,
} from "../store/contract/records.ts";
import { openInFolder } from "../store/sqlite-folder.ts";

const DUE = NOON + HOUR;
const RULES = { longCodeWeight: 1, tollFreeWeight: 1, skipUnhealthy: true, stickySender: true, geomatch: false };
const TO = "+12125550123";

let opened: ReturnType<typeof openInFolder>;
let store: Store;
let now: number;
let pools: Pools;
let profile: MessagingProfile;
let told: Map<string, number>;

beforeEach(async () => {
  opened = openInFolder();
  store = opened.store;
  now = NOON;
  pools = openPools(store, () => now);
  profile = await storeProfile(store, { poolSettings: RULES });
  told = new Map();
});

afterEach(async () => {
  pools.close();
  await opened.dispose();
});

function partsOver(given: Store): AcceptanceParts & ReleaseParts {
  return {
    store: given,
    pools,
    clock: () => now,
    ids: newId,
    stickyLifetimeMs: 8 * 24 * HOUR,
    onAccepted: (segments) => {
      for (const [id, count] of segments) told.set(id, (told.get(id) ?? 0) + count);
    },
  };
}

/** Passes over what is due at a moment until there is nothing left to do then. */
const release = async (at = now, over = store) => {
  now = at;
  const pass = createScheduledRelease(partsOver(over));
  for (;;) {
    const next = await pass();
    if (next === undefined || next > now) return next;
  }
};

async function livePool(): Promise<LivePool> {
  const live = await pools.load(profile.organizationId, profile.id);
  if (live === undefined) throw new Error("there is no such pool");
  return live;
}

/** Accepts a text as a call does, to be sent at `sendAt`, or now. */
async function accept(
  changes: Partial<ReadyItem> & { readonly text?: string; readonly to?: string } = {},
): Promise<Outcome> {
  const { text = "Hello", to = TO, ...rest } = changes;
  const segments = segment(text, "auto");
  if ("unencodable" in segments) throw new Error("the text cannot be encoded");
  const item: ReadyItem = {
    live: await livePool(),
    send: { to, text, segments },
    from: undefined,
    sendAt: DUE,
    webhookUrl: undefined,
    webhookFailoverUrl: undefined,
    useProfileWebhooks: true,
    ...rest,
  };
  const outcome = await createAcceptance(partsOver(store)).accept({
    organizationId: profile.organizationId,
    method: "SendMessage",
    items: [item],
    key: undefined,
    requestHash: undefined,
    attempt: undefined,
    answer: () => new Uint8Array(),
  });
  if (outcome.kind !== "decided") throw new Error("it was sent before");
  return outcome.outcomes[0] as Outcome;
}

async function schedule(changes: Parameters<typeof accept>[0] = {}): Promise<Message> {
  const outcome = await accept(changes);
  if ("refusal" in outcome) throw new Error(outcome.refusal.detail);
  expect(outcome.message.status).toBe("scheduled");
  return outcome.message;
}

const stored = async ({ organizationId, id }: Message) => (await store.getMessage(organizationId, id)) as Message;
const expectFailed = async (message: Message, reason: ErrorReason) => {
  expect(await stored(message)).toMatchObject({ status: "sending_failed", completedAt: now, error: { reason } });
  expect(told).toEqual(new Map());
  expect((await eventsOf(store, message)).map(({ kind, at }) => [kind, at])).toEqual([["sending_failed", now]]);
};
const failTimes = async (number: PhoneNumber, times: number) => {
  const messages = await storeMessages(
    store,
    number,
    ...Array.from({ length: times }, () => ({ status: "sending" as const })),
  );
  for (const message of messages) {
    pools.book(await report(store, message, { kind: "failed", at: now, error: FAILED_BY_SENDER, carrierCode: "011" }));
  }
};

describe("A scheduled message", () => {
  it("gets its sender when it is due and not before, from the numbers that there are then", async () => {
    const message = await schedule();
    expect(message).toMatchObject({ phoneNumberId: undefined, from: undefined, decision: undefined, waitSeconds: 0 });
    expect(await release(DUE - 1)).toBe(DUE);
    expect(await stored(message)).toEqual(message);
    const number = await storeNumber(store, profile, { segmentsPerSecond: 2 });
    expect(await release(DUE)).toBeUndefined();
    expect(await stored(message)).toMatchObject({
      status: "queued",
      phoneNumberId: number.id,
      from: number.phoneNumber,
      carrier: number.carrier,
      decision: { rule: "leastLoaded", poolSize: 1, eligible: 1 },
      waitSeconds: 0,
    });
    expect(told).toEqual(new Map([[number.id, 1]]));
    const live = await livePool();
    expect(live.pool.slots[live.pool.byId.get(number.id) ?? -1]).toMatchObject({ queuedSegments: 1, unreported: 1 });
  });

  it("is told when it was decided", async () => {
    await storeNumber(store, profile);
    const message = await schedule();
    await release(DUE + 30);
    expect(await eventsOf(store, message)).toMatchObject([{ kind: "decided", status: "queued", at: DUE + 30 }]);
  });

  it("waits in its queue behind what was accepted before its moment, as it is told", async () => {
    const number = await storeNumber(store, profile);
    const message = await schedule();
    now = DUE;
    const before: string[] = [];
    for (let sent = 0; sent < 5; sent += 1) {
      const outcome = await accept({ sendAt: undefined, to: `+1212555020${sent}` });
      if ("message" in outcome) before.push(outcome.message.id);
    }
    await release(DUE);
    expect((await stored(message)).waitSeconds).toBeCloseTo(5, 1);
    const left: string[] = [];
    for (let claims = 0; claims < 6; claims += 1) {
      left.push(...idsOf((await claimOne(store, number, DUE + claims * SECOND)).messages));
    }
    expect(left).toEqual([...before, message.id]);
  });

  it("goes to the recipient's sticky sender of that moment, and two that are due together stay together", async () => {
    const numbers = [await storeNumber(store, profile), await storeNumber(store, profile)];
    const [first, second] = [await schedule(), await schedule()];
    const sticky = numbers[1] as PhoneNumber;
    const { organizationId, id: messagingProfileId } = profile;
    const recipient = { organizationId, messagingProfileId, to: TO };
    const generations = { profileGeneration: 0, numberGeneration: 0 };
    await store.putMapping({ ...recipient, phoneNumberId: sticky.id, ...generations, lastMessageAt: NOON });
    await release(DUE);
    for (const message of [first, second]) {
      expect(await stored(message)).toMatchObject({ from: sticky.phoneNumber, decision: { rule: "sticky" } });
    }
    expect((await store.readRecipient(recipient)).mapping).toMatchObject({
      phoneNumberId: sticky.id,
      lastMessageAt: DUE,
    });
    const others: Message[] = [];
    for (let made = 0; made < 6; made += 1) others.push(await schedule({ to: "+12125550124" }));
    await release(DUE);
    const senders = await Promise.all(others.map(async (message) => (await stored(message)).from));
    expect(new Set(senders).size).toBe(1);
  });

  it("is not sent to a recipient who opted out meanwhile", async () => {
    await storeNumber(store, profile);
    const message = await schedule();
    const { organizationId, id: messagingProfileId } = profile;
    const optOut = { organizationId, messagingProfileId, to: TO, phoneNumber: "", keyword: "STOP", createdAt: NOON };
    await store.addOptOut(optOut);
    await release(DUE);
    await expectFailed(message, ErrorReason.OPTED_OUT);
    expect(await accept()).toMatchObject({ refusal: { reason: ErrorReason.OPTED_OUT } });
  });

  it("avoids numbers that became unhealthy meanwhile, and fails when nothing else is left", async () => {
    const failing = await storeNumber(store, profile);
    const message = await schedule();
    const last = await schedule({ sendAt: DUE + SECOND });
    const sound = await storeNumber(store, profile);
    now = DUE;
    await failTimes(failing, 15);
    await release(DUE);
    expect(await stored(message)).toMatchObject({
      from: sound.phoneNumber,
      decision: { excluded: { unhealthy: 1 } },
    });
    await store.updateNumber(profile.organizationId, sound.id, (number) => ({ ...number, state: "paused" }));
    told.clear();
    await release(DUE + SECOND);
    await expectFailed(last, ErrorReason.NO_USABLE_NUMBERS);
  });

  it("is tried again for as long as the pool is full, and is sent when there is room", async () => {
    const number = await storeNumber(store, profile, { segmentsPerSecond: 0.01 });
    const blocked = await schedule({ text: "x".repeat(1_500) });
    now = DUE;
    for (let sent = 0; sent < 100; sent += 1) await accept({ sendAt: undefined, to: `+1212556${1_000 + sent}` });
    told.clear();
    const retryAt = await release(DUE);
    expect(retryAt).toBeGreaterThanOrEqual(DUE + SECOND);
    expect(await stored(blocked)).toEqual(blocked);
    expect([told.size, await eventsOf(store, blocked)]).toEqual([0, []]);
    expect(await release(DUE + 500)).toBe(retryAt);
    let next = retryAt;
    for (let tries = 0; next !== undefined && tries < 20; tries += 1) next = await release(next);
    expect(await stored(blocked)).toMatchObject({ status: "queued", from: number.phoneNumber });
    expect(now).toBeLessThan(blocked.validUntil);
  });

  it("expires at the end of its validity when the pool stays full", async () => {
    await store.updateProfile(profile.organizationId, profile.id, (each) => ({ ...each, validityPeriodSeconds: 60 }));
    await storeNumber(store, profile, { segmentsPerSecond: 0.001 });
    const message = await schedule({ text: "x".repeat(1_500) });
    expect(message.validUntil).toBe(DUE + 60 * SECOND);
    now = DUE;
    await accept({ sendAt: undefined, text: "x".repeat(1_500) });
    expect(await release(DUE)).toBeLessThanOrEqual(DUE + 60 * SECOND);
    expect(await release(message.validUntil - 1)).toBeGreaterThan(message.validUntil);
    expect(await stored(message)).toEqual(message);
    expect(await store.expireMessages(message.validUntil - 1, 10)).toEqual([]);
    expect(await store.expireMessages(message.validUntil, 10)).toHaveLength(2);
    expect(await stored(message)).toMatchObject({
      status: "expired",
      completedAt: message.validUntil,
      error: { reason: ErrorReason.EXPIRED_IN_QUEUE },
    });
  });

  it("that comes too late, because nobody was there, expires instead of being sent", async () => {
    await storeNumber(store, profile);
    const message = await schedule();
    await release(message.validUntil);
    expect(await stored(message)).toMatchObject({ status: "expired", completedAt: message.validUntil });
    expect(told.size).toBe(0);
  });

  it("leaves though its profile was disabled after it was accepted", async () => {
    const number = await storeNumber(store, profile);
    const message = await schedule();
    await store.updateProfile(profile.organizationId, profile.id, (each) => ({ ...each, enabled: false }));
    await release(DUE);
    expect(await stored(message)).toMatchObject({ status: "queued", from: number.phoneNumber });
  });

  it("fails when its profile is gone by then, and others go on", async () => {
    await storeNumber(store, profile);
    const message = await schedule();
    const other = await storeProfile(store);
    const otherNumber = await storeNumber(store, other);
    const theirs = aScheduled(other, { sendAt: DUE });
    await write(store, { messages: [theirs] });
    await store.deleteProfile(profile.organizationId, profile.id, NOON);
    await release(DUE);
    expect(await stored(message)).toMatchObject({ status: "sending_failed", from: undefined });
    expect(await stored(theirs)).toMatchObject({ status: "queued", from: otherNumber.phoneNumber });
  });

  it("leaves from the number that its caller named, whatever the weights and its mapping say", async () => {
    const [named] = [await storeNumber(store, profile, { segmentsPerSecond: 0.5 }), await storeNumber(store, profile)];
    const message = await schedule({ from: named.id });
    expect(message).toMatchObject({ phoneNumberId: named.id, from: named.phoneNumber });
    await release(DUE);
    expect(await stored(message)).toMatchObject({
      status: "queued",
      from: named.phoneNumber,
      decision: { rule: "from" },
    });
    const recipient = { organizationId: profile.organizationId, messagingProfileId: profile.id, to: TO };
    expect((await store.readRecipient(recipient)).mapping).toBeUndefined();
  });

  it("fails when the number that its caller named is paused, gone, or another profile's by then", async () => {
    const other = { ...(await storeProfile(store)), id: newId(), organizationId: profile.organizationId };
    await store.insertProfile(other);
    const numbers = [
      await storeNumber(store, profile),
      await storeNumber(store, profile),
      await storeNumber(store, profile),
    ];
    await storeNumber(store, profile);
    const [paused, gone, moved] = numbers as [PhoneNumber, PhoneNumber, PhoneNumber];
    const messages = await Promise.all(numbers.map(({ id }) => schedule({ from: id })));
    const { organizationId } = profile;
    await store.updateNumber(organizationId, paused.id, (number) => ({ ...number, state: "paused" }));
    await store.removeNumber(organizationId, gone.id);
    await store.updateNumber(organizationId, moved.id, (number) =>
      leaveProfile(number, { ...number, messagingProfileId: other.id }),
    );
    await release(DUE);
    await expectFailed(messages[0] as Message, ErrorReason.FROM_TEMPORARILY_UNUSABLE);
    await expectFailed(messages[1] as Message, ErrorReason.INVALID_FROM);
    await expectFailed(messages[2] as Message, ErrorReason.INVALID_FROM);
  });
});

describe("The release of scheduled messages", () => {
  it("takes its charges back when the store fails, and releases everything the next time", async () => {
    const numbers = [await storeNumber(store, profile, { dailySegmentLimit: 5 }), await storeNumber(store, profile)];
    const messages: Message[] = [];
    for (let made = 0; made < 5; made += 1) messages.push(await schedule({ to: `+1212555030${made}` }));
    const live = await livePool();
    const loads = () =>
      numbers.map(({ id }) => {
        const slot = live.pool.byId.get(id) ?? -1;
        const { queuedSegments, unreported, usedToday } = live.pool.slots[slot] ?? {};
        return { queuedSegments, unreported, usedToday, nextFree: live.pool.nextFree[slot] };
      });
    const before = loads();
    let decided: number | undefined;
    const failing: Store = {
      ...store,
      releaseScheduled: async (_, decide) => {
        decided = decide(
          messages.map((message) => ({ message, recipient: { optedOut: false, mapping: undefined } })),
          [],
        ).rewritten?.length;
        throw new Error("the disk is full");
      },
    };
    await expect(release(DUE, failing)).rejects.toThrow("the disk is full");
    expect([decided, loads(), told.size]).toEqual([5, before, 0]);
    for (const message of messages) expect(await stored(message)).toEqual(message);
    await release(DUE);
    expect([...told.values()].reduce((sum, each) => sum + each)).toBe(5);
    expect(loads()).not.toEqual(before);
  });

  it("goes on until nothing is due any more, and tells when the next will be", async () => {
    const number = await storeNumber(store, profile, { segmentsPerSecond: 100 });
    const due = Array.from({ length: 250 }, () => aScheduled(profile, { sendAt: DUE }));
    const later = aScheduled(profile, { sendAt: DUE + 7 * SECOND });
    await write(store, { messages: [...due, later] });
    expect(await release(DUE)).toBe(DUE + 7 * SECOND);
    expect(told).toEqual(new Map([[number.id, 250]]));
    expect((await store.measureQueue()).messages).toBe(250);
    expect(await release(DUE)).toBe(DUE + 7 * SECOND);
  });

  it("reads only the first messages of a full pool again, and lets other profiles' messages pass", async () => {
    await storeNumber(store, profile, { segmentsPerSecond: 1 });
    const other = await storeProfile(store);
    const theirs = await storeNumber(store, other, { segmentsPerSecond: 100 });
    const crowd = Array.from({ length: 11_500 }, () => aScheduled(profile, { sendAt: DUE }));
    await write(store, { messages: [...crowd, aScheduled(other, { sendAt: DUE + 1 })] });
    let read = 0;
    const counting: Store = {
      ...store,
      releaseScheduled: (reads, decide) => {
        read += reads.length;
        return store.releaseScheduled(reads, decide);
      },
    };
    const pass = createScheduledRelease(partsOver(counting));
    const drain = async (at: number) => {
      now = at;
      read = 0;
      let next = await pass();
      while (next !== undefined && next <= now) next = await pass();
      return next;
    };
    const next = await drain(DUE + 1);
    expect(told.get(theirs.id)).toBe(1);
    expect((await store.measureQueue()).messages).toBe(10_801);
    expect(read).toBeLessThan(13_000);
    expect(next).toBeGreaterThanOrEqual(DUE + SECOND);
    // Nothing before there is room; then a group, of which one finds room.
    expect([await drain(DUE + 500), read]).toEqual([next, 0]);
    await drain(next as number);
    expect(read).toBeLessThanOrEqual(100);
    expect((await store.measureQueue()).messages).toBeGreaterThan(10_801);
    // Another process finds what waits.
    expect(await release(now)).toBeGreaterThan(now);
  });

  it("keeps the order of messages that wait for room, and none is written while it waits", async () => {
    await storeNumber(store, profile, { segmentsPerSecond: 0.01 });
    const messages = Array.from({ length: 120 }, (_, index) => aScheduled(profile, { sendAt: DUE + index }));
    await write(store, { messages });
    await release(DUE + SECOND);
    const left = async () => {
      const all = await Promise.all(messages.map(stored));
      return all.flatMap(({ status }, index) => (status === "scheduled" ? [index] : []));
    };
    const waiting = await left();
    expect(waiting.length).toBeGreaterThan(5);
    expect(waiting).toEqual(messages.map((_, index) => index).slice(-waiting.length));
    await release(DUE + 250 * SECOND);
    expect(await left()).toEqual(waiting.slice(-(await left()).length));
    expect((await left()).length).toBeLessThan(waiting.length);
  });

  it("does one bounded pass at a time", async () => {
    await storeNumber(store, profile, { segmentsPerSecond: 100 });
    await write(store, { messages: Array.from({ length: 250 }, () => aScheduled(profile, { sendAt: DUE })) });
    now = DUE;
    const pass = createScheduledRelease(partsOver(store));
    const queued: number[] = [];
    for (let next: number | undefined = now; next !== undefined && next <= now; ) {
      next = await pass();
      queued.push((await store.measureQueue()).messages);
    }
    expect(queued).toEqual([100, 200, 250]);
  });

  it("costs as much with a hundred thousand messages scheduled as with a hundred", async () => {
    const median = async () => {
      const times: number[] = [];
      for (let asked = 0; asked < 60; asked += 1) {
        const start = performance.now();
        expect((await store.listDueMessages(NOON, 100)).nextAt).toBe(DUE);
        times.push(performance.now() - start);
      }
      return times.toSorted((one, other) => one - other)[30] as number;
    };
    const fill = (from: number, count: number) =>
      write(store, {
        messages: Array.from({ length: count }, (_, index) => aScheduled(profile, { sendAt: DUE + from + index })),
      });
    await fill(0, 100);
    await median();
    const few = await median();
    for (let made = 100; made < 100_000; made += 11_100) await fill(made, 11_100);
    const many = await median();
    expect(many).toBeLessThan(5 * few + 1);
    expect(await release(NOON)).toBe(DUE);
    expect(pools.peek(profile.organizationId, profile.id)).toBeUndefined();
    expect(await store.listQueues(10)).toEqual([]);
  });
});
