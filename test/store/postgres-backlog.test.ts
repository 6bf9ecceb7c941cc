import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { PhoneNumber } from "../../src/domain/phone-number-record.ts";
import { advance } from "../../src/domain/pool/advance.ts";
import { charge, confirm } from "../../src/domain/pool/charge.ts";
import { decide } from "../../src/domain/pool/decide.ts";
import { openPools } from "../../src/engine/pools/pools.ts";
import { openPostgresStore } from "../../src/store/postgres/postgres-store.ts";
import type { Store } from "../../src/store/store.ts";
import { aMessage, NO_BUDGETS, NOON, newId, SECOND, storeNumber, storeProfile, write } from "./contract/records.ts";
import { freshDatabase } from "./postgres-database.ts";

let url: string;
let admin: Store;
let now = NOON;

const open = () => openPostgresStore(url, { onLost: () => {}, chance: Math.random });

beforeAll(async () => {
  url = await freshDatabase();
  admin = await open();
});

afterAll(async () => {
  await admin.close();
});

/** A process with its pools; it sends from `number`. */
async function join(number: PhoneNumber) {
  const store = await open();
  const pools = openPools(store, () => now);
  const owner = newId();
  const profileId = number.messagingProfileId as string;
  const live = () => pools.peek(number.organizationId, profileId);
  return {
    load: () => pools.load(number.organizationId, profileId),
    /** Accepts a message as acceptance does: decide and charge, write, confirm. */
    accept: async () => {
      const pool = (await pools.load(number.organizationId, profileId))?.pool;
      if (pool === undefined) throw new Error("there is no pool");
      advance(pool, now);
      const pick = decide(pool, { segments: 1 });
      if (pick.kind === "refuse") return;
      const charged = charge(pool, pick, 1);
      await write(store, { messages: [aMessage(number, { receivedAt: now, queuedAt: now })] });
      confirm(charged);
      pools.bookAccepted(new Map([[number.id, 1]]));
    },
    claim: async () => {
      const request = { now, owner, phoneNumberIds: [number.id], budgets: NO_BUDGETS };
      const claims = await store.claim(request);
      pools.bookClaims(claims);
      return claims[0]?.messages.length ?? 0;
    },
    exchange: () => pools.exchange((backlog) => store.synchronize({ owner, now, backlog })),
    /** Looks at all queues, as the dispatcher does every few seconds. */
    look: async () => {
      const scan = pools.startQueueScan();
      for (const { phoneNumberId } of await store.listQueues(1_000)) scan.foundQueue(phoneNumberId);
      scan.finish();
    },
    /** Segments that this process counts as queued; undefined: it has no such pool. */
    believes: () => {
      const pool = live()?.pool;
      const slot = pool?.byId.get(number.id);
      return slot === undefined ? undefined : pool?.slots[slot]?.queuedSegments;
    },
    /** The wait of a send, milliseconds. */
    waits: () => {
      const pool = live()?.pool;
      if (pool === undefined) return undefined;
      advance(pool, now);
      return Math.max(0, (pool.nextFree[pool.byId.get(number.id) as number] as number) - now);
    },
    leave: async () => {
      pools.close();
      await store.close();
    },
  };
}

const ACTS = ["accept", "claim", "exchange", "load", "tick"] as const;
type Process = Awaited<ReturnType<typeof join>>;
const slow = async () =>
  storeNumber(admin, await storeProfile(admin, { poolSettings: POOL_ON }), { segmentsPerSecond: 1 });
const POOL_ON = { longCodeWeight: 1, tollFreeWeight: 1, skipUnhealthy: false, stickySender: false, geomatch: false };

describe("the backlog of processes", () => {
  it("counts once what another process accepted but had not published when the pool was loaded", async () => {
    const number = await slow();
    const [a, b] = [await join(number), await join(number)];
    await a.exchange();
    await b.exchange();
    for (let n = 0; n < 5; n += 1) await a.accept();
    await b.load();
    expect(b.believes()).toBe(5);
    await a.exchange();
    await b.exchange();
    expect([a.believes(), b.believes()]).toEqual([5, 5]);
    await Promise.all([a.leave(), b.leave()]);
  });

  it("is zero when a claim finds the queue empty, whichever process filled it", async () => {
    const number = await slow();
    const [a, b] = [await join(number), await join(number)];
    await b.load();
    for (let n = 0; n < 3; n += 1) await a.accept();
    await a.exchange();
    await b.exchange();
    expect(b.believes()).toBe(3);
    // Accepted and claimed by a process that is killed before it publishes.
    const dead = await join(number);
    for (let n = 0; n < 3; n += 1) {
      now += 2 * SECOND;
      expect(await dead.claim()).toBeGreaterThan(0);
    }
    await dead.leave();
    now += 2 * SECOND;
    expect(await b.claim()).toBe(0);
    expect(b.believes()).toBe(0);
    // Where no claim of its own corrects it, the look at the queues does.
    expect(a.believes()).toBe(3);
    await a.look();
    expect([a.believes(), a.waits()]).toEqual([0, 0]);
    await Promise.all([a.leave(), b.leave()]);
  });

  it("keeps what enters a queue while it is read", async () => {
    const number = await slow();
    const a = await join(number);
    await a.accept();
    await a.claim();
    await a.accept();
    expect(a.believes()).toBe(1);
    await a.look();
    expect(a.believes()).toBe(1);
    await a.leave();
  });

  it("is what is queued, after any acts of three processes of which one may be killed", async () => {
    const act = fc.record({ who: fc.nat(2), what: fc.constantFrom(...ACTS) });
    await fc.assert(
      fc.asyncProperty(fc.array(act, { maxLength: 25 }), fc.boolean(), async (acts, isKilled) => {
        const number = await slow();
        const all = [await join(number), await join(number), await join(number)] as [Process, Process, Process];
        for (const { who, what } of acts) {
          if (what === "tick") now += 1_500;
          else await (all[who] as Process)[what]();
        }
        const [killed, ...others] = all;
        const alive = isKilled ? others : all;
        if (isKilled) await killed.leave();
        // Every process publishes, then every process reads.
        for (let round = 0; round < 2; round += 1) for (const each of alive) await each.exchange();
        const queued = async () => (await admin.loadPoolNumber(number.id))?.traffic.queuedSegments as number;
        if (!isKilled) {
          const truth = await queued();
          for (const each of alive) expect(each.believes() ?? truth).toBe(truth);
        }
        // When the queue is empty, every process counts zero after one look.
        while ((await queued()) > 0) {
          now += 1_500;
          await (alive[0] as Process).claim();
        }
        for (let round = 0; round < 2; round += 1) for (const each of alive) await each.exchange();
        now += 1_500;
        for (const each of alive) await each.look();
        for (const each of alive) expect([each.believes() ?? 0, each.waits() ?? 0]).toEqual([0, 0]);
        await Promise.all(alive.map((each) => each.leave()));
      }),
      {
        numRuns: 12,
        endOnFailure: true,
        examples: [
          // A claim finds the queue empty while the processes have published a part of what they
          // accepted and sent.
          [
            [
              { who: 2, what: "accept" },
              { who: 0, what: "claim" },
              { who: 1, what: "exchange" },
              { who: 0, what: "exchange" },
              { who: 1, what: "accept" },
              { who: 1, what: "exchange" },
              { who: 1, what: "tick" },
              { who: 1, what: "claim" },
              { who: 0, what: "exchange" },
            ],
            false,
          ],
        ],
      },
    );
  }, 120_000);
});
