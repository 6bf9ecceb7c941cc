import { writeFileSync } from "node:fs";
import Database from "better-sqlite3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startServer, type TestServer, temporaryFolder } from "../server.ts";
import { makePool, until } from "./pools.ts";

const POOL = "/v2/messages/number_pool";
/** Milliseconds, as configured below. */
const LATENCY = 20;
const RECEIPT_AFTER = 40;

const folder = temporaryFolder();
let server: TestServer;

beforeAll(async () => {
  const configuration = `${folder.path}/numberpool.yaml`;
  writeFileSync(
    configuration,
    `
submit_timeout_seconds: 1
carriers:
  sandbox:
    type: sandbox
    latency_milliseconds: ${LATENCY}
    receipt_after_milliseconds: ${RECEIPT_AFTER}
`,
  );
  server = await startServer({
    database: `${folder.path}/numberpool.db`,
    env: { NUMBERPOOL_CONFIG: configuration },
  });
});

afterAll(async () => {
  expect(await server.stop()).toBe(0);
  folder.remove();
});

/** Reads the server's own file. */
function query<Value>(sql: string, ...values: unknown[]): Value {
  const database = new Database(server.database, { readonly: true });
  try {
    return database
      .prepare(sql)
      .pluck()
      .get(...values) as Value;
  } finally {
    database.close();
  }
}

const message = async (id: string) => (await server.json("GET", `/v2/messages/${id}`)).body.data;
const healthOf = async (number: string) => (await server.json("GET", `/v2/phone_numbers/${number}`)).body.data.health;

/** Sends one message and waits until it has the wanted status, or a final one. */
async function sendAndWait(profileId: string, to: string, fields: object = {}) {
  const path = "from" in fields ? "/v2/messages" : POOL;
  const body = { messaging_profile_id: profileId, to, text: "Sandbox", ...fields };
  const answer = await server.json("POST", path, body);
  expect(answer.status).toBe(200);
  return until(
    () => message(answer.body.data.id),
    (read) => read.completed_at !== null,
  );
}

const event = async (id: string, type: string) => {
  const { data } = (await server.json("GET", `/v2/messages/${id}/events`)).body;
  return data.filter((each: { type: string }) => each.type === type).length;
};

describe("the sandbox", () => {
  const SPAM = ["40002", "Blocked as spam - temporary"] as const;
  const SENDER = ["40013", "Invalid messaging source number"] as const;
  const NO_COUNTS = { message_count: 0, success_ratio: 1, spam_ratio: 0 };
  const DELIVERED = { message_count: 1, success_ratio: 1, spam_ratio: 0 };

  it.each([
    ["00", "delivers", "delivered", undefined, true, DELIVERED, { submitted: 1, receipt: 1 }],
    [
      "01",
      "fails because of the recipient",
      "delivery_failed",
      ["40001", "Not routable"],
      true,
      NO_COUNTS,
      { submitted: 1, receipt: 1 },
    ],
    [
      "02",
      "blocks as spam",
      "delivery_failed",
      SPAM,
      true,
      { message_count: 1, success_ratio: 0, spam_ratio: 1 },
      { submitted: 1, receipt: 1 },
    ],
    [
      "04",
      "refuses once temporarily, then delivers",
      "delivered",
      undefined,
      true,
      DELIVERED,
      { submitted: 2, receipt: 1 },
    ],
    [
      "05",
      "refuses at submit",
      "sending_failed",
      ["40004", "Rejected by destination"],
      false,
      NO_COUNTS,
      { submitted: 1, receipt: 0 },
    ],
    [
      "06",
      "never answers the submit",
      "delivery_unconfirmed",
      "unknown",
      false,
      NO_COUNTS,
      { submitted: 0, submit_unconfirmed: 1, receipt: 0 },
    ],
    [
      "07",
      "sends the receipt before the submit's answer",
      "delivered",
      undefined,
      true,
      DELIVERED,
      { submitted: 1, receipt: 1 },
    ],
    ["08", "sends the receipt five times", "delivered", undefined, true, DELIVERED, { submitted: 1, receipt: 5 }],
    [
      "09",
      "fails because of the sender",
      "delivery_failed",
      SENDER,
      true,
      { message_count: 1, success_ratio: 0, spam_ratio: 0 },
      { submitted: 1, receipt: 1 },
    ],
    ["10", "delivers to any other", "delivered", undefined, true, DELIVERED, { submitted: 1, receipt: 1 }],
  ] as const)("%s: %s", async (digits, _name, status, error, wasSent, health, events) => {
    const { profileId, numbers } = await makePool(server);
    const start = Date.now();
    const final = await sendAndWait(profileId, `+131255501${digits}`);
    const { received_at, sent_at, completed_at, valid_until, to, errors } = final;
    expect(to[0].status).toBe(status);
    expect(valid_until).toBeNull();
    const moments = [received_at, ...(wasSent ? [sent_at] : []), completed_at].map((text: string) => Date.parse(text));
    // The answer to the submit sets the time sent, and at 07 it arrives after the receipt.
    if (digits !== "07") expect(moments).toEqual([...moments].sort((one, other) => one - other));
    expect(Math.min(...moments)).toBeGreaterThanOrEqual(start);
    expect(Math.max(...moments)).toBeLessThanOrEqual(Date.now());
    if (!wasSent) expect(sent_at).toBeNull();
    if (error === undefined) expect(errors).toEqual([]);
    else if (error !== "unknown") {
      const [code, title] = error;
      expect(errors).toEqual([{ reason: expect.any(String), code, title, detail: expect.stringMatching(/\.$/) }]);
    }
    for (const [type, times] of Object.entries(events)) {
      await until(
        async () => event(final.id, type),
        (count) => count === times,
      );
    }
    expect(await healthOf(numbers[0] as string)).toMatchObject({ ...health, healthy: true, unhealthy_reason: null });
    // Nothing follows: no second submit, no change of status.
    await new Promise((resolve) => setTimeout(resolve, 2 * (LATENCY + RECEIPT_AFTER)));
    expect(await message(final.id)).toEqual(final);
    expect(query("SELECT submits FROM messages WHERE id = ?", final.id)).toBe(digits === "04" ? 2 : 1);
  });

  it("03: never sends a receipt, so the message stays sent", async () => {
    const { profileId, numbers } = await makePool(server);
    const body = { messaging_profile_id: profileId, to: "+13125550103", text: "Sandbox" };
    const { id } = (await server.json("POST", POOL, body)).body.data;
    const sent = await until(
      () => message(id),
      (read) => read.to[0].status === "sent",
    );
    expect(sent).toMatchObject({ sent_at: expect.any(String), completed_at: null, valid_until: null, errors: [] });
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(await message(id)).toEqual(sent);
    expect(await healthOf(numbers[0] as string)).toMatchObject({ ...NO_COUNTS, healthy: true });
  });

  it("06: leaves a message that explains its unknown outcome", async () => {
    const { profileId } = await makePool(server);
    const { to, errors } = await sendAndWait(profileId, "+13125550106");
    expect(to[0].status).toBe("delivery_unconfirmed");
    expect(errors).toEqual([
      { reason: "RECEIPT_MISSING", code: "40008", title: "Undeliverable", detail: expect.stringMatching(/\.$/) },
    ]);
  });

  it("behaves so whatever the recipient's area code, and only at 555 01xx", async () => {
    const { profileId } = await makePool(server);
    expect((await sendAndWait(profileId, "+12125550105")).to[0].status).toBe("sending_failed");
    expect((await sendAndWait(profileId, "+13125551105")).to[0].status).toBe("delivered");
    expect((await sendAndWait(profileId, "+13125560105")).to[0].status).toBe("delivered");
  });
});

describe("a number's health", () => {
  const failing = (digits: string) => `+131255501${digits}`;

  async function failOften(profileId: string, from: string, digits: string, times: number) {
    const sends = Array.from({ length: times }, () => sendAndWait(profileId, failing(digits), { from }));
    for (const final of await Promise.all(sends)) expect(final.to[0].status).toBe("delivery_failed");
  }

  it("is lost by twelve failures and not by eleven, and skip_unhealthy excludes the number", async () => {
    const settings = { long_code_weight: 1, toll_free_weight: 1, skip_unhealthy: true };
    const { profileId, numbers } = await makePool(server, { long: 2, profile: { number_pool_settings: settings } });
    const [bad, good] = numbers as [string, string];
    await failOften(profileId, bad, "09", 11);
    expect(await healthOf(bad)).toMatchObject({ message_count: 11, success_ratio: 0, healthy: true });
    await failOften(profileId, bad, "09", 1);
    const health = await healthOf(bad);
    expect(health).toEqual({
      message_count: 12,
      inbound_outbound_ratio: 0,
      success_ratio: 0,
      spam_ratio: 0,
      healthy: false,
      unhealthy_reason: "delivery",
      healthy_again_at: expect.any(String),
    });
    // z² u (1 - u) ÷ (u - p)² outcomes are the limit: twelve halve to it in 24 h × log2(12 ÷
    // 11.5248).
    const hours = (Date.parse(health.healthy_again_at) - Date.now()) / 3_600_000;
    expect(hours).toBeGreaterThan(1.3);
    expect(hours).toBeLessThan(1.41);
    const settingsHealth = await server.json("GET", `/v2/phone_numbers/${bad}/messaging`);
    expect(settingsHealth.body.data.health).toMatchObject({ healthy: false, unhealthy_reason: "delivery" });

    for (let count = 0; count < 5; count += 1) {
      const { from, decision } = await sendAndWait(profileId, "+13125550100");
      expect(from.phone_number).toBe(good);
      expect(decision).toMatchObject({ pool_size: 2, eligible: 1, excluded: { unhealthy: 1 } });
    }
    const named = { from: bad, messaging_profile_id: profileId, to: "+13125550100", text: "Named" };
    const refused = await server.json("POST", "/v2/messages", named);
    expect([refused.status, refused.body.errors[0].code]).toEqual([400, "40315"]);

    const changed = { number_pool_settings: { skip_unhealthy: false } };
    await server.json("PATCH", `/v2/messaging_profiles/${profileId}`, changed);
    const used = [await sendAndWait(profileId, "+13125550100"), await sendAndWait(profileId, "+13125550100")];
    expect(used.map(({ from }) => from.phone_number).sort()).toEqual([bad, good].sort());
  });

  it("is reset by an operator, by id or by phone number: the number is picked again until twelve new failures", async () => {
    const settings = { long_code_weight: 1, toll_free_weight: 1, skip_unhealthy: true };
    const { profileId, numbers } = await makePool(server, { profile: { number_pool_settings: settings } });
    const [number] = numbers as [string];
    const before = (await server.json("GET", `/v2/phone_numbers/${number}`)).body.data;
    expect(before.health_reset_at).toBeNull();
    const body = { messaging_profile_id: profileId, to: "+13125550100", text: "Again" };
    for (const name of [number, before.id]) {
      await failOften(profileId, number, "09", 12);
      expect((await server.json("POST", POOL, body)).body.errors?.[0].code).toBe("40321");
      const answer = await server.json(
        "POST",
        `/v2/phone_numbers/${encodeURIComponent(name)}/actions/reset_health`,
        {},
      );
      expect(answer.status).toBe(200);
      const { health, health_reset_at, updated_at } = answer.body.data;
      expect(health).toMatchObject({ message_count: 0, success_ratio: 1, healthy: true, healthy_again_at: null });
      expect(Math.abs(Date.parse(health_reset_at) - Date.now())).toBeLessThan(5_000);
      expect(updated_at).toBe(before.updated_at);
      expect((await server.json("GET", `/v2/phone_numbers/${number}`)).body.data).toEqual(answer.body.data);
      expect((await sendAndWait(profileId, "+13125550100")).from.phone_number).toBe(number);
      await failOften(profileId, number, "09", 1);
      expect(await healthOf(number)).toMatchObject({
        message_count: 2,
        success_ratio: expect.closeTo(0.5, 4),
        healthy: true,
      });
      await server.json("POST", `/v2/phone_numbers/${number}/actions/reset_health`, {});
    }
    const unknown = await server.json("POST", "/v2/phone_numbers/+12125550000/actions/reset_health", {});
    expect([unknown.status, unknown.body.errors[0].code]).toEqual([404, "10005"]);
  });

  it("is lost to spam when both bounds hold", async () => {
    const { profileId, numbers } = await makePool(server);
    const [number] = numbers as [string];
    await failOften(profileId, number, "02", 12);
    expect(await healthOf(number)).toMatchObject({ spam_ratio: 1, healthy: false, unhealthy_reason: "spam" });
  });

  it("leaves nothing to pick when all have lost it: 40321 with the count, and nothing stored", async () => {
    const settings = { long_code_weight: 1, toll_free_weight: 1, skip_unhealthy: true };
    const { profileId, numbers } = await makePool(server, { long: 2, profile: { number_pool_settings: settings } });
    await Promise.all(numbers.map((number) => failOften(profileId, number, "09", 12)));
    const stored = query<number>("SELECT count(*) FROM messages");
    const body = { messaging_profile_id: profileId, to: "+13125550100", text: "Nobody sends me" };
    const refused = [
      await server.json("POST", POOL, body),
      await server.json("POST", "/v2/messages", body),
      await server.json("POST", POOL, body, { "idempotency-key": "all-unhealthy" }),
    ];
    for (const answer of refused) {
      expect(answer.status).toBe(400);
      const { code, title, detail } = answer.body.errors[0];
      expect({ code, title }).toEqual({ code: "40321", title: "No usable numbers on messaging profile" });
      expect(detail).toMatch(/of 2 numbers, 2 unhealthy/);
    }
    expect(query("SELECT count(*) FROM messages")).toBe(stored);
    expect(query("SELECT count(*) FROM idempotency_keys WHERE key = ?", "all-unhealthy")).toBe(0);
  });
});
