import type { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { QueuedMessage } from "../../src/domain/message.ts";
import type { PhoneNumber } from "../../src/domain/phone-number-record.ts";
import { connect } from "../../src/store/postgres/connection.ts";
import { openPostgresStore } from "../../src/store/postgres/postgres-store.ts";
import type { QueuedSegments } from "../../src/store/processes.ts";
import type { Store } from "../../src/store/store.ts";
import {
  claimOne,
  HOUR,
  NOON,
  newId,
  report,
  SECOND,
  storeMessage,
  storeMessages,
  storeNumber,
  storeProfile,
} from "./contract/records.ts";
import { freshDatabase } from "./postgres-database.ts";

let one: Store;
/** Statements of another program. */
let raw: Client;
let url: string;

const open = () => openPostgresStore(url, { onLost: () => {}, chance: Math.random });
const aNumberOf = async (): Promise<PhoneNumber> => storeNumber(one, await storeProfile(one));
const statusOf = async ({ organizationId, id }: QueuedMessage) => (await one.getMessage(organizationId, id))?.status;

beforeAll(async () => {
  url = await freshDatabase();
  one = await open();
  raw = await connect(url);
});

afterAll(async () => {
  await raw?.end();
  await one?.close();
});

describe("Peer updates", () => {
  /** A process that sends heartbeats. */
  const join = async (owner: string) => {
    const store = await open();
    const heartbeat = (now: number, ...backlog: QueuedSegments[]) => store.synchronize({ owner, now, backlog });
    return { store, owner, heartbeat };
  };
  const joinAll = async (...owners: string[]) => {
    await raw.query("UPDATE messages SET status = 'sent' WHERE status = 'sending'");
    await raw.query("DELETE FROM processes");
    await raw.query("DELETE FROM number_backlog");
    return Promise.all(owners.map((owner) => join(`${owner} ${newId()}`)));
  };
  type Joined = Awaited<ReturnType<typeof join>>;
  const leaveAll = (...joined: Joined[]) => Promise.all(joined.map(({ store }) => store.close()));

  it("contain the sums of the other processes' backlogs, when they change", async () => {
    const [a, b, c] = (await joinAll("a", "b", "c")) as [Joined, Joined, Joined];
    const [first, second] = [await aNumberOf(), await aNumberOf()];
    const has = ({ id: phoneNumberId }: PhoneNumber, segments: number) => ({ phoneNumberId, segments });
    expect((await a.heartbeat(NOON, has(first, 5), has(second, 2))).backlog).toEqual([]);
    expect((await b.heartbeat(NOON, has(first, -2))).backlog).toEqual(
      expect.arrayContaining([has(first, 5), has(second, 2)]),
    );
    expect((await c.heartbeat(NOON)).backlog).toEqual(expect.arrayContaining([has(first, 3), has(second, 2)]));
    expect((await a.heartbeat(NOON + SECOND)).backlog).toEqual([has(first, -2)]);
    expect((await b.heartbeat(NOON + SECOND)).backlog).toEqual([]);
    expect((await a.heartbeat(NOON + 2 * SECOND, has(first, 9))).backlog).toEqual([]);
    expect((await c.heartbeat(NOON + 2 * SECOND)).backlog).toEqual([has(first, 7)]);
    await one.removeNumber(first.organizationId, first.id);
    expect((await a.heartbeat(NOON + 3 * SECOND, has(first, 0))).backlog).toEqual([]);
    expect((await raw.query("SELECT FROM number_backlog WHERE phone_number_id = $1", [first.id])).rowCount).toBe(0);
    await leaveAll(a, b, c);
  });

  it("contain the health that others changed, also where a later change was committed first", async () => {
    const [a] = (await joinAll("a")) as [Joined];
    const number = await aNumberOf();
    const [first, second] = await storeMessages(one, number, { status: "sending" }, { status: "sending" });
    const { messagingProfileId } = number;
    expect((await a.heartbeat(NOON)).health).toEqual([]);
    await raw.query("BEGIN");
    await raw.query(
      "UPDATE number_health SET failed = 1, as_of = 5, changed_by = pg_current_xact_id() WHERE phone_number_id = $1",
      [number.id],
    );
    const other = await aNumberOf();
    await report(one, await storeMessage(one, other, { status: "sending" }), { kind: "delivered", at: NOON });
    expect((await a.heartbeat(NOON + SECOND)).health.map(({ phoneNumberId }) => phoneNumberId)).toEqual([other.id]);
    await raw.query("COMMIT");
    const late = { delivered: 0, failed: 1, spam: 0, inbound: 0, asOf: 5 };
    expect((await a.heartbeat(NOON + 2 * SECOND)).health).toEqual([
      { phoneNumberId: number.id, messagingProfileId, health: late },
    ]);
    expect((await a.heartbeat(NOON + 3 * SECOND)).health).toEqual([]);
    for (const message of [first, second]) {
      await report(one, message as QueuedMessage, { kind: "delivered", at: NOON });
    }
    const [peerUpdates] = (await a.heartbeat(NOON + 4 * SECOND)).health;
    expect(peerUpdates?.health.delivered).toBeCloseTo(2, 9);
    await leaveAll(a);
  });

  it("settle the messages of a process that was silent for half a minute, once and not before", async () => {
    const [dead, a, b] = (await joinAll("dead", "a", "b")) as [Joined, Joined, Joined];
    const number = await aNumberOf();
    const messages = await storeMessages(one, number, {}, {});
    for (const { heartbeat } of [dead, a, b]) await heartbeat(NOON);
    await claimOne(dead.store, number, NOON, dead.owner);
    await claimOne(dead.store, number, NOON + SECOND, a.owner);
    const settled: (string | undefined)[] = [];
    for (let now = NOON; now <= NOON + 40 * SECOND; now += SECOND) {
      const peerUpdates = await Promise.all([a, b].map(({ heartbeat }) => heartbeat(now)));
      settled.push(...peerUpdates.flatMap((each) => each.settled.map(({ messageId }) => messageId)));
      if (now <= NOON + 30 * SECOND) expect(settled).toEqual([]);
    }
    expect(settled).toEqual([messages[0]?.id]);
    expect(await Promise.all(messages.map(statusOf))).toEqual(["delivery_unconfirmed", "sending"]);
    await leaveAll(dead, a, b);
  });

  it("do not count as silent a process during an outage, nor one with another clock", async () => {
    const [a, b] = (await joinAll("a", "b")) as [Joined, Joined];
    const number = await aNumberOf();
    const message = await storeMessage(one, number);
    const behind = HOUR;
    await b.heartbeat(NOON - behind);
    await claimOne(b.store, number, NOON, b.owner);
    await a.heartbeat(NOON);
    // The database was away for a while.
    expect((await a.heartbeat(NOON + 60 * SECOND)).settled).toEqual([]);
    await b.heartbeat(NOON - behind + 61 * SECOND);
    for (let now = NOON + 62 * SECOND; now < NOON + 120 * SECOND; now += SECOND) {
      await b.heartbeat(now - behind);
      expect((await a.heartbeat(now)).settled).toEqual([]);
    }
    expect(await statusOf(message)).toBe("sending");
    await leaveAll(a, b);
  });

  it("count the backlog of a process that is gone, and count it once when the process returns", async () => {
    const [a, b, c] = (await joinAll("a", "b", "c")) as [Joined, Joined, Joined];
    const { id: phoneNumberId } = await aNumberOf();
    await a.heartbeat(NOON, { phoneNumberId, segments: 5 });
    expect((await b.heartbeat(NOON, { phoneNumberId, segments: 1 })).backlog).toEqual([{ phoneNumberId, segments: 5 }]);
    let now = NOON;
    for (; now < NOON + 640 * SECOND; now += 9 * SECOND) await b.heartbeat(now);
    const { rows } = await raw.query("SELECT owner FROM number_backlog ORDER BY owner");
    expect(rows).toEqual([{ owner: "" }, { owner: b.owner }]);
    expect((await c.heartbeat(now)).backlog).toEqual([{ phoneNumberId, segments: 6 }]);
    await a.heartbeat(now + SECOND, { phoneNumberId, segments: 8 });
    expect((await c.heartbeat(now + 2 * SECOND)).backlog).toEqual([{ phoneNumberId, segments: 9 }]);
    await a.heartbeat(now + 3 * SECOND, { phoneNumberId, segments: 0 });
    expect((await b.heartbeat(now + 4 * SECOND)).backlog).toEqual([{ phoneNumberId, segments: 0 }]);
    await leaveAll(a, b, c);
  });
});
