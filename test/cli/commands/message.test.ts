import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makePool, sendTo, statusOf } from "../../operation/program.ts";
import { startServer, type TestServer, temporaryFolder } from "../../server.ts";
import { until } from "../../wire/pools.ts";
import { jsonOf, numberpool, ONE_SENTENCE } from "../numberpool.ts";

const NUMBER = "+12125555000";
const UNKNOWN_ID = "01900000-0000-7000-8000-000000000000";

const folder = temporaryFolder();
const at = (name: string) => join(folder.path, name);
let server: TestServer;
let profile: string;

beforeAll(async () => {
  server = await startServer({ database: at("numberpool.db") });
  profile = await makePool(server, [{ phone_number: NUMBER, segments_per_second: 1_000 }]);
});

afterAll(async () => {
  expect(await server.stop()).toBe(0);
  folder.remove();
});

/** Sends a text and waits until it has a status; gives its id. */
async function send(to: string, status: string, text?: string): Promise<string> {
  const { id } = (await sendTo(server, profile, to, text)).body.data;
  await until(
    () => statusOf(server, id),
    (each) => each === status,
  );
  return id;
}

describe("`message`", () => {
  it("shows a message's history as a table, beside a running server", async () => {
    const id = await send("+13125550102", "delivery_failed", "x".repeat(161));
    const { code, stdout, stderr } = await numberpool(server.database, "message", id);
    expect([code, stderr]).toEqual([0, ""]);
    const [headline, empty, head, ...rows] = stdout.trimEnd().split("\n");
    expect(headline).toBe(`${id}: delivery_failed, ${NUMBER} to +13125550102 through sandbox, 2 parts`);
    expect(empty).toBe("");
    expect(head?.split(/ {2,}/)).toEqual([
      "TIME",
      "EVENT",
      "STATUS",
      "CARRIER'S ID",
      "CARRIER'S CODE",
      "REASON",
      "DETAIL",
    ]);
    const cells = rows.map((row) => row.split(/ {2,}/));
    const time = expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}Z$/);
    const carrierId = expect.stringMatching(new RegExp(`^${id}-\\d+$`));
    expect(cells).toEqual([
      [time, "accepted", "queued", "-", "-", "-", expect.stringContaining(`${NUMBER} was picked`)],
      [time, "sending", "sending", "-", "-", "-", "Submitting the message to the carrier."],
      [time, "submitted", "sent", carrierId, "-", "-", "The carrier accepted the message."],
      [
        time,
        "receipt",
        "delivery_failed",
        carrierId,
        expect.any(String),
        "BLOCKED_AS_SPAM_TEMPORARY",
        expect.any(String),
      ],
    ]);
    expect(cells.map(([first]) => first)).toEqual(cells.map(([first]) => first).sort());
  });

  it("gives the same as the JSON transport, as one line with --json", async () => {
    const id = await send("+13125550100", "delivered");
    const printed = await jsonOf(server.database, "message", id);
    const [message, events] = await Promise.all([
      server.json("GET", `/v2/messages/${id}`),
      server.json("GET", `/v2/messages/${id}/events`),
    ]);
    expect(printed).toEqual({ message: message.body.data, events: events.body.data });
    expect(printed.events).toHaveLength(4);
  });

  it("shows a message that has no sender yet", async () => {
    const send_at = new Date(Date.now() + 3_600_000).toISOString();
    const body = { messaging_profile_id: profile, to: "+13125550100", text: "Later", send_at };
    const { id } = (await server.json("POST", "/v2/messages", body)).body.data;
    const { code, stdout } = await numberpool(server.database, "message", id);
    expect(code).toBe(0);
    const [headline, , , ...rows] = stdout.trimEnd().split("\n");
    expect(headline).toBe(`${id}: scheduled, (no sender yet) to +13125550100, 1 part`);
    expect(rows).toEqual([expect.stringMatching(/ accepted +scheduled +- +- +- +Scheduled; /)]);
  });

  it.each([
    ["an unknown message", () => [at("numberpool.db"), UNKNOWN_ID], `No message has the id "${UNKNOWN_ID}".`],
    ["an invalid id", () => [at("numberpool.db"), "nothing"], 'No message has the id "nothing".'],
    ["a database that does not exist", () => [at("none.db"), UNKNOWN_ID], "does not exist"],
  ])("of %s ends in one sentence", async (_what, make, sentence) => {
    const [database, id] = make() as [string, string];
    const outcomes = [[], ["--json"]].map((options) => numberpool(database, "message", id, ...options));
    for (const { code, stdout, stderr } of await Promise.all(outcomes)) {
      expect([code, stdout]).toEqual([1, ""]);
      expect(stderr).toMatch(ONE_SENTENCE);
      expect(stderr).toContain(sentence);
    }
  });

  it("needs an id", async () => {
    const { code, stdout, stderr } = await numberpool(server.database, "message");
    expect([code === 0, stdout]).toEqual([false, ""]);
    expect(stderr).toContain("ID");
  });
});
