import { writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { startServer, type TestServer, temporaryFolder } from "../server.ts";
import { mostAheadOf } from "./ahead.ts";
import { makeMixedPool } from "./mixed-pool.ts";
import { rowsOf } from "./program.ts";
import { readLedger } from "./sandbox-ledger.ts";

/**
 * A campaign through the sandbox: a share of all messages fails, and every message of one number is
 * blocked as spam.
 */
const MESSAGES = 20_000;
const BATCH = 500;
const LONG_CODES = 80;
const TOLL_FREE = 20;
/**
 * Segments a second: the long codes together send four times the offered load, so that no message
 * waits long.
 */
const RATE = 50;
const FAILING = 0.05;
const BLOCKED = "+12125550000";
/** Time between two batches, milliseconds: receipts arrive 220 ms after a submit. */
const PAUSE = 250;

const folder = temporaryFolder();
const database = `${folder.path}/campaign.db`;
const ledger = `${folder.path}/ledger.jsonl`;
let server: TestServer;

type Row = {
  id: string;
  from: string;
  line_type: string;
  status: string;
  error_reason: number | null;
  sent_at: number;
  received_at: number;
  wait_seconds: number;
};

beforeAll(async () => {
  const config = `${folder.path}/numberpool.yaml`;
  writeFileSync(
    config,
    `
carriers:
  sandbox:
    type: sandbox
    success_ratio: ${1 - FAILING}
    ledger: ${ledger}
    numbers:
      "${BLOCKED}": {success_ratio: 0, failure_code: "40002"}
`,
  );
  server = await startServer({ database, env: { NUMBERPOOL_CONFIG: config } });
});

afterAll(async () => {
  expect(await server.stop()).toBe(0);
  folder.remove();
});

describe("A campaign of 20,000 messages through 100 numbers, one of them blocked", () => {
  it("ends with every message final, the bad number excluded, shares by weight and every rate held", {
    timeout: 120_000,
  }, async () => {
    const messaging_profile_id = await makeMixedPool(server, {
      longCodes: LONG_CODES,
      tollFree: TOLL_FREE,
      rate: RATE,
    });
    for (let at = 0; at < MESSAGES; at += BATCH) {
      const messages = Array.from({ length: BATCH }, (_, index) => ({
        messaging_profile_id,
        to: `+1312${String(2_000_000 + at + index)}`,
        text: "The shop opens at nine. Reply STOP to opt out.",
      }));
      const { status, body } = await server.json("POST", "/v2/messages/number_pool/batch", { messages });
      expect([status, body.data.filter((result: { error: unknown }) => result.error !== null)]).toEqual([200, []]);
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
    }
    const open = "SELECT id FROM messages WHERE status NOT IN ('delivered', 'delivery_failed') LIMIT 1";
    await vi.waitFor(() => expect(rowsOf(database, open)).toEqual([]), { timeout: 60_000, interval: 250 });

    const rows = rowsOf<Row>(database, "SELECT * FROM messages");
    expect(rows).toHaveLength(MESSAGES);
    const [good, bad] = [rows.filter(({ from }) => from !== BLOCKED), rows.filter(({ from }) => from === BLOCKED)];
    // The share of failures is random: five standard deviations.
    const failed = good.filter(({ status }) => status === "delivery_failed").length / good.length;
    expect(Math.abs(failed - FAILING)).toBeLessThan(5 * Math.sqrt((FAILING * (1 - FAILING)) / good.length));

    // Twelve failures make it unhealthy, and a few more messages were in flight. Its share would
    // have been 200.
    expect(bad.every(({ status }) => status === "delivery_failed")).toBe(true);
    expect(bad.length).toBeGreaterThanOrEqual(12);
    expect(bad.length).toBeLessThan(100);
    const { data } = (await server.json("GET", `/v2/phone_numbers/${encodeURIComponent(BLOCKED)}`)).body;
    expect(data.health).toMatchObject({ healthy: false, unhealthy_reason: "spam", spam_ratio: 1, success_ratio: 0 });

    const shareOf = (lineType: string) => rows.filter((row) => row.line_type === lineType).length;
    expect(Math.abs(shareOf("long_code") - (MESSAGES * 5) / 6)).toBeLessThanOrEqual(1);
    expect(Math.abs(shareOf("toll_free") - MESSAGES / 6)).toBeLessThanOrEqual(1);
    const counts = new Map<string, number>();
    for (const { from } of good) counts.set(from, (counts.get(from) ?? 0) + 1);
    expect(counts.size).toBe(LONG_CODES + TOLL_FREE - 1);
    for (const prefix of ["+1212", "+1800"]) {
      const each = [...counts].filter(([from]) => from.startsWith(prefix)).map(([, count]) => count);
      // Equal except for numbers that fell behind while the machine was busy.
      expect(Math.max(...each) - Math.min(...each)).toBeLessThanOrEqual(0.15 * Math.max(...each));
    }

    const submits = readLedger(ledger);
    expect(new Set(submits.map(({ message_id }) => message_id)).size).toBe(MESSAGES);
    expect(submits).toHaveLength(MESSAGES);
    const senderOf = new Map(rows.map(({ id, from }) => [id, from]));
    const times = new Map<string, number[]>();
    for (const { at, message_id } of submits) {
      const from = senderOf.get(message_id) as string;
      times.set(from, [...(times.get(from) ?? []), at]);
    }
    for (const each of times.values()) expect(mostAheadOf(each, RATE)).toBeLessThanOrEqual(2 + RATE * 0.05);
  });
});
