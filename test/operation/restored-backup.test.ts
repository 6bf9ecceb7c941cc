import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { jsonOf, ONE_SENTENCE } from "../cli/numberpool.ts";
import { API_KEY, startServer, type TestServer, temporaryFolder } from "../server.ts";
import { makePool, numbersAt, rowsOf, run, sendTo, statusOf } from "./program.ts";

const folder = temporaryFolder();
const at = (name: string) => join(folder.path, name);
const LEDGER = at("ledger.jsonl");
const CONFIG = at("config.yaml");
const running: TestServer[] = [];

afterAll(async () => {
  for (const server of running) if (server.process.exitCode === null) await server.kill();
  folder.remove();
});

async function start(database: string): Promise<TestServer> {
  const server = await startServer({ database, args: ["--config", CONFIG] });
  running.push(server);
  return server;
}

/** The ids of messages submitted to the sandbox, in order. */
const submitted = () =>
  readFileSync(LEDGER, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line).message_id as string);

/** Runs a command that calls the running server. */
async function ask(url: string, key: string | undefined, ...args: readonly string[]) {
  const command = run(["delivery", "resume", "--url", url, ...args], {
    NUMBERPOOL_DATABASE: at("copy.db"),
    ...(key !== undefined && { NUMBERPOOL_API_KEY: key }),
  });
  const { code } = await command.exited;
  return { code, stdout: command.stdout(), stderr: command.stderr() };
}

describe("A server on a backup", () => {
  const ids: Record<string, string> = {};
  let profile: string;
  let server: TestServer;

  beforeAll(async () => {
    writeFileSync(CONFIG, `carriers: {sandbox: {type: sandbox, ledger: ${JSON.stringify(LEDGER)}}}`);
    const first = await start(at("first.db"));
    profile = await makePool(first, numbersAt(0.001, 1));
    // One leaves at once and never gets a receipt; each other one waits for 1,000 s.
    ids.sent = (await sendTo(first, profile, "+13125550103", "sent")).body.data.id;
    await vi.waitFor(async () => expect(await statusOf(first, ids.sent as string)).toBe("sent"));
    for (const text of ["queued", "expiring"])
      ids[text] = (await sendTo(first, profile, "+13125562001", text)).body.data.id;
    const send = { messaging_profile_id: profile, to: "+13125562002", text: "scheduled" };
    const send_at = new Date(Date.now() + 400_000).toISOString();
    ids.scheduled = (await first.json("POST", "/v2/messages/number_pool", { ...send, send_at })).body.data.id;
    await jsonOf(first.database, "backup", at("copy.db"));
    expect((await first.json("GET", "/v2/delivery")).body.data).toMatchObject({ state: "active", held_since: null });
    expect(await (await fetch(`${first.url}/readyz`)).json()).toEqual({ status: "ready" });
    expect(await first.stop()).toBe(0);

    const copy = new Database(at("copy.db"));
    copy.prepare("UPDATE phone_numbers SET due_at = 0, segments_per_second = 100").run();
    copy.prepare("UPDATE messages SET valid_until = ? WHERE id = ?").run(Date.now() + 500, ids.expiring);
    copy.prepare("UPDATE messages SET next_submit_at = ? WHERE id = ?").run(Date.now(), ids.scheduled);
    copy.close();
    server = await start(at("copy.db"));
  });

  it("is ready, and logs that delivery is held", async () => {
    const ready = await fetch(`${server.url}/readyz`);
    expect([ready.status, await ready.json()]).toEqual([200, { status: "ready", delivery: "held" }]);
    const { data } = (await server.json("GET", "/v2/delivery")).body;
    expect(data).toEqual({ record_type: "delivery", state: "held", held_since: expect.any(String) });
    expect(Math.abs(Date.parse(data.held_since) - Date.now())).toBeLessThan(60_000);
    await vi.waitFor(() => expect(server.stderr()).toContain("numberpool delivery resume"));
  });

  it("accepts sends and receipts, queues scheduled messages and expires late ones, but sends nothing", async () => {
    const { status, body } = await sendTo(server, profile, "+13125562003", "accepted");
    expect(status).toBe(200);
    ids.accepted = body.data.id;
    await vi.waitFor(async () => expect(await statusOf(server, ids.scheduled as string)).toBe("queued"));
    await vi.waitFor(async () => expect(await statusOf(server, ids.expiring as string)).toBe("expired"), 5_000);
    const [row] = rowsOf<{ id: string }>(
      at("copy.db"),
      "SELECT carrier_message_id AS id FROM messages WHERE id = ?",
      ids.sent,
    );
    const receipt = { carrier_message_id: row?.id, status: "delivered" };
    expect((await server.json("POST", "/v2/carriers/sandbox/receipts", receipt)).status).toBe(200);
    expect(await statusOf(server, ids.sent as string)).toBe("delivered");
    // The queues were scanned: a message expired in one. None was submitted.
    for (const name of ["queued", "scheduled", "accepted"])
      expect(await statusOf(server, ids[name] as string)).toBe("queued");
    expect(rowsOf(at("copy.db"), "SELECT id FROM messages WHERE submits > 0 AND id <> ?", ids.sent)).toEqual([]);
    expect(submitted()).toEqual([ids.sent]);
  });

  it("holds delivery after a restart too", async () => {
    expect(await server.stop()).toBe(0);
    server = await start(at("copy.db"));
    expect(await (await fetch(`${server.url}/readyz`)).json()).toEqual({ status: "ready", delivery: "held" });
  });

  it.each([
    ["without a key", (url: string) => ask(url, undefined), /NUMBERPOOL_API_KEY/],
    ["with an unknown key", (url: string) => ask(url, "unknown-key-of-24-characters"), /refused with 401/],
    ["when no server runs", () => ask("http://127.0.0.1:1", API_KEY), /No server answers at http:\/\/127\.0\.0\.1:1/],
    ["with an invalid URL", () => ask("here", API_KEY), /--url must be .*"here"/],
  ])("keeps holding when asked to resume %s", async (_how, resume, why) => {
    const { code, stdout, stderr } = await resume(server.url);
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(ONE_SENTENCE);
    expect(stderr).toMatch(why);
    expect((await server.json("GET", "/v2/delivery")).body.data.state).toBe("held");
  });

  it("sends each waiting message once when delivery is resumed, and holds no more", async () => {
    expect(await ask(server.url, API_KEY, "--json")).toEqual({ code: 0, stdout: '{"state":"active"}\n', stderr: "" });
    for (const name of ["queued", "scheduled", "accepted"]) {
      await vi.waitFor(async () => expect(await statusOf(server, ids[name] as string)).toBe("delivered"), 5_000);
    }
    expect(submitted().sort()).toEqual([ids.accepted, ids.queued, ids.scheduled, ids.sent].sort());
    const later = (await sendTo(server, profile, "+13125562004", "later")).body.data.id;
    await vi.waitFor(() => expect(submitted()).toContain(later));
    expect((await ask(server.url, API_KEY)).stdout).toContain("Delivery is active");
    expect(await server.stop()).toBe(0);
    server = await start(at("copy.db"));
    expect(await (await fetch(`${server.url}/readyz`)).json()).toEqual({ status: "ready" });
  });
});
