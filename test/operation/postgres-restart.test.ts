import { writeFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { startServer, type TestServer, temporaryFolder } from "../server.ts";
import { type PostgresServer, startPostgres } from "../store/postgres-server.ts";
import { rowsOfPostgres } from "./postgres-rows.ts";
import { makePool, numbersAt, pause } from "./program.ts";
import { readLedger, timesEach } from "./sandbox-ledger.ts";

/** Three processes go on through an outage of their PostgreSQL server. */
const PROCESSES = 3;
/** How long messages are sent before and after the outage, milliseconds. */
const AROUND = 1_500;

describe.skipIf(process.env.NUMBERPOOL_TEST_POSTGRES)("Three processes under load", () => {
  const folder = temporaryFolder();
  const ledger = `${folder.path}/ledger.jsonl`;
  const configuration = `${folder.path}/numberpool.yaml`;
  let postgres: PostgresServer;
  let database: string;
  let servers: TestServer[] = [];

  beforeAll(async () => {
    writeFileSync(configuration, JSON.stringify({ carriers: { sandbox: { type: "sandbox", ledger } } }));
    postgres = await startPostgres();
  });
  afterEach(async () => {
    for (const { process, kill } of servers) if (process.exitCode === null && process.signalCode === null) await kill();
    servers = [];
  });
  afterAll(async () => {
    await postgres.stop();
    folder.remove();
  });

  it.each([
    ["the server is restarted", () => postgres.restart()],
    ["every connection is cut", cutConnections],
  ])(
    "lose and double nothing when %s",
    async (_what, happen) => {
      writeFileSync(ledger, "");
      database = await postgres.createDatabase();
      servers = await Promise.all(
        Array.from({ length: PROCESSES }, () => startServer({ database, env: { NUMBERPOOL_CONFIG: configuration } })),
      );
      const messaging_profile_id = await makePool(servers[0] as TestServer, numbersAt(100, 10));
      const accepted = new Set<string>();
      const refused: number[] = [];
      let isOver = false;
      const caller = async (own: number) => {
        const server = servers[own % PROCESSES] as TestServer;
        for (let count = 0; !isOver; count += 1) {
          const to = `+1312556${String(own * 1_000 + (count % 1_000)).padStart(4, "0")}`;
          const key = { "idempotency-key": `${own}-${count}` };
          for (;;) {
            const body = { messaging_profile_id, to, text: "Hello" };
            const { status, body: answer } = await server.json("POST", "/v2/messages/number_pool", body, key);
            if (status === 200) {
              accepted.add(answer.data.id);
              break;
            }
            expect([status, answer.errors[0].meta.reason]).toEqual([503, "UNAVAILABLE"]);
            refused.push(status);
            await pause(50);
          }
        }
      };
      const callers = Array.from({ length: 2 * PROCESSES }, (_, own) => caller(own));
      await pause(AROUND);
      await happen();
      await pause(AROUND);
      isOver = true;
      await Promise.all(callers);

      // A key with the response UNAVAILABLE was retried until a try was accepted.
      const rows = await rowsOfPostgres<{ id: string }>(database, "SELECT id FROM messages");
      expect(rows.map(({ id }) => id).sort()).toEqual([...accepted].sort());
      const open = "SELECT id FROM messages WHERE status NOT IN ('delivered', 'delivery_unconfirmed') LIMIT 1";
      await vi.waitFor(async () => expect(await rowsOfPostgres(database, open)).toEqual([]), {
        timeout: 60_000,
        interval: 500,
      });
      const times = timesEach(readLedger(ledger));
      expect(Math.max(...times.values())).toBe(1);
      for (const server of servers) expect(await server.stop()).toBe(0);
    },
    120_000,
  );

  /** Like a short network failure. */
  async function cutConnections(): Promise<void> {
    const others = "pid <> pg_backend_pid() AND application_name = 'numberpool'";
    await rowsOfPostgres(database, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE ${others}`);
  }
});
