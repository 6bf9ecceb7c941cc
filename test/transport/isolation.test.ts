import { getOption } from "@bufbuild/protobuf";
import Database from "better-sqlite3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { scope as scopeOption } from "../../gen/numberpool/v1/call_options_pb.ts";
import { Scope } from "../../gen/numberpool/v1/scope_pb.ts";
import { API_KEY, startServer, type TestServer, temporaryFolder } from "../server.ts";
import { freshNumber, makePool, makeProfile, until } from "../wire/pools.ts";
import { type JsonObject, METHODS, methodOf } from "./contract.ts";
import { commandLine, type MadeKey, makeKey } from "./program.ts";
import { type Outcome, openTransports, type Transport } from "./transports.ts";

/** The resources of an organization, or of none. */
type Ids = {
  readonly profile: string;
  readonly profileName: string;
  readonly number: string;
  readonly phoneNumber: string;
  readonly message: string;
  readonly carrierMessage: string;
  /** A recipient with a message, a sticky mapping and an opt-out. */
  readonly recipient: string;
  readonly delivery: string;
  /** The cursor of a list. */
  readonly cursor: string;
  /** The cursor of the message's history. */
  readonly eventCursor: string;
};

/** The caller's own resources, beside which a request may name another organization's. */
type Own = { readonly profile: string; readonly number: string };

/** A request that names resources by id. */
type Case = (ids: Ids, own: Own) => JsonObject;

/**
 * Every RPC, with each way to name a resource of another organization. An empty row: its request
 * names none.
 */
const ROWS: Readonly<Record<string, readonly Case[]>> = {
  CreateProfile: [],
  GetProfile: [({ profile }) => ({ id: profile })],
  ListProfiles: [
    ({ profileName }) => ({ filter: { name: { eq: profileName } } }),
    ({ profileName }) => ({ filter: { name: { contains: profileName } } }),
  ],
  UpdateProfile: [({ profile }) => ({ id: profile, profile: { name: "Taken over" } })],
  DeleteProfile: [({ profile }) => ({ id: profile })],
  ListProfileNumbers: [({ profile }) => ({ id: profile })],
  GetNumberPool: [({ profile }) => ({ id: profile })],
  SendMessage: [({ profile }) => ({ messaging_profile_id: profile, to: "+13125550100", text: "Mine" })],
  SendMessages: [
    ({ profile }, own) => ({
      messages: [
        { messaging_profile_id: profile, to: "+13125550100", text: "Mine" },
        { messaging_profile_id: own.profile, to: "+13125550100", text: "" },
      ],
    }),
  ],
  StreamMessages: [({ profile }) => ({ message: { messaging_profile_id: profile, to: "+13125550100", text: "Mine" } })],
  PreviewSender: [({ profile }) => ({ messaging_profile_id: profile, to: "+13125550100", text: "Mine" })],
  CreateMessage: [
    ({ profile }) => ({ messaging_profile_id: profile, to: "+13125550100", text: "Mine" }),
    ({ phoneNumber }) => ({ from: phoneNumber, to: "+13125550100", text: "Mine" }),
    ({ phoneNumber, profile }) => ({
      from: phoneNumber,
      messaging_profile_id: profile,
      to: "+13125550100",
      text: "Mine",
    }),
    ({ phoneNumber }, own) => ({
      from: phoneNumber,
      messaging_profile_id: own.profile,
      to: "+13125550100",
      text: "Mine",
    }),
  ],
  GetMessage: [({ message }) => ({ id: message })],
  ListMessages: [
    ({ profile }) => ({ filter: { messaging_profile_id: profile } }),
    ({ recipient }) => ({ filter: { to: recipient } }),
    ({ phoneNumber }) => ({ filter: { from: phoneNumber } }),
    ({ cursor }) => ({ page: { after: cursor } }),
  ],
  CancelMessage: [({ message }) => ({ id: message })],
  ListMessageEvents: [
    ({ message }) => ({ id: message }),
    ({ message, eventCursor }) => ({ id: message, page: { after: eventCursor } }),
  ],
  WatchMessages: [({ profile }) => ({ messaging_profile_id: profile, cursor: "0" })],
  RegisterNumber: [({ profile }) => ({ number: { phone_number: "+12125559999", messaging_profile_id: profile } })],
  GetNumber: [({ number }) => ({ id: number }), ({ phoneNumber }) => ({ id: phoneNumber })],
  ListNumbers: [
    ({ profile }) => ({ filter: { messaging_profile_id: profile } }),
    ({ phoneNumber }) => ({ filter: { phone_number: { eq: [phoneNumber] } } }),
    ({ phoneNumber }) => ({ filter: { phone_number: { contains: phoneNumber } } }),
  ],
  UpdateNumber: [
    ({ number }) => ({ id: number, number: { segments_per_second: 5 } }),
    ({ phoneNumber }) => ({ id: phoneNumber, number: { messaging_profile_id: "" } }),
    ({ profile }, own) => ({ id: own.number, number: { messaging_profile_id: profile } }),
  ],
  ResetNumberHealth: [({ number }) => ({ id: number }), ({ phoneNumber }) => ({ id: phoneNumber })],
  RemoveNumber: [({ number }) => ({ id: number }), ({ phoneNumber }) => ({ id: phoneNumber })],
  GetNumberMessagingSettings: [({ number }) => ({ id: number }), ({ phoneNumber }) => ({ id: phoneNumber })],
  ListNumberMessagingSettings: [
    ({ profile }) => ({ filter: { messaging_profile_id: profile } }),
    ({ phoneNumber }) => ({ filter: { phone_number: { eq: [phoneNumber] } } }),
  ],
  UpdateNumberMessagingSettings: [
    ({ number }) => ({ id: number, settings: { messaging_profile_id: "" } }),
    ({ phoneNumber }, own) => ({ id: phoneNumber, settings: { messaging_profile_id: own.profile } }),
    ({ profile }, own) => ({ id: own.number, settings: { messaging_profile_id: profile } }),
  ],
  ListStickyMappings: [
    ({ profile }) => ({ messaging_profile_id: profile }),
    ({ phoneNumber }, own) => ({ messaging_profile_id: own.profile, phone_number: phoneNumber }),
  ],
  SetStickyMapping: [
    ({ profile, recipient, phoneNumber }) => ({
      messaging_profile_id: profile,
      to: recipient,
      phone_number: phoneNumber,
    }),
    ({ recipient, phoneNumber }, own) => ({
      messaging_profile_id: own.profile,
      to: recipient,
      phone_number: phoneNumber,
    }),
    ({ recipient, number }, own) => ({ messaging_profile_id: own.profile, to: recipient, phone_number: number }),
  ],
  ClearStickyMapping: [
    ({ profile, recipient }) => ({ messaging_profile_id: profile, to: recipient }),
    ({ recipient }, own) => ({ messaging_profile_id: own.profile, to: recipient }),
  ],
  ListOptOuts: [
    ({ profile }) => ({ filter: { messaging_profile_id: profile } }),
    ({ recipient }) => ({ filter: { to: recipient } }),
  ],
  AddOptOut: [({ profile, recipient }) => ({ messaging_profile_id: profile, to: recipient })],
  RemoveOptOut: [
    ({ profile, recipient }) => ({ messaging_profile_id: profile, to: recipient }),
    ({ recipient }, own) => ({ messaging_profile_id: own.profile, to: recipient }),
  ],
  GetWebhookDelivery: [({ delivery }) => ({ id: delivery })],
  ListWebhookDeliveries: [({ message }) => ({ filter: { message_id: message } })],
  RedeliverWebhook: [({ delivery }) => ({ id: delivery })],
  GetDelivery: [],
  ResumeDelivery: [],
  ReportReceipt: [
    ({ carrierMessage }) => ({
      carrier: "sandbox",
      carrier_message_id: carrierMessage,
      status: "RECEIPT_STATUS_FAILED",
    }),
  ],
  ReportInboundMessage: [
    ({ phoneNumber }) => ({ carrier: "sandbox", from: "+13125550100", to: phoneNumber, text: "STOP" }),
  ],
};

const UNKNOWN: Ids = {
  profile: "01900000-0000-7000-8000-000000000001",
  profileName: "Nobody's profile",
  number: "01900000-0000-7000-8000-000000000002",
  phoneNumber: "+12125580001",
  message: "01900000-0000-7000-8000-000000000003",
  carrierMessage: "01900000-0000-7000-8000-000000000004",
  recipient: "+13125580002",
  delivery: "01900000-0000-7000-8000-000000000005",
  cursor: Buffer.from("01900000-0000-7000-8000-000000000006").toString("base64url"),
  eventCursor: Buffer.from("0").toString("base64url"),
};

const folder = temporaryFolder();
let server: TestServer;
let transports: readonly Transport[];
let other: MadeKey;
let foreign: Ids;
let own: Own;

const ours = (verb: string, path: string, body?: object) => server.json(verb, path, body);
const theirs = (verb: string, path: string, body?: object) =>
  server.json(verb, path, body, { authorization: `Bearer ${other.token}` });

beforeAll(async () => {
  server = await startServer({ database: `${folder.path}/numberpool.db` });
  transports = openTransports(server);
  other = await makeKey(server, "other");
  foreign = await makeThings();
  own = await makeOwn();
});

afterAll(async () => {
  for (const transport of transports) transport.close();
  expect(await server.stop()).toBe(0);
  folder.remove();
});

/** The first organization's resources, one of each kind. */
async function makeThings(): Promise<Ids> {
  const profileName = "A profile that must not be seen";
  const recipient = "+13125560171";
  const settings = { long_code_weight: 1, toll_free_weight: 1, sticky_sender: true };
  const { profileId: profile, numbers } = await makePool(server, {
    profile: { name: profileName, number_pool_settings: settings },
  });
  const send = { messaging_profile_id: profile, text: "A text that must not be seen" };
  const { body } = await ours("POST", "/v2/messages/number_pool", { ...send, to: recipient });
  const message = body.data.id as string;
  for (const to of ["+13125560172", "+13125560173"]) await ours("POST", "/v2/messages/number_pool", { ...send, to });
  const page = await ours("GET", "/v2/messages?page[size]=2");
  await ours("POST", "/v2/messaging_optouts", { messaging_profile_id: profile, to: recipient });
  const list = () => ours("GET", "/v2/messages");
  await until(list, (answer) => answer.body.data.every((each: Sent) => each.to[0]?.status === "delivered"));
  const number = await ours("GET", `/v2/phone_numbers/${numbers[0]}`);
  const events = await ours("GET", `/v2/messages/${message}/events?page[size]=1`);
  return {
    profile,
    profileName,
    number: number.body.data.id,
    phoneNumber: numbers[0] as string,
    message,
    carrierMessage: carrierMessageOf(message),
    recipient,
    delivery: UNKNOWN.delivery,
    cursor: page.body.meta.next,
    eventCursor: events.body.meta.next,
  };
}

type Sent = { readonly to: readonly { readonly status: string }[] };

/** The second organization's own pool. */
async function makeOwn(): Promise<Own> {
  const settings = { long_code_weight: 1, toll_free_weight: 1, sticky_sender: true };
  const profile = await theirs("POST", "/v2/messaging_profiles", {
    name: "Own",
    whitelisted_destinations: ["US"],
    number_pool_settings: settings,
  });
  const number = await theirs("POST", "/v2/phone_numbers", {
    phone_number: freshNumber("415"),
    messaging_profile_id: profile.body.data.id,
  });
  return { profile: profile.body.data.id, number: number.body.data.id };
}

function carrierMessageOf(message: string): string {
  const database = new Database(server.database, { readonly: true });
  try {
    const id = database.prepare("SELECT carrier_message_id FROM messages WHERE id = ?").pluck().get(message);
    return typeof id === "string" ? id : UNKNOWN.carrierMessage;
  } finally {
    database.close();
  }
}

/** Everything that the first organization can see of its own. */
async function everythingOfOurs(): Promise<string> {
  const paths = [
    "/v2/messaging_profiles",
    `/v2/messaging_profiles/${foreign.profile}/phone_numbers`,
    `/v2/messaging_profiles/${foreign.profile}/sticky_mappings`,
    "/v2/messages",
    `/v2/messages/${foreign.message}/events`,
    "/v2/phone_numbers",
    "/v2/phone_numbers/messaging",
    "/v2/messaging_optouts",
  ];
  const answers = [];
  for (const path of paths) answers.push((await ours("GET", path)).body);
  return JSON.stringify(answers);
}

/** The comparable part of a call's outcome. */
function comparable(outcome: Outcome): string {
  return outcome.kind === "answered" ? JSON.stringify(outcome.answer) : outcome.all;
}

/**
 * Values that a response to the second organization contains only if the first one's secrets leak.
 */
function secrets(): readonly string[] {
  return [
    foreign.profile,
    foreign.profileName,
    foreign.number,
    foreign.phoneNumber,
    foreign.message,
    "must not be seen",
  ];
}

describe("another organization's resources", () => {
  it("have a row for every RPC of the contract, and no other row", () => {
    expect(Object.keys(ROWS).sort()).toEqual(METHODS.map(({ name }) => name).sort());
  });

  const cases = Object.entries(ROWS).flatMap(([name, row]) =>
    row.map((each, index) => [`${name}${row.length > 1 ? ` (${index + 1})` : ""}`, name, each] as const),
  );

  it.each(cases)(
    "get the response of unknown ones, byte for byte, in every transport: %s",
    async (_title, name, each) => {
      const method = methodOf(name);
      for (const transport of transports) {
        if (method.methodKind !== "unary" && !transport.hasStreams) continue;
        const ofForeign = await transport.call(method, each(foreign, own), other.token);
        const ofUnknown = await transport.call(method, each(UNKNOWN, own), other.token);
        expect(`${transport.name}: ${comparable(ofForeign)}`).toBe(`${transport.name}: ${comparable(ofUnknown)}`);
        for (const secret of secrets()) expect(comparable(ofForeign)).not.toContain(secret);
        if (ofForeign.kind === "refused") expect(ofForeign.reason).toMatch(/^[A-Z_]+$/);
      }
    },
  );

  it("are visible to their owner by the same calls, so that the rows test something", async () => {
    const [grpc] = transports as [Transport];
    for (const [name, row] of Object.entries(ROWS)) {
      const method = methodOf(name);
      if (getOption(method, scopeOption) !== Scope.READ) continue;
      for (const each of row) {
        const ofForeign = await grpc.call(method, each(foreign, own), API_KEY);
        if (ofForeign.kind === "refused" && ofForeign.reason === "NOT_IMPLEMENTED") continue;
        if (JSON.stringify(each(foreign, own)).includes(own.profile)) continue;
        const ofUnknown = await grpc.call(method, each(UNKNOWN, own), API_KEY);
        expect(`${name}: ${comparable(ofForeign)}`).not.toBe(`${name}: ${comparable(ofUnknown)}`);
      }
    }
  });

  it("are in none of the caller's lists, and none of its calls changes them", async () => {
    const lists = METHODS.filter(({ name }) => name.startsWith("List") || name === "GetNumberPool");
    expect(lists.length).toBeGreaterThan(8);
    for (const method of lists) {
      const isOfProfile = method.input.fields.some(({ name }) => name === "messaging_profile_id");
      const request: JsonObject = /^(ListProfileNumbers|GetNumberPool)$/.test(method.name)
        ? { id: own.profile }
        : isOfProfile
          ? { messaging_profile_id: own.profile }
          : {};
      for (const transport of transports) {
        const text = comparable(await transport.call(method, request, other.token));
        for (const secret of secrets()) expect(text).not.toContain(secret);
      }
    }
    const { body } = await theirs("GET", "/v2/messaging_profiles");
    for (const { organization_id } of body.data) expect(organization_id).toBe(other.organizationId);
  });

  it("stay unchanged whatever others call", async () => {
    const before = await everythingOfOurs();
    for (const [name, row] of Object.entries(ROWS)) {
      for (const each of row) {
        const [grpc] = transports as [Transport];
        await grpc.call(methodOf(name), each(foreign, own), other.token);
      }
    }
    expect(await everythingOfOurs()).toBe(before);
  });

  it("stay queued or scheduled when another organization cancels them", async () => {
    const { profileId } = await makePool(server, { number: { segments_per_second: 0.001 } });
    const send = { messaging_profile_id: profileId, to: "+13125560174", text: "Waiting" };
    const send_at = new Date(Date.now() + 3_600_000).toISOString();
    await ours("POST", "/v2/messages/number_pool", send);
    for (const [fields, status] of [
      [{}, "queued"],
      [{ send_at }, "scheduled"],
    ] as const) {
      const { id } = (await ours("POST", "/v2/messages/number_pool", { ...send, ...fields })).body.data;
      for (const transport of transports) {
        const ofForeign = await transport.call(methodOf("CancelMessage"), { id }, other.token);
        const ofUnknown = await transport.call(methodOf("CancelMessage"), { id: UNKNOWN.message }, other.token);
        expect([ofForeign.kind, comparable(ofForeign)]).toEqual(["refused", comparable(ofUnknown)]);
      }
      expect((await ours("GET", `/v2/messages/${id}`)).body.data.to[0].status).toBe(status);
      const cancelled = await (transports[0] as Transport).call(methodOf("CancelMessage"), { id }, API_KEY);
      expect(cancelled.kind).toBe("answered");
    }
  });

  it("accept receipts of their owner alone", async () => {
    const { profileId } = await makePool(server);
    const send = { messaging_profile_id: profileId, to: "+13125550103", text: "Silence" };
    const { id } = (await ours("POST", "/v2/messages/number_pool", send)).body.data;
    const sent = () => ours("GET", `/v2/messages/${id}`);
    await until(sent, ({ body }) => body.data.to[0].status === "sent");
    const request = {
      carrier: "sandbox",
      carrier_message_id: carrierMessageOf(id),
      status: "RECEIPT_STATUS_DELIVERED",
    };
    for (const transport of transports) {
      const named = transport.name === "JSON" ? { ...request, status: "delivered" } : request;
      const ofForeign = await transport.call(methodOf("ReportReceipt"), named, other.token);
      const ofUnknown = await transport.call(
        methodOf("ReportReceipt"),
        { ...named, carrier_message_id: UNKNOWN.carrierMessage },
        other.token,
      );
      expect([ofForeign.kind, comparable(ofForeign)]).toEqual(["answered", comparable(ofUnknown)]);
    }
    expect((await sent()).body.data.to[0].status).toBe("sent");
    for (const transport of transports) {
      const named = transport.name === "JSON" ? { ...request, status: "delivered" } : request;
      expect(comparable(await transport.call(methodOf("ReportReceipt"), named, API_KEY))).toContain(id);
    }
    expect((await sent()).body.data.to[0].status).toBe("delivered");
  });

  it("cannot be registered again, and the refusal does not name their owner", async () => {
    const request = { number: { phone_number: foreign.phoneNumber } };
    for (const transport of transports) {
      const outcome = await transport.call(methodOf("RegisterNumber"), request, other.token);
      expect(outcome).toMatchObject({ kind: "refused", reason: "ALREADY_EXISTS" });
      const { data } = (await ours("GET", "/v2/messaging_profiles")).body;
      for (const hidden of [foreign.profile, foreign.profileName, foreign.number, data[0].organization_id, "default"]) {
        expect(comparable(outcome)).not.toContain(hidden);
      }
    }
    expect((await ours("GET", `/v2/phone_numbers/${foreign.phoneNumber}`)).body.data.id).toBe(foreign.number);
    expect((await theirs("GET", `/v2/phone_numbers/${foreign.phoneNumber}`)).status).toBe(404);
  });

  it("can be registered by several organizations if the operator allows it", async () => {
    const allowing = await startServer({ database: `${folder.path}/shared.db`, args: ["--allow-shared-numbers"] });
    const stranger = await makeKey(allowing, "stranger");
    const number = { phone_number: freshNumber("415") };
    const first = await allowing.json("POST", "/v2/phone_numbers", number);
    const headers = { authorization: `Bearer ${stranger.token}` };
    const second = await until(
      () => allowing.json("POST", "/v2/phone_numbers", number, headers),
      ({ status }) => status !== 401,
    );
    expect([first.status, second.status]).toEqual([200, 200]);
    expect(second.body.data.id).not.toBe(first.body.data.id);
    expect((await allowing.json("DELETE", `/v2/phone_numbers/${number.phone_number}`, undefined, headers)).status).toBe(
      200,
    );
    const { body } = await allowing.json("GET", `/v2/phone_numbers/${number.phone_number}`);
    expect(body.data.id).toBe(first.body.data.id);
    expect(await allowing.stop()).toBe(0);
  });

  it("do not affect idempotency keys: the same key of two organizations is two keys", async () => {
    const headers = { "idempotency-key": "the-same-everywhere" };
    const send = (messaging_profile_id: string, key: string) =>
      server.json(
        "POST",
        "/v2/messages/number_pool",
        { messaging_profile_id, to: "+13125550100", text: "Once" },
        { ...headers, authorization: `Bearer ${key}` },
      );
    const first = await send(foreign.profile, API_KEY);
    const second = await send(own.profile, other.token);
    expect([first.status, second.status]).toEqual([200, 200]);
    expect(second.headers.get("idempotent-replayed")).toBeNull();
    expect(second.body.data.organization_id).toBe(other.organizationId);
    const crossed = await send(foreign.profile, other.token);
    expect([crossed.status, crossed.body.errors?.[0]?.code]).toEqual([422, "10027"]);
  });
});

describe("a key of one scope", () => {
  const NAMES = { send: Scope.SEND, read: Scope.READ, report: Scope.REPORT, admin: Scope.ADMIN } as const;
  const keys = new Map<string, MadeKey>();

  beforeAll(async () => {
    for (const name of Object.keys(NAMES)) keys.set(name, await makeKey(server, "scopes", name));
  });

  const table = Object.entries(NAMES).flatMap(([name, value]) =>
    METHODS.map((method) => [method.name, name, getOption(method, scopeOption) === value, method] as const),
  );

  it.each(table)("%s with only `%s`: allowed is %s, in every transport", async (_n, name, isAllowed, method) => {
    const key = keys.get(name) as MadeKey;
    for (const transport of transports) {
      if (method.methodKind !== "unary" && !transport.hasStreams) continue;
      const outcome = await transport.call(method, {}, key.token);
      const reason = outcome.kind === "refused" ? outcome.reason : "";
      expect(reason).not.toBe("UNAUTHENTICATED");
      expect([transport.name, reason === "PERMISSION_DENIED"]).toEqual([transport.name, !isAllowed]);
      if (!isAllowed && outcome.kind === "refused") {
        expect(outcome.status).toBe(transport.name === "JSON" || transport.name === "Connect" ? 403 : 7);
        const needed = Object.entries(NAMES).find(([, value]) => value === getOption(method, scopeOption))?.[0];
        expect(Buffer.from(outcome.all).toString()).toContain(needed);
      }
    }
  });
});

describe("a revoked key", () => {
  it("is refused in every transport within a second", async () => {
    const key = await makeKey(server, "scopes");
    const method = methodOf("ListProfiles");
    const calls: { readonly transport: string; readonly since: number; readonly isRefused: boolean }[] = [];
    let isOver = false;
    const polling = transports.map(async (transport) => {
      while (!isOver) {
        const since = Date.now();
        const outcome = await transport.call(method, {}, key.token);
        calls.push({
          transport: transport.name,
          since,
          isRefused: outcome.kind === "refused" && outcome.reason === "UNAUTHENTICATED",
        });
        await new Promise((resolve) => setTimeout(resolve, 25));
      }
    });
    const { revoked_at } = await commandLine(server, ["key", "revoke", key.id]);
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    isOver = true;
    await Promise.all(polling);
    const revokedAt = Date.parse(revoked_at);
    for (const { name } of transports) {
      const ofTransport = calls.filter(({ transport }) => transport === name);
      expect(ofTransport.filter(({ since, isRefused }) => since < revokedAt && isRefused)).toEqual([]);
      expect(ofTransport.filter(({ since, isRefused }) => since > revokedAt + 1_000 && !isRefused)).toEqual([]);
      expect(ofTransport.filter(({ isRefused }) => isRefused).length).toBeGreaterThan(1);
    }
  });

  it("does not affect the organization's other keys", async () => {
    const [first, second] = [await makeKey(server, "scopes"), await makeKey(server, "scopes")];
    await commandLine(server, ["key", "revoke", first.id]);
    const ask = (key: MadeKey) =>
      server.json("GET", "/v2/messaging_profiles", undefined, { authorization: `Bearer ${key.token}` });
    await until(
      () => ask(first),
      ({ status }) => status === 401,
    );
    expect((await ask(second)).status).toBe(200);
    expect((await server.json("POST", "/v2/messages/number_pool", {})).status).toBe(400);
    expect(await makeProfile(server)).toMatch(/^[0-9a-f-]{36}$/);
  });
});
