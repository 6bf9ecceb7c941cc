import { readFileSync } from "node:fs";
import { join } from "node:path";
import Telnyx, { APIError } from "telnyx";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { API_KEY, startServer, type TestServer, temporaryFolder } from "../server.ts";
import { makePool } from "./pools.ts";

const DOCUMENT = readFileSync(join(import.meta.dirname, "../../docs/sdks.md"), "utf8");
const TO = "+13125550100";

const folder = temporaryFolder();
let server: TestServer;
let client: Telnyx;
let profile: string;
let number: string;

beforeAll(async () => {
  server = await startServer({ database: `${folder.path}/numberpool.db` });
  client = new Telnyx({ apiKey: API_KEY, baseURL: `${server.url}/v2` });
  const pool = await makePool(server, { long: 2 });
  profile = pool.profileId;
  number = pool.numbers[0] as string;
});

afterAll(async () => {
  expect(await server.stop()).toBe(0);
  folder.remove();
});

/**
 * The table in docs/sdks.md: each method of the official client, as "messages.send", and whether it
 * works.
 */
const DOCUMENTED = new Map(
  [...DOCUMENT.matchAll(/^\| `([\w.]+)` \| ((?:`\w+`(?:, )?)*) ?\| ((?:`\w+`(?:, )?)*) ?\|$/gm)].flatMap((row) =>
    [row[2], row[3]].flatMap((cell, column) =>
      [...(cell ?? "").matchAll(/`(\w+)`/g)].map(([, method]) => [`${row[1]}.${method}`, column === 0] as const),
    ),
  ),
);

/** The client's messaging resources. */
const RESOURCES = [
  ...["messages", "messages.rcs", "messagingProfiles", "messagingProfiles.actions"],
  ...["messagingProfiles.autorespConfigs", "messagingProfileMetrics", "messagingOptouts", "phoneNumbers.messaging"],
  "webhookDeliveries",
];

// biome-ignore lint/suspicious/noExplicitAny: methods are called by their names.
const resourceOf = (path: string): any => path.split(".").reduce((at: any, name) => at[name], client);

const later = () => new Date(Date.now() + 3_600_000).toISOString();

/** The arguments of each method. */
const ARGUMENTS: Readonly<Record<string, () => readonly unknown[] | Promise<readonly unknown[]>>> = {
  "messages.send": () => [{ from: number, to: TO, text: "Hello" }],
  "messages.sendLongCode": () => [{ from: number, to: TO, text: "Hello" }],
  "messages.sendNumberPool": () => [{ messaging_profile_id: profile, to: TO, text: "Hello" }],
  "messages.sendShortCode": () => [{ from: "12345", to: TO, text: "Hello" }],
  "messages.sendGroupMms": () => [{ from: number, to: [TO], text: "Hello" }],
  "messages.schedule": () => [{ from: number, to: TO, text: "Hello", send_at: later() }],
  "messages.cancelScheduled": async () => {
    const { data } = await client.messages.schedule({ from: number, to: TO, text: "Hello", send_at: later() });
    return [data?.id];
  },
  "messages.retrieve": async () => [(await client.messages.send({ from: number, to: TO, text: "Hello" })).data?.id],
  "messages.sendWithAlphanumericSender": () => [
    { from: "Numberpool", to: TO, text: "Hello", messaging_profile_id: profile },
  ],
  "messages.retrieveGroupMessages": () => ["some-group"],
  "messages.whatsapp": () => [{ from: number, to: TO, whatsapp_message: {} }],
  "messages.rcs.send": () => [{ agent_id: "agent", to: TO, messaging_profile_id: profile, agent_message: {} }],
  "messages.rcs.generateDeeplink": () => ["agent"],
  "messagingProfiles.create": () => [{ name: "Made", whitelisted_destinations: ["US"] }],
  "messagingProfiles.delete": async () => {
    const { data } = await client.messagingProfiles.create({ name: "Gone", whitelisted_destinations: ["US"] });
    return [data?.id];
  },
  "messagingProfiles.retrieve": () => [profile],
  "messagingProfiles.update": () => [profile, { name: "Updated" }],
  "messagingProfiles.listPhoneNumbers": () => [profile],
  "messagingProfiles.listShortCodes": () => [profile],
  "messagingProfiles.listAlphanumericSenderIDs": () => [profile],
  "messagingProfiles.retrieveMetrics": () => [profile],
  "messagingProfiles.actions.regenerateSecret": () => [profile],
  "messagingProfiles.autorespConfigs.list": () => [profile],
  "messagingProfiles.autorespConfigs.create": () => [profile, { op: "start", keywords: ["GO"], country_code: "US" }],
  "messagingProfiles.autorespConfigs.delete": () => ["config", { profile_id: profile }],
  "messagingProfiles.autorespConfigs.retrieve": () => ["config", { profile_id: profile }],
  "messagingProfiles.autorespConfigs.update": () => [
    "config",
    { profile_id: profile, op: "start", keywords: ["GO"], country_code: "US" },
  ],
  "phoneNumbers.messaging.retrieve": () => [number],
  "phoneNumbers.messaging.update": () => [number, { tags: ["a"] }],
  "webhookDeliveries.retrieve": () => ["01900000-0000-7000-8000-000000000000"],
};

describe("the official client's messaging methods", () => {
  it("are exactly those in docs/sdks.md", () => {
    const methods = RESOURCES.flatMap((path) =>
      Object.getOwnPropertyNames(Object.getPrototypeOf(resourceOf(path)))
        .filter((name) => name !== "constructor")
        .map((name) => `${path}.${name}`),
    );
    expect([...DOCUMENTED.keys()].sort()).toEqual(methods.sort());
  });

  it.each([...DOCUMENTED])("%s works: %s", async (name, works) => {
    const cut = name.lastIndexOf(".");
    const resource = resourceOf(name.slice(0, cut));
    const given = (await ARGUMENTS[name]?.()) ?? [];
    let requests = 0;
    const counted = client.withOptions({
      fetch: (...request: Parameters<typeof fetch>) => {
        requests += 1;
        return fetch(...request);
      },
    });
    const bound = Object.create(resource, { _client: { value: counted } });
    const outcome = await bound[name.slice(cut + 1)](...given).then(
      (answer: object) => answer,
      (error: unknown) => error,
    );
    // One request: the client does not retry a permanent refusal.
    expect(requests).toBe(1);
    if (works) {
      expect(outcome).not.toBeInstanceOf(APIError);
      expect(outcome).toBeTruthy();
    } else {
      expect(outcome).toMatchObject({
        status: 501,
        error: { errors: [{ code: "10038", meta: { reason: "NOT_IMPLEMENTED" } }] },
      });
      expect((outcome as APIError).headers?.get("x-should-retry")).toBe("false");
    }
  });

  it.each([
    ["/v2/messages/long_code", { to: TO, text: "No sender" }, "/from"],
    ["/v2/messages/long_code", { to: TO, text: "No sender", from: "" }, "/from"],
    ["/v2/messages/schedule", { to: TO, text: "No time" }, "/send_at"],
  ])("%s of %j is refused for a missing field", async (path, fields, pointer) => {
    const body = { messaging_profile_id: profile, ...(path.endsWith("schedule") && { from: number }), ...fields };
    const answer = await server.json("POST", path, body);
    expect([answer.status, answer.body.errors[0].code, answer.body.errors[0].source]).toEqual([
      400,
      "10004",
      { pointer },
    ]);
  });

  it("are refused by their path before the body is read, and only with a key", async () => {
    const call = (authorization: string) =>
      fetch(`${server.url}/v2/messages/rcs`, { method: "POST", headers: { authorization }, body: "x".repeat(100_000) });
    const refused = await call(`Bearer ${API_KEY}`);
    expect(refused.status).toBe(501);
    expect(((await refused.json()) as { errors: { detail: string }[] }).errors[0]?.detail).toContain(
      "/v2/messages/rcs",
    );
    expect((await call("Bearer nobody")).status).toBe(401);
  });
});
