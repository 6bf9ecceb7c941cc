import Database from "better-sqlite3";
import { afterAll, expect, it } from "vitest";
import { startServer, type TestServer, temporaryFolder } from "../server.ts";
import { makePool, ON } from "../wire/pools.ts";

/** Pools that were not loaded since the start, and the numbers of each, of which the first is unhealthy. */
const POOLS = 500;
const NUMBERS = 200;

const folder = temporaryFolder();
afterAll(() => folder.remove());

/** Makes many pools of the one that is there. */
function multiply(database: string): void {
  const db = new Database(database);
  const insert = (table: string, changed: Record<string, string>, from: string) => {
    const columns = (db.pragma(`table_info(${table})`) as { name: string }[]).map(({ name }) => name);
    const kept = columns.filter((name) => name !== "sequence");
    const values = kept.map((name) => changed[name] ?? `t.${name}`);
    db.exec(
      `INSERT INTO ${table} (${kept.join(", ")})
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

it("loads the pools of unhealthy numbers without delaying other calls", { timeout: 60_000 }, async () => {
  const database = `${folder.path}/numberpool.db`;
  const first = await startServer({ database });
  await makePool(first, { profile: { number_pool_settings: { ...ON, skip_unhealthy: true } } });
  expect(await first.stop()).toBe(0);
  multiply(database);

  const server = await startServer({ database });
  let longest = 0;
  let counted = 0;
  // Some of the pools are enough: that all of them are loaded in one go is what must not be.
  for (const until = performance.now() + 15_000; counted < 20 && performance.now() < until; ) {
    const start = performance.now();
    expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
    longest = Math.max(longest, performance.now() - start);
    counted = await unhealthyCounted(server);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const stopping = performance.now();
  expect(await server.stop()).toBe(0);
  expect(performance.now() - stopping).toBeLessThan(15_000);
  expect(counted).toBeGreaterThanOrEqual(20);
  // A pool of this size loads in about ten milliseconds; other programs run beside this one.
  expect(longest).toBeLessThan(500);
});
