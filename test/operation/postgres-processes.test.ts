import { writeFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { startServer, type TestServer, temporaryFolder } from "../server.ts";
import { freshDatabase } from "../store/postgres-database.ts";
import { mostAheadOf } from "./ahead.ts";
import { makeMixedPool } from "./mixed-pool.ts";
import { rowsOfPostgres } from "./postgres-rows.ts";
import { readLedger, timesEach } from "./sandbox-ledger.ts";

/**
 * A campaign through two processes on one PostgreSQL database; one of them is killed halfway and
 * restarted.
 */
const MESSAGES = Number(process.env.NUMBERPOOL_TEST_POSTGRES_MESSAGES ?? 6_000);
const BATCH = 50;
const LONG_CODES = 50;
const TOLL_FREE = 10;
/** Segments a second of a number: together they send more than both processes accept. */
const RATE = 100;
/** Concurrent batches to each process. */
const AT_A_TIME = 4;
/** The longest wait for receipts: those of a killed process's sandbox never arrive. */
const RECEIPT_WINDOW_MS = { NUMBERPOOL_RECEIPT_WINDOW_SECONDS: "15" };
/** The end of a process is noticed after half a minute, and then its last messages are settled. */
const SETTLED = 90_000;

type Row = { id: string; from: string; line_type: string; status: string };

const folder = temporaryFolder();
const ledger = `${folder.path}/ledger.jsonl`;
const configuration = `${folder.path}/numberpool.yaml`;
const started: TestServer[] = [];
let database: string;

beforeAll(() => {
  writeFileSync(configuration, JSON.stringify({ carriers: { sandbox: { type: "sandbox", ledger } } }));
});

beforeEach(async () => {
  database = await freshDatabase();
});

afterEach(async () => {
  for (const { process, kill } of started.splice(0))
    if (process.exitCode === null && process.signalCode === null) await kill();
});

afterAll(() => folder.remove());

async function start(): Promise<TestServer> {
  const server = await startServer({ database, env: { NUMBERPOOL_CONFIG: configuration, ...RECEIPT_WINDOW_MS } });
  started.push(server);
  return server;
}

const POOL = { longCodes: LONG_CODES, tollFree: TOLL_FREE, rate: RATE };

describe("Two processes on one PostgreSQL database", () => {
  it("lose and double nothing when one is killed, share by weight, and together hold every number's rate", {
    timeout: 120_000 + MESSAGES * 20,
  }, async () => {
    const servers = [await start(), await start()];
    const messaging_profile_id = await makeMixedPool(servers[0] as TestServer, POOL);
    const accepted = new Set<string>();
    let next = 0;
    let isKilled = false;

    /** Sends batches, each until a process responds: the key makes repeats safe. */
    const caller = async (own: number) => {
      while (next < MESSAGES) {
        const first = next;
        next += BATCH;
        const messages = Array.from({ length: BATCH }, (_, index) => ({
          messaging_profile_id,
          to: `+1312${String(2_000_000 + first + index)}`,
          text: "The shop opens at nine.",
        }));
        for (let attempt = 0; ; attempt += 1) {
          const server = servers[(own + attempt) % servers.length] as TestServer;
          const sent = server.json(
            "POST",
            "/v2/messages/number_pool/batch",
            { messages },
            { "idempotency-key": `${first}` },
          );
          const answer = await sent.catch(() => undefined);
          if (answer?.status !== 200) {
            if (attempt > 20) throw new Error(`batch ${first}: ${JSON.stringify(answer?.body)}`);
            await new Promise((resolve) => setTimeout(resolve, 100));
            continue;
          }
          for (const { message } of answer.body.data) accepted.add(message.id);
          break;
        }
        if (!isKilled && first > MESSAGES / 2) {
          isKilled = true;
          await servers[1]?.kill();
          servers[1] = await start();
        }
      }
    };
    await Promise.all(Array.from({ length: 2 * AT_A_TIME }, (_, index) => caller(index)));
    expect(accepted.size).toBe(MESSAGES);

    const open = "SELECT id FROM messages WHERE status IN ('queued', 'sending', 'sent') LIMIT 1";
    await vi.waitFor(async () => expect(await rowsOfPostgres(database, open)).toEqual([]), {
      timeout: SETTLED,
      interval: 500,
    });

    const rows = await rowsOfPostgres<Row>(database, `SELECT id, "from", line_type, status FROM messages`);
    expect(rows.map(({ id }) => id).sort()).toEqual([...accepted].sort());
    const lines = readLedger(ledger);
    const times = timesEach(lines);
    expect(Math.max(...times.values())).toBe(1);
    const unconfirmed = rows.filter(({ status }) => status === "delivery_unconfirmed");
    expect(rows.filter(({ status }) => status === "delivered")).toHaveLength(MESSAGES - unconfirmed.length);
    for (const { id, status } of rows) if (status === "delivered") expect(times.get(id)).toBe(1);
    // No more than the killed process had in flight.
    expect(unconfirmed.length).toBeLessThan(1_000);

    const longCodes = rows.filter(({ line_type }) => line_type === "long_code").length;
    expect(Math.abs(longCodes / MESSAGES - 5 / 6)).toBeLessThan(0.01 * (5 / 6));

    const senderOf = new Map(rows.map(({ id, from }) => [id, from]));
    const timesByNumber = new Map<string, number[]>();
    for (const { at, message_id } of lines) {
      const from = senderOf.get(message_id) as string;
      timesByNumber.set(from, [...(timesByNumber.get(from) ?? []), at]);
    }
    for (const each of timesByNumber.values()) {
      // Lines of two processes may be slightly out of order.
      expect(
        mostAheadOf(
          each.sort((one, other) => one - other),
          RATE,
        ),
      ).toBeLessThanOrEqual(2 + RATE * 0.08);
    }
    for (const server of servers) expect(await server.stop()).toBe(0);
  });

  it("apply a change of configuration everywhere within two seconds", async () => {
    const [one, other] = [await start(), await start()];
    const messaging_profile_id = await makeMixedPool(one, POOL);
    const send = () =>
      other.json("POST", "/v2/messages/number_pool", { messaging_profile_id, to: "+13125550100", text: "Hi" });
    expect((await send()).status).toBe(200);
    await one.json("PATCH", `/v2/messaging_profiles/${messaging_profile_id}`, { enabled: false });
    await vi.waitFor(async () => expect((await send()).body.errors?.[0].code).toBe("40312"), {
      timeout: 2_000,
      interval: 50,
    });
    await one.json("PATCH", `/v2/messaging_profiles/${messaging_profile_id}`, { enabled: true });
    await vi.waitFor(async () => expect((await send()).status).toBe(200), { timeout: 2_000, interval: 50 });
  });
});
