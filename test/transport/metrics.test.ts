import { spawnSync } from "node:child_process";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startServer, type TestServer, temporaryFolder } from "../server.ts";

const hasPromtool = spawnSync("promtool", ["--version"]).status === 0;
const folder = temporaryFolder();
const CANARY = "canary text of nobody's business";
const RECIPIENT = "+13125550100";
let server: TestServer;

beforeAll(async () => {
  server = await startServer({ database: `${folder.path}/numberpool.db` });
});

afterAll(async () => {
  await server.stop();
  folder.remove();
});

async function metrics(): Promise<string> {
  return (await fetch(`${server.metrics}/metrics`)).text();
}

describe("The metrics page", () => {
  beforeAll(async () => {
    const settings = { long_code_weight: 1 };
    const profile = { name: "metrics", whitelisted_destinations: ["*"], number_pool_settings: settings };
    const { id } = (await server.json("POST", "/v2/messaging_profiles", profile)).body.data;
    await server.json("POST", "/v2/phone_numbers", { phone_number: "+12125550110", messaging_profile_id: id });
    const send = { messaging_profile_id: id, to: RECIPIENT, text: CANARY };
    for (let sent = 0; sent < 5; sent += 1) await server.json("POST", "/v2/messages/number_pool", send);
    await server.json("POST", "/v2/messages/number_pool", { ...send, to: "bad" });
    for (let tries = 0; tries < 100 && !/\{status="delivered"\} [1-9]/.test(await metrics()); tries += 1)
      await setTimeout(100);
  });

  it("counts calls by method, transport and outcome, messages by status, and carriers' answers", async () => {
    const page = await metrics();
    const method = "/numberpool.v1.PoolSendService/SendMessage";
    expect(page).toContain(`numberpool_calls_total{method="${method}",transport="json",code="OK"} 5`);
    expect(page).toContain(`numberpool_calls_total{method="${method}",transport="json",code="INVALID_TO"} 1`);
    expect(page).toContain(`numberpool_call_duration_seconds_count{method="${method}",transport="json"} 6`);
    expect(page).toContain('numberpool_messages_total{status="queued"} 5');
    expect(page).toMatch(/numberpool_carrier_reports_total\{carrier="sandbox",kind="accepted"\} [1-9]/);
    expect(page).toMatch(/numberpool_commit_duration_seconds_count\{kind="accept"\} [1-9]/);
    expect(page).toMatch(/nodejs_eventloop_lag_p99_seconds \d/);
    expect(page).toMatch(/numberpool_unhealthy_numbers 0/);
  });

  it("shows the queue's length and age", async () => {
    const page = await metrics();
    const queued = Number(/numberpool_queued_messages (\d+)/.exec(page)?.[1]);
    const oldest = Number(/numberpool_oldest_queued_seconds ([\d.]+)/.exec(page)?.[1]);
    expect(queued).toBeLessThanOrEqual(4);
    expect(oldest > 0).toBe(queued > 0);
  });

  it("contains no text, no phone number and no key", async () => {
    const page = await metrics();
    expect(page).not.toContain(CANARY);
    expect(page).not.toMatch(/1[2-9]\d{2}555\d{4}/);
    expect(page).not.toContain("test-key");
  });

  it.skipIf(!hasPromtool)("passes promtool's check", async () => {
    const checked = spawnSync("promtool", ["check", "metrics"], { input: await metrics(), encoding: "utf8" });
    expect({ status: checked.status, complaints: checked.stderr }).toEqual({ status: 0, complaints: "" });
  });

  it("is on no other port", async () => {
    expect((await fetch(`${server.metrics}/`)).status).toBe(404);
    expect((await fetch(`${server.url}/metrics`)).status).toBe(404);
  });
});
