import Database from "better-sqlite3";
import { Client } from "pg";
import { afterAll, describe, expect, it } from "vitest";
import { startServer, type TestServer, temporaryFolder } from "../server.ts";
import { freshDatabase } from "../store/postgres-database.ts";
import { makePool } from "../wire/pools.ts";

/** Scheduled messages that become due at once, for one number of one segment a second. */
const MESSAGES = Number(process.env.NUMBERPOOL_TEST_SCHEDULED ?? 20_000);
/** How long the test observes the program while it releases them, milliseconds. */
const WATCHED = 4_000;

const folder = temporaryFolder();
afterAll(() => folder.remove());

/** Schedules one message through the API, and stops the program. */
async function scheduleOne(server: TestServer): Promise<void> {
  const { profileId } = await makePool(server, { number: { segments_per_second: 1 } });
  const send_at = new Date(Date.now() + 600_000).toISOString();
  const body = { messaging_profile_id: profileId, to: "+13125550100", text: "Later", send_at };
  expect((await server.json("POST", "/v2/messages/number_pool", body)).status).toBe(200);
  expect(await server.stop()).toBe(0);
}

const DUE = "send_at = $due, next_submit_at = $due, valid_until = $until";

/** Copies the one message many times, all due, and returns how many wait. */
function multiplyInSqlite(database: string): void {
  const db = new Database(database);
  const moments = { due: Date.now() - 1_000, until: Date.now() + 14_400_000 };
  db.prepare(`UPDATE messages SET ${DUE}`).run(moments);
  const columns = (db.pragma("table_info(messages)") as { name: string }[]).map(({ name }) => `"${name}"`);
  const values = columns.map((name) =>
    name === '"id"' ? "substr(m.id, 1, 24) || printf('%012x', n.value)" : `m.${name}`,
  );
  db.exec(
    `INSERT INTO messages (${columns}) WITH RECURSIVE n (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n LIMIT ${MESSAGES - 1})
     SELECT ${values} FROM n, (SELECT * FROM messages LIMIT 1) m`,
  );
  db.close();
}

async function multiplyInPostgres(url: string): Promise<void> {
  const db = new Client({ connectionString: url });
  await db.connect();
  const [due, until] = [Date.now() - 1_000, Date.now() + 14_400_000];
  await db.query(`UPDATE messages SET send_at = ${due}, next_submit_at = ${due}, valid_until = ${until}`);
  const { rows } = await db.query(
    "SELECT column_name AS name FROM information_schema.columns WHERE table_name = 'messages'",
  );
  const columns = rows.map(({ name }) => `"${name}"`);
  const values = columns.map((name) =>
    name === '"id"' ? "substr(m.id, 1, 24) || lpad(to_hex(n.value), 12, '0')" : `m.${name}`,
  );
  await db.query(
    `INSERT INTO messages (${columns}) SELECT ${values} FROM generate_series(1, ${MESSAGES - 1}) AS n (value), (SELECT * FROM messages LIMIT 1) m`,
  );
  await db.end();
}

/** The longest response time of `/healthz`, milliseconds. */
async function longestAnswer(server: TestServer): Promise<number> {
  let longest = 0;
  for (const until = performance.now() + WATCHED; performance.now() < until; ) {
    const start = performance.now();
    expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
    longest = Math.max(longest, performance.now() - start);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return longest;
}

describe("many scheduled messages that are due at once", () => {
  it.each([
    ["SQLite", async () => `${folder.path}/numberpool.db`, multiplyInSqlite],
    ["PostgreSQL", freshDatabase, multiplyInPostgres],
  ] as const)(
    "do not delay responses or the stop of the program on %s",
    { timeout: 120_000 },
    async (name, place, multiply) => {
      const database = await place();
      await scheduleOne(await startServer({ database }));
      await multiply(database);
      const server = await startServer({ database });
      const longest = await longestAnswer(server);
      const start = performance.now();
      expect(await server.stop()).toBe(0);
      const stopped = performance.now() - start;
      if (process.env.NUMBERPOOL_TEST_SCHEDULED !== undefined) console.log(name, { MESSAGES, longest, stopped });
      // Half a second, because other programs run too; a pass takes milliseconds.
      expect(longest).toBeLessThan(500);
      expect(stopped).toBeLessThan(15_000);
    },
  );
});
