import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Message } from "../../src/domain/message.ts";
import type { NewMessageEvent } from "../../src/domain/message-event.ts";
import { METRICS } from "../../src/telemetry/metric-table.ts";
import { createMetrics } from "../../src/telemetry/metrics.ts";

const metrics = createMetrics();
const server = createServer(metrics.handle);
beforeAll(async () => {
  await once(server.listen(0, "127.0.0.1"), "listening");
});
afterAll(() => {
  server.close();
});

/** The lines of the page that begin with a name. */
async function linesOf(name: string): Promise<string[]> {
  const { port } = server.address() as AddressInfo;
  const page = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  return page.split("\n").filter((line) => line.startsWith(name));
}

it("counts new messages by status, and events that change a status", async () => {
  const messages = ["queued", "queued", "scheduled"].map((status) => ({ status }) as Message);
  const event = (status: string, changesStatus: boolean) => ({
    organizationId: "o",
    event: { status, changesStatus } as NewMessageEvent,
  });
  metrics.observeCommit({ messages });
  metrics.observeCommit({ events: [event("sent", true), event("delivered", true), event("delivered", false)] });
  metrics.observeCommit({});
  expect((await linesOf("numberpool_messages_total{")).sort()).toEqual([
    'numberpool_messages_total{status="delivered"} 1',
    'numberpool_messages_total{status="queued"} 2',
    'numberpool_messages_total{status="scheduled"} 1',
    'numberpool_messages_total{status="sent"} 1',
  ]);
});

it("counts a report by carrier and kind, and no message", async () => {
  const target = { organizationId: "o", messageId: "m" };
  const before = await linesOf("numberpool_messages_total{");
  const report = { kind: "delivered", at: 0 } as const;
  metrics.observeReport({ target, carrier: "acme", report });
  metrics.observeReport({ target: { carrier: "acme", carrierMessageId: "1" }, report });
  expect(await linesOf("numberpool_carrier_reports_total{")).toEqual([
    'numberpool_carrier_reports_total{carrier="acme",kind="delivered"} 2',
  ]);
  expect(await linesOf("numberpool_messages_total{")).toEqual(before);
});

it("times a transaction that fails, too", async () => {
  const accept = metrics.timed("accept", async (isGood: boolean) => {
    if (!isGood) throw new Error("not accepted");
    return "accepted";
  });
  expect(await accept(true)).toBe("accepted");
  await expect(accept(false)).rejects.toThrow("not accepted");
  expect(await linesOf('numberpool_commit_duration_seconds_count{kind="accept"}')).toEqual([
    'numberpool_commit_duration_seconds_count{kind="accept"} 2',
  ]);
});

it("shows every metric of the table with its help", async () => {
  metrics.watch({
    measureQueue: async () => ({ messages: 0, oldestId: undefined }),
    countUnhealthy: () => 0,
    clock: () => 0,
  });
  metrics.watchCarriers([{ name: "acme", state: () => ({ kind: "connected" }) }]);
  expect((await linesOf("# HELP numberpool_")).sort()).toEqual(
    Object.values(METRICS)
      .map(({ name, help }) => `# HELP ${name} ${help}`)
      .sort(),
  );
  expect(await linesOf("numberpool_carrier_connected")).toEqual(['numberpool_carrier_connected{carrier="acme"} 1']);
});
