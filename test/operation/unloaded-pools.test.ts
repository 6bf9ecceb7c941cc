import Database from "better-sqlite3";
import { afterAll, expect, it } from "vitest";
import { startServer, type TestServer, temporaryFolder } from "../server.ts";
import { makePool, ON } from "../wire/pools.ts";

/** Pools not loaded since the start, and the numbers of each, of which the first is unhealthy. */
const POOLS = 500;
const NUMBERS = 200;

const folder = temporaryFolder();
afterAll(() => folder.remove());

/** Copies the one pool many times, with its messages, if any, all due. */
function multiply(database: string, isUnhealthy: boolean): void {
  const db = new Database(database);
  const insert = (table: string, changed: Record<string, string>, from: string) => {
    const columns = (db.pragma(`table_info(${table})`) as { name: string }[]).map(({ name }) => name);
    const copied = columns.filter((name) => name !== "sequence");
    const values = copied.map((name) => changed[name] ?? `t."${name}"`);
    db.exec(
      `INSERT INTO ${table} (${copied.map((name) => `"${name}"`).join(", ")})
       WITH RECURSIVE p (pool) AS (SELECT 1 UNION ALL SELECT pool + 1 FROM p LIMIT ${POOLS}),
         n (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM n LIMIT ${NUMBERS})
       SELECT ${values.join(", ")} FROM ${from}, (SELECT * FROM ${table} LIMIT 1) t`,
    );
  };
  const profile = "'00000000-0000-7000-8000-' || printf('%012x', pool)";
  const number = "'00000000-0000-7000-9000-' || printf('%012x', pool * 1000 + number)";
  const phoneNumber = "'+1312' || (2000000 + pool * 1000 + number)";
  db.transaction(() => {
    insert("messaging_profiles", { id: profile }, "p");
    insert("phone_numbers", { id: number, messaging_profile_id: profile, phone_number: phoneNumber }, "p, n");
    const message = "'00000000-0000-7000-a000-' || printf('%012x', pool)";
    db.prepare("UPDATE messages SET send_at = $due, next_submit_at = $due").run({ due: Date.now() - 1_000 });
    insert("messages", { id: message, messaging_profile_id: profile }, "p");
    if (!isUnhealthy) return;
    db.prepare(
      `INSERT INTO number_health (phone_number_id, delivered, failed, spam, inbound, as_of)
       SELECT id, 0, 100, 0, 0, ? FROM phone_numbers WHERE id LIKE '00000000-0000-7000-9000-%'
       GROUP BY messaging_profile_id`,
    ).run(Date.now());
  })();
  db.close();
}

async function unhealthyCounted(server: TestServer): Promise<number> {
  const page = await (await fetch(`${server.metrics}/metrics`)).text();
  return Number(/^numberpool_unhealthy_numbers (\d+)$/m.exec(page)?.[1]);
}

/**
 * The longest response time of `/healthz` until a task is over, milliseconds, and the last count of
 * the task.
 */
async function watch(server: TestServer, look: () => Promise<{ isOver: boolean; count: number }>) {
  let longest = 0;
  let counted = 0;
  for (const until = performance.now() + 15_000; performance.now() < until; ) {
    const start = performance.now();
    expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
    longest = Math.max(longest, performance.now() - start);
    const { isOver, count } = await look();
    counted = count;
    if (isOver) break;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return { longest, counted };
}

it("loads the pools of unhealthy numbers without delaying other calls", { timeout: 60_000 }, async () => {
  const database = `${folder.path}/unhealthy.db`;
  const first = await startServer({ database });
  await makePool(first, { profile: { number_pool_settings: { ...ON, skip_unhealthy: true } } });
  expect(await first.stop()).toBe(0);
  multiply(database, true);

  const server = await startServer({ database });
  const { longest, counted } = await watch(server, async () => {
    // Some of the pools are enough: loading all of them in one go is the fault.
    const count = await unhealthyCounted(server);
    return { isOver: count >= 20, count };
  });
  const stopping = performance.now();
  expect(await server.stop()).toBe(0);
  expect(performance.now() - stopping).toBeLessThan(15_000);
  expect(counted).toBeGreaterThanOrEqual(20);
  // A pool of this size loads in about ten milliseconds; other programs run too.
  expect(longest).toBeLessThan(500);
});

it("loads the pools of scheduled messages that are due without delaying other calls", { timeout: 60_000 }, async () => {
  const database = `${folder.path}/scheduled.db`;
  const first = await startServer({ database });
  const { profileId } = await makePool(first);
  const send_at = new Date(Date.now() + 600_000).toISOString();
  const body = { messaging_profile_id: profileId, to: "+13125550100", text: "Later", send_at };
  expect((await first.json("POST", "/v2/messages/number_pool", body)).status).toBe(200);
  expect(await first.stop()).toBe(0);
  multiply(database, false);

  const server = await startServer({ database });
  const db = new Database(database, { readonly: true });
  const waiting = db.prepare("SELECT count(*) FROM messages WHERE status = 'scheduled'").pluck();
  const { longest, counted } = await watch(server, async () => {
    const count = waiting.get() as number;
    return { isOver: count <= POOLS - 200, count };
  });
  db.close();
  expect(await server.stop()).toBe(0);
  expect(counted).toBeLessThanOrEqual(POOLS - 200);
  expect(longest).toBeLessThan(500);
});
