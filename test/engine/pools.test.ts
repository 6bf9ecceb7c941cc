import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { AppliedReport } from "../../src/domain/carrier-report.ts";
import { judge } from "../../src/domain/health.ts";
import type { MessagingProfile } from "../../src/domain/messaging-profile.ts";
import { leaveProfile, type PhoneNumber } from "../../src/domain/phone-number-record.ts";
import { UNMATCHED } from "../../src/domain/plan/report.ts";
import { advance } from "../../src/domain/pool/advance.ts";
import { charge } from "../../src/domain/pool/charge.ts";
import { decide, type Picked, type PickRefusal } from "../../src/domain/pool/decide.ts";
import type { LivePool } from "../../src/engine/pools/live-pools.ts";
import { openPools, type Pools } from "../../src/engine/pools/pools.ts";
import type { Store } from "../../src/store/store.ts";
import {
  aProfile,
  claimOne,
  FAILED_BY_SENDER,
  NOON,
  newId,
  report,
  SECOND,
  storeMessages,
  storeNumber,
  storeProfile,
} from "../store/contract/records.ts";
import { openInFolder } from "../store/sqlite-folder.ts";

const RULES = { longCodeWeight: 1, tollFreeWeight: 1, skipUnhealthy: false, stickySender: false, geomatch: false };

let opened: ReturnType<typeof openInFolder>;
let store: Store;
let now: number;
let pools: Pools;
let profile: MessagingProfile;

beforeEach(async () => {
  opened = openInFolder();
  store = opened.store;
  now = NOON;
  pools = openPools(store, () => now);
  profile = await storeProfile(store);
});

afterEach(async () => {
  pools.close();
  await opened.dispose();
});

const unassign = (number: PhoneNumber) => leaveProfile(number, { ...number, messagingProfileId: undefined });

/** The pool of a profile, loaded if need be. */
async function livePool(of: MessagingProfile = profile): Promise<LivePool> {
  const live = await pools.load(of.organizationId, of.id);
  if (live === undefined) throw new Error("there is no such pool");
  return live;
}

function decideNow({ pool }: LivePool): Picked | PickRefusal {
  advance(pool, now);
  return decide(pool, { segments: 1 });
}

/** The number that a message would leave from now, by id; or why none. */
function senderOf(live: LivePool): string {
  const decision = decideNow(live);
  return decision.kind === "pick" ? (live.pool.slots[decision.slot]?.number.id ?? "") : decision.because;
}

/** When a number of a pool is next free. */
function nextFree({ pool }: LivePool, number: PhoneNumber): number | undefined {
  return pool.nextFree[pool.byId.get(number.id) ?? -1];
}

/** A store that takes its time between reading a pool's rows and giving them, and can be told to fail then. */
function slowly(inner: Store): { readonly store: Store; readonly loads: () => number; fail: boolean } {
  let loads = 0;
  const slow = {
    store: {
      ...inner,
      loadPool: async (organizationId: string, profileId: string) => {
        loads += 1;
        const rows = await inner.loadPool(organizationId, profileId);
        await sleep(20);
        if (slow.fail) throw new Error("the database is away");
        return rows;
      },
    },
    loads: () => loads,
    fail: false,
  };
  return slow;
}

describe("Loading a pool", () => {
  it("reads it once for all who ask at once and later, and gives all the same", async () => {
    const number = await storeNumber(store, profile);
    const slow = slowly(store);
    pools = openPools(slow.store, () => now);
    const load = () => pools.load(profile.organizationId, profile.id);
    const first = await Promise.all([load(), load(), load()]);
    const later = await load();
    expect(slow.loads()).toBe(1);
    expect(new Set([...first, later, pools.peek(profile.organizationId, profile.id)]).size).toBe(1);
    expect(later?.profile).toEqual(profile);
    expect([...(later?.numbers.values() ?? [])]).toEqual([number]);
    expect([...(later?.idByPhoneNumber ?? [])]).toEqual([[number.phoneNumber, number.id]]);
  });

  it("a pool that nobody asked for is not in memory", async () => {
    await storeNumber(store, profile);
    expect(pools.peek(profile.organizationId, profile.id)).toBeUndefined();
  });

  it("gives nothing for a profile that is not there, and finds it when it is made", async () => {
    const later = aProfile(profile.organizationId);
    expect(await pools.load(later.organizationId, later.id)).toBeUndefined();
    await store.insertProfile(later);
    expect((await pools.load(later.organizationId, later.id))?.profile).toEqual(later);
  });

  it("gives another organization nothing, before and after the owner loaded it", async () => {
    const { organizationId: stranger } = await storeProfile(store);
    expect(await pools.load(stranger, profile.id)).toBeUndefined();
    await livePool();
    expect(await pools.load(stranger, profile.id)).toBeUndefined();
    expect(pools.peek(stranger, profile.id)).toBeUndefined();
    expect(pools.peek(profile.organizationId, profile.id)).toBeDefined();
  });

  it.each(["first", "last"])(
    "gives the owner its pool and a stranger nothing when both ask at once, the owner %s",
    async (place) => {
      const { organizationId: stranger } = await storeProfile(store);
      const askers = [profile.organizationId, stranger];
      if (place === "last") askers.reverse();
      const answers = await Promise.all(askers.map((organizationId) => pools.load(organizationId, profile.id)));
      const got = new Map(askers.map((organizationId, index) => [organizationId, answers[index]?.profile.id]));
      expect(got.get(profile.organizationId)).toBe(profile.id);
      expect(got.get(stranger)).toBeUndefined();
    },
  );

  it("that failed fails for all who waited, and is tried anew by the next", async () => {
    const slow = slowly(store);
    slow.fail = true;
    pools = openPools(slow.store, () => now);
    const load = () => pools.load(profile.organizationId, profile.id);
    const outcomes = await Promise.allSettled([load(), load()]);
    expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    slow.fail = false;
    expect((await load())?.profile).toEqual(profile);
  });

  it("a number with a backlog is next free when its queue has left at its rate", async () => {
    const number = await storeNumber(store, profile, { segmentsPerSecond: 0.5 });
    const fast = await storeNumber(store, profile, { segmentsPerSecond: 10 });
    const idle = await storeNumber(store, profile);
    await storeMessages(store, number, { parts: 3 }, { parts: 2 });
    await storeMessages(store, fast, { parts: 5 });
    const live = await livePool();
    expect(nextFree(live, number)).toBe(NOON + 10 * SECOND);
    expect(nextFree(live, fast)).toBe(NOON + 500);
    expect(nextFree(live, idle)).toBe(0);
    expect(senderOf(live)).toBe(idle.id);
  });

  it("a number that is due later is next free when its queue has left after that", async () => {
    const number = await storeNumber(store, profile);
    await storeMessages(store, number, { parts: 9 }, {});
    await claimOne(store, number, NOON);
    // 9 segments left at noon: due again 9 s later, less the slack; then one segment waits.
    expect(nextFree(await livePool(), number)).toBe(NOON - 20 + 10 * SECOND);
  });

  it("a number whose queue is longer than its pause is next free when the queue has left after it", async () => {
    const number = await storeNumber(store, profile);
    await storeMessages(store, number, {}, { parts: 7 });
    await claimOne(store, number, NOON);
    expect(nextFree(await livePool(), number)).toBe(NOON - 20 + 8 * SECOND);
  });

  it("remembers what a number used today, and forgets what it used before", async () => {
    const spent = await storeNumber(store, profile, { dailySegmentLimit: 5 });
    const rested = await storeNumber(store, profile, { dailySegmentLimit: 5 });
    for (const [number, at] of [
      [spent, NOON],
      [rested, NOON - 24 * 3_600 * SECOND],
    ] as const) {
      await storeMessages(store, number, { parts: 5 });
      await claimOne(store, number, at);
    }
    const live = await livePool();
    expect(decideNow(live)).toMatchObject({ kind: "pick", eligible: 1, excluded: { dailyLimit: 1 } });
    expect(senderOf(live)).toBe(rested.id);
  });

  it("uses numbers that were never used in the order of their registration", async () => {
    const numbers = [];
    for (let made = 0; made < 4; made += 1) numbers.push(await storeNumber(store, profile));
    const live = await livePool();
    const senders: string[] = [];
    for (const _ of numbers) {
      const decision = decideNow(live);
      senders.push(senderOf(live));
      if (decision.kind === "pick") charge(live.pool, decision, 1);
    }
    expect(senders).toEqual(numbers.map(({ id }) => id));
  });
});

describe("A pool in memory follows the store: when the promise of a change resolves,", () => {
  it("a changed number is as it was changed", async () => {
    const number = await storeNumber(store, profile);
    const live = await livePool();
    await store.updateNumber(profile.organizationId, number.id, (current) => ({
      ...current,
      tags: ["a"],
      generation: 3,
    }));
    expect(live.numbers.get(number.id)).toEqual({ ...number, tags: ["a"], generation: 3 });
    expect(live.pool.slots[live.pool.byId.get(number.id) ?? -1]?.number.generation).toBe(3);
    await store.updateNumber(profile.organizationId, number.phoneNumber, (current) => ({
      ...current,
      state: "paused",
    }));
    expect(decideNow(live)).toMatchObject({ because: "nothingUsable", excluded: { paused: 1 } });
    await store.updateNumber(profile.organizationId, number.id, (current) => ({ ...current, state: "active" }));
    expect(senderOf(live)).toBe(number.id);
  });

  it("a changed rate stretches the backlog that is known", async () => {
    const number = await storeNumber(store, profile, { segmentsPerSecond: 1 });
    await storeMessages(store, number, { parts: 10 });
    const live = await livePool();
    now += 2 * SECOND;
    await store.updateNumber(profile.organizationId, number.id, (current) => ({ ...current, segmentsPerSecond: 2 }));
    expect(nextFree(live, number)).toBe(now + 4 * SECOND);
  });

  it("a new number is in it", async () => {
    const live = await livePool();
    expect(senderOf(live)).toBe("noNumbers");
    const number = await storeNumber(store, profile);
    expect(senderOf(live)).toBe(number.id);
    expect(live.numbers.get(number.id)).toEqual(number);
    expect(live.idByPhoneNumber.get(number.phoneNumber)).toBe(number.id);
  });

  it("a removed number is out of it, and one of the same phone number can come after it", async () => {
    const number = await storeNumber(store, profile);
    const live = await livePool();
    await store.removeNumber(profile.organizationId, number.id);
    expect(senderOf(live)).toBe("noNumbers");
    expect([live.numbers.size, live.idByPhoneNumber.size]).toEqual([0, 0]);
    const next = await storeNumber(store, profile, { phoneNumber: number.phoneNumber });
    expect(senderOf(live)).toBe(next.id);
    expect(live.idByPhoneNumber.get(number.phoneNumber)).toBe(next.id);
  });

  it("an unassigned number is out of it, and comes back with its backlog when it is assigned", async () => {
    const number = await storeNumber(store, profile);
    await storeMessages(store, number, { parts: 10 });
    const live = await livePool();
    await store.updateNumber(profile.organizationId, number.id, unassign);
    expect(senderOf(live)).toBe("noNumbers");
    expect([live.numbers.size, live.idByPhoneNumber.size]).toEqual([0, 0]);
    now += 3 * SECOND;
    const assign = (current: PhoneNumber) => ({ ...current, messagingProfileId: profile.id });
    await store.updateNumber(profile.organizationId, number.id, assign);
    expect(senderOf(live)).toBe(number.id);
    expect(nextFree(live, number)).toBe(now + 10 * SECOND);
    expect(live.numbers.get(number.id)?.generation).toBe(1);
  });

  it("a number that moved to another profile is in that one's pool and in no other", async () => {
    const other = aProfile(profile.organizationId);
    await store.insertProfile(other);
    const number = await storeNumber(store, profile);
    const [from, into] = [await livePool(), await livePool(other)];
    const moveTo = (to: MessagingProfile) =>
      store.updateNumber(profile.organizationId, number.id, (current) =>
        leaveProfile(current, { ...current, messagingProfileId: to.id }),
      );
    await moveTo(other);
    expect([senderOf(from), senderOf(into)]).toEqual(["noNumbers", number.id]);
    expect([from.numbers.size, into.numbers.size]).toEqual([0, 1]);
    await moveTo(profile);
    expect([senderOf(from), senderOf(into)]).toEqual([number.id, "noNumbers"]);
    expect([from.numbers.size, into.numbers.size]).toEqual([1, 0]);
  });

  it("a number that moved to a profile that nobody loaded is out, and found there later", async () => {
    const other = aProfile(profile.organizationId);
    await store.insertProfile(other);
    const number = await storeNumber(store, profile);
    const live = await livePool();
    const move = (current: PhoneNumber) => ({ ...current, messagingProfileId: other.id });
    await store.updateNumber(profile.organizationId, number.id, move);
    expect(senderOf(live)).toBe("noNumbers");
    expect(senderOf(await livePool(other))).toBe(number.id);
  });

  it("changed settings rule the next decision, and what is known of the numbers stays", async () => {
    const longCode = await storeNumber(store, profile);
    const tollFree = await storeNumber(store, profile, { lineType: "toll_free" });
    const live = await livePool();
    const decision = decideNow(live);
    if (decision.kind === "pick") charge(live.pool, decision, 4);
    const busy = senderOf(live) === tollFree.id ? longCode : tollFree;
    const before = nextFree(live, busy);
    const change = (poolSettings: MessagingProfile["poolSettings"]) =>
      store.updateProfile(profile.organizationId, profile.id, (current) => ({ ...current, poolSettings }));
    await change({ ...RULES, longCodeWeight: 0 });
    expect(senderOf(live)).toBe(tollFree.id);
    await change({ ...RULES, tollFreeWeight: 0 });
    expect(senderOf(live)).toBe(longCode.id);
    expect(live.profile.poolSettings?.tollFreeWeight).toBe(0);
    await change(undefined);
    expect(senderOf(live)).toBe("poolOff");
    expect(nextFree(live, busy)).toBe(before);
  });

  it("a number whose health was reset is picked again, and counts that were read before do not come back", async () => {
    await store.updateProfile(profile.organizationId, profile.id, (current) => ({
      ...current,
      poolSettings: { ...RULES, skipUnhealthy: true },
    }));
    const number = await storeNumber(store, profile);
    const live = await livePool();
    const failed = { kind: "failed", at: NOON, error: FAILED_BY_SENDER, carrierCode: "1" } as const;
    const outcomes = await Promise.all(
      (
        await storeMessages(
          store,
          number,
          ...Array.from({ length: 12 }, () => ({ status: "sent", sentAt: NOON }) as const),
        )
      ).map(async (message) => (await report(store, message, failed))[0] as AppliedReport),
    );
    pools.book(outcomes);
    expect(decideNow(live)).toMatchObject({ because: "nothingUsable", excluded: { unhealthy: 1 } });
    now = NOON + SECOND;
    await store.resetHealth(number.organizationId, number.id, now);
    expect(senderOf(live)).toBe(number.id);
    expect(pools.countUnhealthy()).toBe(0);
    pools.book(outcomes);
    expect(senderOf(live)).toBe(number.id);
  });

  it("a changed profile is the one that is read, though its pool's rules are as before", async () => {
    const live = await livePool();
    const { roundRobin } = live.pool;
    await store.updateProfile(profile.organizationId, profile.id, (current) => ({
      ...current,
      enabled: false,
      name: "x",
    }));
    expect(live.profile).toEqual({ ...profile, enabled: false, name: "x" });
    expect(live.pool.roundRobin).toBe(roundRobin);
  });

  it("a deleted profile has no pool, and its numbers are free for another", async () => {
    const other = aProfile(profile.organizationId);
    await store.insertProfile(other);
    const number = await storeNumber(store, profile);
    const into = await livePool(other);
    await livePool();
    await store.deleteProfile(profile.organizationId, profile.id, NOON);
    expect(pools.peek(profile.organizationId, profile.id)).toBeUndefined();
    expect(await pools.load(profile.organizationId, profile.id)).toBeUndefined();
    const assign = (current: PhoneNumber) => ({ ...current, messagingProfileId: other.id });
    await store.updateNumber(profile.organizationId, number.id, assign);
    expect(senderOf(into)).toBe(number.id);
  });

  it("another profile's pool is as it was", async () => {
    const other = aProfile(profile.organizationId);
    await store.insertProfile(other);
    const neighbour = await storeNumber(store, other);
    const number = await storeNumber(store, profile);
    const into = await livePool(other);
    await livePool();
    await store.updateNumber(profile.organizationId, number.id, (current) => ({ ...current, state: "paused" }));
    await store.deleteProfile(profile.organizationId, profile.id, NOON);
    expect(pools.peek(other.organizationId, other.id)).toBe(into);
    expect(senderOf(into)).toBe(neighbour.id);
  });
});

describe("A pool that is changed while it is being loaded", () => {
  const changes: readonly (readonly [string, (number: PhoneNumber) => Promise<unknown>, string])[] = [
    [
      "by pausing its number",
      ({ organizationId, id }) =>
        store.updateNumber(organizationId, id, (current) => ({ ...current, state: "paused" })),
      "nothingUsable",
    ],
    ["by removing its number", ({ organizationId, id }) => store.removeNumber(organizationId, id), "noNumbers"],
    [
      "by unassigning its number",
      ({ organizationId, id }) => store.updateNumber(organizationId, id, unassign),
      "noNumbers",
    ],
    [
      "by turning it off",
      ({ organizationId }) =>
        store.updateProfile(organizationId, profile.id, (current) => ({ ...current, poolSettings: undefined })),
      "poolOff",
    ],
  ];

  it.each(changes)("%s is as it was changed", async (_, change, expected) => {
    const number = await storeNumber(store, profile);
    pools = openPools(slowly(store).store, () => now);
    const loading = livePool();
    await change(number);
    expect(senderOf(await loading)).toBe(expected);
  });

  it("by a new number has it", async () => {
    pools = openPools(slowly(store).store, () => now);
    const loading = livePool();
    const number = await storeNumber(store, profile);
    expect(senderOf(await loading)).toBe(number.id);
  });

  it("by deleting its profile is not kept", async () => {
    pools = openPools(slowly(store).store, () => now);
    const loading = pools.load(profile.organizationId, profile.id);
    await store.deleteProfile(profile.organizationId, profile.id, NOON);
    await loading;
    expect(pools.peek(profile.organizationId, profile.id)).toBeUndefined();
    expect(await pools.load(profile.organizationId, profile.id)).toBeUndefined();
  });

  it("and fails to load does not fail the change, nor keep it from another pool", async () => {
    const other = aProfile(profile.organizationId);
    await store.insertProfile(other);
    const number = await storeNumber(store, profile);
    const slow = slowly(store);
    pools = openPools(slow.store, () => now);
    const live = await livePool();
    slow.fail = true;
    const failing = pools.load(other.organizationId, other.id).catch(() => "failed");
    const pause = (current: PhoneNumber): PhoneNumber => ({ ...current, state: "paused" });
    const pausing = store.updateNumber(profile.organizationId, number.id, pause);
    expect(await failing).toBe("failed");
    await expect(pausing).resolves.toMatchObject({ kind: "written" });
    expect(senderOf(live)).toBe("nothingUsable");
  });
});

describe("Pools of several processes", () => {
  it("take in what another process changed within a second", async () => {
    const number = await storeNumber(store, profile);
    const live = await livePool();
    const other = await opened.another();
    await other.updateNumber(profile.organizationId, number.id, (current) => ({ ...current, state: "paused" }));
    const added = await storeNumber(other, profile);
    await vi.waitFor(() => expect(senderOf(live)).toBe(added.id), { timeout: SECOND, interval: 5 });
    expect(live.numbers.get(number.id)?.state).toBe("paused");
  });

  it("follow nothing any more when they are closed", async () => {
    const live = await livePool();
    pools.close();
    await storeNumber(store, profile);
    expect(senderOf(live)).toBe("noNumbers");
  });
});

describe("Booking what receipts did", () => {
  const failTimes = async (number: PhoneNumber, times: number) => {
    const messages = await storeMessages(store, number, ...Array.from({ length: times }, () => ({})));
    const applied = [];
    for (const message of messages) {
      const failed = { kind: "failed", at: NOON, error: FAILED_BY_SENDER, carrierCode: "011" } as const;
      applied.push(...(await report(store, message, failed)));
    }
    return applied;
  };

  it("counts for the very next decision: what became unhealthy is not picked", async () => {
    profile = await storeProfile(store, { poolSettings: { ...RULES, skipUnhealthy: true } });
    const failing = await storeNumber(store, profile);
    const sound = await storeNumber(store, profile);
    const live = await livePool();
    expect(senderOf(live)).toBe(failing.id);
    const applied = await failTimes(failing, 15);
    expect(senderOf(live)).toBe(failing.id);
    pools.book(applied);
    expect(senderOf(live)).toBe(sound.id);
    expect(decideNow(live)).toMatchObject({ excluded: { unhealthy: 1 }, eligible: 1 });
    expect(pools.countUnhealthy()).toBe(1);
    const health = (await store.getNumber(profile.organizationId, failing.id))?.health;
    expect(live.pool.slots[live.pool.byId.get(failing.id) ?? -1]?.number.health).toEqual(health);
  });

  it("a pool that is loaded afterwards knows the same", async () => {
    profile = await storeProfile(store, { poolSettings: { ...RULES, skipUnhealthy: true } });
    const failing = await storeNumber(store, profile);
    await failTimes(failing, 15);
    expect(decideNow(await livePool())).toMatchObject({ because: "nothingUsable", excluded: { unhealthy: 1 } });
    const { health } = (await store.getNumber(profile.organizationId, failing.id)) ?? {};
    const standing = health && judge(health, NOON);
    now = standing?.standing === "unhealthy" ? standing.until : Number.NaN;
    expect(senderOf(await livePool())).toBe(failing.id);
  });

  it("counts down what is unreported, so that a number on trial is picked again", async () => {
    profile = await storeProfile(store, { poolSettings: { ...RULES, skipUnhealthy: true } });
    const number = await storeNumber(store, profile);
    // Eleven failures: a twelfth would judge it.
    await failTimes(number, 11);
    const live = await livePool();
    const decision = decideNow(live);
    expect(decision.kind).toBe("pick");
    if (decision.kind === "pick") charge(live.pool, decision, 1);
    expect(decideNow(live)).toMatchObject({ because: "nothingUsable", excluded: { onTrial: 1 } });
    const booked = { messageId: newId(), messagingProfileId: profile.id, phoneNumberId: number.id };
    pools.book([{ ...UNMATCHED, ...booked, status: "delivered", reported: 1 }]);
    expect(senderOf(live)).toBe(number.id);
  });

  it("a number on trial with more unreported messages than are counted is picked when the last is reported", async () => {
    profile = await storeProfile(store, { poolSettings: { ...RULES, skipUnhealthy: true } });
    const number = await storeNumber(store, profile);
    await failTimes(number, 11);
    const sent = await storeMessages(
      store,
      number,
      ...Array.from({ length: 150 }, () => ({ status: "sent", sentAt: NOON }) as const),
    );
    const exchange = () => pools.exchange((backlog) => store.synchronize({ owner: "process-1", now, backlog }));
    const report = (messages: typeof sent) =>
      store.applyReports(
        messages.map(({ organizationId, id: messageId }) => ({
          target: { organizationId, messageId },
          // It says nothing about the sender.
          report: { kind: "receipt_timeout", at: NOON },
        })),
      );
    const onTrial = { because: "nothingUsable", excluded: { onTrial: 1 } };
    const live = await livePool();
    expect(decideNow(live)).toMatchObject(onTrial);
    pools.book(await report(sent.slice(0, 149)));
    expect(decideNow(live)).toMatchObject(onTrial);
    await exchange();
    expect(decideNow(live)).toMatchObject(onTrial);
    await report(sent.slice(149));
    await exchange();
    expect(senderOf(live)).toBe(number.id);
  });

  it("leaves alone what it does not know", async () => {
    const number = await storeNumber(store, profile);
    const live = await livePool();
    const health = { delivered: 0, failed: 50, spam: 50, inbound: 0, asOf: NOON };
    const failed = { ...UNMATCHED, messageId: newId(), status: "delivery_failed", health, reported: 1 } as const;
    pools.book([UNMATCHED, { ...failed, messagingProfileId: profile.id, phoneNumberId: newId() }]);
    expect(live.pool.slots[live.pool.byId.get(number.id) ?? -1]?.number.health.failed).toBe(0);
    expect(senderOf(live)).toBe(number.id);
  });
});
