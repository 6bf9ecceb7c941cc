import { join } from "node:path";
import Database from "better-sqlite3";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { startServer, type TestServer, temporaryFolder } from "../server.ts";
import { makePool, numbersAt } from "./program.ts";

const folder = temporaryFolder();
const database = join(folder.path, "pool.db");
let server: TestServer;
let profile: string;

/** Stored messages: the oldest failed, all others are delivered. */
const ALL = 38_000;
const FAILED = 30;

beforeAll(async () => {
  const first = await startServer({ database });
  profile = await makePool(first, numbersAt(1, 2));
  expect(await first.stop()).toBe(0);
  const db = new Database(database);
  const organization = db.prepare("SELECT organization_id FROM messaging_profiles").pluck().get();
  db.prepare(
    `WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number LIMIT ?)
     INSERT INTO messages (organization_id, id, direction, messaging_profile_id, "to", text, encoding, parts, num_chars,
       use_profile_webhooks, status, decision_pool_size, decision_eligible, decision_is_fallback, received_at, valid_until,
       wait_seconds)
     SELECT ?, printf('01900000-0000-7000-8000-%012d', n), 'outbound', ?, '+13125550100', ?, 'gsm7', 1, 100, 0,
       iif(n <= ?, 'sending_failed', 'delivered'), 1, 1, 0, n, n, 0
     FROM number`,
  ).run(ALL, organization, profile, "x".repeat(100), FAILED);
  db.prepare("UPDATE messages SET text = ? WHERE id LIKE '%000037___'").run("y".repeat(30_000));
  db.prepare(
    `INSERT INTO number_health (phone_number_id, delivered, failed, spam, inbound, as_of)
     SELECT id, 0, 40, 0, 0, ? FROM phone_numbers LIMIT 1`,
  ).run(Date.now());
  db.prepare(
    "UPDATE messaging_profiles SET number_pool_settings = json_set(number_pool_settings, '$.skipUnhealthy', json('true'))",
  ).run();
  db.close();
  server = await startServer({ database });
});

afterAll(async () => {
  expect(await server.stop()).toBe(0);
  folder.remove();
});

type Sent = { readonly id: string; readonly text: string };

describe("A list of messages", () => {
  it.each([250, 20])(
    "finds rare entries behind many others, %i on a page, and ends a page early only after two seconds",
    async (size) => {
      const found: string[] = [];
      let after: string | null = "";
      for (let page = 0; after !== null; page += 1) {
        expect(page).toBeLessThan(50);
        const cursor = after === "" ? "" : `&page[after]=${after}`;
        const since = performance.now();
        const { status, body } = await server.json(
          "GET",
          `/v2/messages?filter[status]=sending_failed&page[size]=${size}${cursor}`,
        );
        expect(status).toBe(200);
        found.push(...body.data.map(({ id }: Sent) => id));
        after = body.meta.next;
        if (after !== null && body.data.length < size) expect(performance.now() - since).toBeGreaterThan(2_000);
      }
      expect(found).toHaveLength(FAILED);
    },
  );

  it("has pages of about a mebibyte, and loses nothing between them", async () => {
    const ids: string[] = [];
    let after = "";
    for (let page = 0; page < 10; page += 1) {
      const { body } = await server.json("GET", `/v2/messages?page[size]=250${after}`);
      const bytes = JSON.stringify(body).length;
      expect(bytes).toBeLessThan(1.2 * 1024 * 1024);
      expect(bytes).toBeGreaterThan(0.5 * 1024 * 1024);
      ids.push(...body.data.map(({ id }: Sent) => id));
      after = `&page[after]=${body.meta.next}`;
    }
    const newest = Array.from({ length: ids.length }, (_, index) => {
      return `01900000-0000-7000-8000-${String(ALL - index).padStart(12, "0")}`;
    });
    expect(ids).toEqual(newest);
  });
});

describe("The metric of unhealthy numbers", () => {
  it("is right after a restart, before anything is sent", async () => {
    await vi.waitFor(
      async () => {
        const page = await (await fetch(`${server.metrics}/metrics`)).text();
        expect(page).toMatch(/^numberpool_unhealthy_numbers 1$/m);
      },
      { timeout: 5_000, interval: 100 },
    );
  });
});
