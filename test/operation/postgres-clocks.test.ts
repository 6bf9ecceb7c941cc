import { writeFileSync } from "node:fs";
import { afterAll, afterEach, describe, expect, it, vi } from "vitest";
import { startServer, type TestServer, temporaryFolder } from "../server.ts";
import { freshDatabase } from "../store/postgres-database.ts";
import { freshNumber, makeProfile, register } from "../wire/pools.ts";
import { mostAheadOf } from "./ahead.ts";
import { readLedger } from "./sandbox-ledger.ts";

/** The number's segments a second, and the messages that both processes together accept for it. */
const RATE = 10;
const MESSAGES = 60;

const folder = temporaryFolder();
const ledger = `${folder.path}/ledger.jsonl`;
const configuration = `${folder.path}/numberpool.yaml`;
const started: TestServer[] = [];

afterEach(async () => {
  for (const { kill } of started.splice(0)) await kill();
});

afterAll(() => folder.remove());

/** Starts a program whose clock is off by some milliseconds. */
async function startOff(database: string, milliseconds: number): Promise<TestServer> {
  const shift = `const now = Date.now; Date.now = () => now() + ${milliseconds};`;
  const server = await startServer({
    database,
    env: {
      NUMBERPOOL_CONFIG: configuration,
      NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(shift)}`,
    },
  });
  started.push(server);
  return server;
}

describe("Processes whose clocks differ", () => {
  it("together hold a number's rate, and log whose clock is wrong", { timeout: 60_000 }, async () => {
    writeFileSync(configuration, JSON.stringify({ carriers: { sandbox: { type: "sandbox", ledger } } }));
    const database = await freshDatabase();
    const [right, behind, ahead] = [
      await startOff(database, 0),
      await startOff(database, -5_000),
      await startOff(database, 5_000),
    ];
    const messaging_profile_id = await makeProfile(right);
    await register(right, { phone_number: freshNumber(), messaging_profile_id, segments_per_second: RATE });
    const body = { messaging_profile_id, to: "+13125550100", text: "Apart" };
    await vi.waitFor(async () => {
      for (const each of [right, behind, ahead]) {
        const { status } = await each.json("POST", "/v2/messages/number_pool", body);
        expect(status).toBe(200);
      }
    });
    const messages = Array.from({ length: (MESSAGES - 3) / 3 }, () => body);
    await Promise.all(
      [right, behind, ahead].map(async (each) => {
        const { status } = await each.json("POST", "/v2/messages/number_pool/batch", { messages });
        expect(status).toBe(200);
      }),
    );
    await vi.waitFor(() => expect(readLedger(ledger)).toHaveLength(MESSAGES), { timeout: 30_000, interval: 100 });
    const times = readLedger(ledger)
      .map(({ at }) => at)
      .sort((one, other) => one - other);
    expect(mostAheadOf(times, RATE)).toBeLessThanOrEqual(2 + RATE * 0.05);
    // The number is not starved either.
    expect(Math.max(...times) - Math.min(...times)).toBeLessThan((MESSAGES / RATE) * 1_000 + 5_000);
    for (const [server, difference] of [
      [behind, -5_000],
      [ahead, 5_000],
    ] as const) {
      const line = server
        .stderr()
        .split("\n")
        .find((each) => each.includes("clock_differs"));
      expect(Math.abs(JSON.parse(line ?? "{}").difference_ms - difference)).toBeLessThan(500);
    }
    expect(right.stderr()).not.toContain("clock_differs");
  });
});
