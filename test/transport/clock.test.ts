import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { startServer, type TestServer, temporaryFolder } from "../server.ts";
import { makePool } from "../wire/pools.ts";
import { type MadeKey, makeKey } from "./program.ts";

/** Runs in the program before it starts: from SIGUSR2 on, the system clock is an hour earlier. */
const STEP_BACK = `
const now = Date.now;
let back = 0;
Date.now = () => now() - back;
process.on("SIGUSR2", () => { back = 3_600_000; process.stderr.write("stepped back\\n"); });
`;

const folder = temporaryFolder();

afterAll(() => folder.remove());

describe("a system clock that steps back by an hour", () => {
  const RATE = 5;
  let server: TestServer;
  let key: MadeKey;
  let profileId: string;

  const list = () => server.json("GET", "/v2/messaging_profiles", undefined, { authorization: `Bearer ${key.token}` });

  beforeAll(async () => {
    server = await startServer({
      database: join(folder.path, "numberpool.db"),
      env: {
        NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(STEP_BACK)}`,
        NUMBERPOOL_CALLS_PER_SECOND: String(RATE),
      },
    });
    ({ profileId } = await makePool(server, {}));
    key = await makeKey(server, "steady");
    // Both are in use before the step: the key's rate, and the probe's result.
    expect((await list()).status).toBe(200);
    expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
    server.process.kill("SIGUSR2");
    await vi.waitFor(() => expect(server.stderr()).toContain("stepped back"));
  });

  afterAll(() => server.kill());

  it("keeps the rates of keys", async () => {
    await vi.waitFor(async () => expect((await list()).status).toBe(200), { timeout: 3_000 });
    const answers = await Promise.all(Array.from({ length: 3 * RATE }, list));
    const refused = answers.filter(({ status }) => status === 429);
    expect(refused.length).toBeGreaterThan(0);
    expect(refused.map(({ headers }) => headers.get("retry-after"))).toEqual(refused.map(() => "1"));
  });

  it("keeps the rates of numbers", async () => {
    const send = () =>
      server.json("POST", "/v2/messages/number_pool", {
        messaging_profile_id: profileId,
        to: "+13125550100",
        text: "Still here",
      });
    await vi.waitFor(async () => expect((await send()).status).toBe(200), { timeout: 3_000 });
    expect((await send()).body.data.wait_seconds).toBeLessThan(60);
  });

  it("does not keep the store probe's result", async () => {
    rmSync(server.database);
    await vi.waitFor(async () => expect((await fetch(`${server.url}/readyz`)).status).toBe(503), { timeout: 5_000 });
  });
});
