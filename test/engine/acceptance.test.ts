import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { advance } from "../../src/domain/pool/advance.ts";
import { waitOf } from "../../src/domain/pool/room.ts";
import { segment } from "../../src/domain/segments.ts";
import { createAcceptance } from "../../src/engine/accept/acceptance.ts";
import type { Unit } from "../../src/engine/accept/decide-group.ts";
import type { LivePool } from "../../src/engine/pools/live-pools.ts";
import { openPools, type Pools } from "../../src/engine/pools/pools.ts";
import type { Store } from "../../src/store/store.ts";
import { NOON, newId, storeNumber, storeProfile } from "../store/contract/records.ts";
import { openInFolder } from "../store/sqlite-folder.ts";

const RULES = { longCodeWeight: 1, tollFreeWeight: 1, skipUnhealthy: true, stickySender: false, geomatch: false };

let opened: ReturnType<typeof openInFolder>;
let store: Store;
let pools: Pools;

beforeEach(() => {
  opened = openInFolder();
  store = opened.store;
  pools = openPools(store, () => NOON);
});

afterEach(async () => {
  pools.close();
  await opened.dispose();
});

/** An acceptance whose ids fail as often as is asked for, from the second one on. */
function acceptanceFailing(times: number) {
  let asked = 0;
  const ids = (now: number) => {
    asked += 1;
    if (asked > 1 && asked <= 1 + times) throw new Error(`no id at ${now}`);
    return newId();
  };
  return createAcceptance({ store, clock: () => NOON, ids, stickyLifetimeMs: 0, onAccepted: () => {} });
}

function unitTo(live: LivePool, ...recipients: string[]): Unit {
  const segments = segment("Hello", "auto");
  if ("unencodable" in segments) throw new Error("the text cannot be encoded");
  const item = { live, from: undefined, sendAt: undefined, webhookUrl: undefined, webhookFailoverUrl: undefined };
  return {
    organizationId: live.profile.organizationId,
    method: "SendMessage",
    items: recipients.map((to) => ({ ...item, send: { to, text: "Hello", segments }, useProfileWebhooks: true })),
    key: undefined,
    requestHash: undefined,
    attempt: undefined,
    answer: () => new Uint8Array(),
  };
}

/** What a message given to each number now would wait, and what the pool thinks is queued. */
function loadsOf({ pool }: LivePool) {
  advance(pool, NOON);
  return pool.slots.map((slot, index) => [slot?.queuedSegments, waitOf(pool, index)]);
}

async function poolOfTwo(): Promise<LivePool> {
  const profile = await storeProfile(store, { poolSettings: RULES });
  for (const segmentsPerSecond of [1, 2]) await storeNumber(store, profile, { segmentsPerSecond });
  return (await pools.load(profile.organizationId, profile.id)) as LivePool;
}

describe("A group of sends", () => {
  it("keeps no charge when deciding one of its texts fails", async () => {
    const live = await poolOfTwo();
    const before = loadsOf(live);
    const unit = unitTo(live, "+12125550101", "+12125550102", "+12125550103");
    await expect(acceptanceFailing(1).accept(unit)).rejects.toThrow("no id");
    expect(loadsOf(live)).toEqual(before);
    expect(await store.measureQueue()).toMatchObject({ messages: 0 });
  });

  it("is taken apart when deciding fails midway: every other send is accepted and charged once", async () => {
    const live = await poolOfTwo();
    const { accept } = acceptanceFailing(2);
    const units = ["+12125550101", "+12125550102", "+12125550103"].map((to) => unitTo(live, to));
    const outcomes = await Promise.allSettled(units.map(accept));
    const accepted = outcomes.filter(({ status }) => status === "fulfilled").length;
    expect(accepted).toBe(2);
    const queued = pools.peek(live.profile.organizationId, live.profile.id)?.pool.slots ?? [];
    expect(queued.reduce((sum, slot) => sum + (slot?.queuedSegments ?? 0), 0)).toBe(2);
    expect(await store.measureQueue()).toMatchObject({ messages: 2 });
  });
});
