import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import Database from "better-sqlite3";
import Telnyx, {
  type APIError,
  AuthenticationError,
  BadRequestError,
  ConflictError,
  NotFoundError,
  RateLimitError,
  UnprocessableEntityError,
} from "telnyx";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { API_KEY, startServer, type TestServer, temporaryFolder } from "../server.ts";
import { freshNumber, makePool, makeProfile, ON, register, until } from "./pools.ts";

const UNKNOWN_ID = "01900000-0000-7000-8000-000000000000";
const TO = "+13125550100";

const folder = temporaryFolder();
let server: TestServer;
let client: Telnyx;

beforeAll(async () => {
  server = await startServer({ database: `${folder.path}/numberpool.db` });
  client = new Telnyx({ apiKey: API_KEY, baseURL: `${server.url}/v2` });
});

afterAll(async () => {
  expect(await server.stop()).toBe(0);
  folder.remove();
});

/** A client that counts its requests. */
function countingClient(options: { apiKey?: string; maxRetries?: number } = {}) {
  const counted = { requests: 0 };
  const fetching = (...request: Parameters<typeof fetch>) => {
    counted.requests += 1;
    return fetch(...request);
  };
  const counting = new Telnyx({ apiKey: API_KEY, baseURL: `${server.url}/v2`, ...options, fetch: fetching });
  return { client: counting, counted };
}

async function refusalOf(calling: PromiseLike<unknown>): Promise<APIError> {
  try {
    await calling;
  } catch (error) {
    return error as APIError;
  }
  throw new Error("the call was not refused");
}

type Documented = { code: string; title: string; detail: string; source?: { pointer?: string; parameter?: string } };

/** The one documented error of a refusal. */
function documented(refusal: APIError): Documented {
  const { errors } = refusal.error as { errors: Documented[] };
  expect(errors).toHaveLength(1);
  return errors[0] as Documented;
}

async function all<Item>(pages: AsyncIterable<Item>): Promise<Item[]> {
  const items: Item[] = [];
  for await (const item of pages) items.push(item);
  return items;
}

describe("messaging profiles through the official client", () => {
  it("are created with the given fields and the documented defaults", async () => {
    const { data } = await client.messagingProfiles.create({
      name: "Spring campaign",
      whitelisted_destinations: ["US", "CA"],
      webhook_url: "https://example.com/hook",
      number_pool_settings: { long_code_weight: 5, toll_free_weight: 1, skip_unhealthy: true, sticky_sender: true },
    });
    expect(data).toMatchObject({
      record_type: "messaging_profile",
      name: "Spring campaign",
      enabled: true,
      whitelisted_destinations: ["US", "CA"],
      webhook_url: "https://example.com/hook",
      webhook_failover_url: "",
      webhook_api_version: "2",
      url_shortener_settings: null,
      alpha_sender: null,
      mobile_only: false,
      number_pool_settings: {
        long_code_weight: 5,
        toll_free_weight: 1,
        skip_unhealthy: true,
        sticky_sender: true,
        geomatch: false,
      },
    });
    expect(data?.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(data?.created_at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    expect((await client.messagingProfiles.retrieve(data?.id as string)).data).toEqual(data);
  });

  it("are created with the pool off if settings are absent", async () => {
    const { data } = await client.messagingProfiles.create({ name: "Plain", whitelisted_destinations: ["*"] });
    expect(data?.number_pool_settings).toBeNull();
  });

  it("are listed over all pages, newest first, and found by name and by a part of it", async () => {
    const ids: (string | undefined)[] = [];
    for (let count = 0; count < 45; count += 1) {
      const name = count % 2 === 0 ? "Even pages" : `Odd pages ${count}`;
      ids.unshift((await client.messagingProfiles.create({ name, whitelisted_destinations: ["US"] })).data?.id);
    }
    const { client: counting, counted } = countingClient();
    const ours = await all(counting.messagingProfiles.list({ "filter[name][contains]": "PAGES", "page[size]": 20 }));
    expect(ours.map(({ id }) => id)).toEqual(ids);
    expect(counted.requests).toBe(3);

    const even = await client.messagingProfiles.list({ filter: { name: "Even pages" }, "page[size]": 10 });
    expect(even.meta).toEqual({ page_number: 1, page_size: 10, total_pages: 3, total_results: 23 });
    expect(await all(even)).toHaveLength(23);
    expect(await all(client.messagingProfiles.list({ "filter[name][eq]": "even pages" }))).toEqual([]);
    const both = { filter: { name: "Odd pages 3" }, "filter[name][contains]": "pages 3" } as const;
    expect((await all(client.messagingProfiles.list(both))).map(({ name }) => name)).toEqual(["Odd pages 3"]);
    expect((await client.messagingProfiles.list({ filter: { name: "Even pages" }, "page[number]": 9 })).data).toEqual(
      [],
    );
  });

  it("are changed in the named fields only, pool settings merged", async () => {
    const id = await makeProfile(server, { name: "Before", number_pool_settings: { ...ON, long_code_weight: 7 } });
    const before = (await client.messagingProfiles.retrieve(id)).data;
    const settings = { sticky_sender: true } as Telnyx.NumberPoolSettings;
    const { data } = await client.messagingProfiles.update(id, { name: "After", number_pool_settings: settings });
    expect(data).toEqual({
      ...before,
      name: "After",
      updated_at: data?.updated_at,
      number_pool_settings: { ...before?.number_pool_settings, long_code_weight: 7, sticky_sender: true },
    });
    expect((await client.messagingProfiles.update(id, { enabled: false })).data).toMatchObject({
      name: "After",
      enabled: false,
      number_pool_settings: { long_code_weight: 7, sticky_sender: true },
    });
  });

  it.each([
    ["an empty object", {} as Telnyx.NumberPoolSettings],
    ["null", null],
  ])("lose their pool settings when these are %s", async (_name, number_pool_settings) => {
    const id = await makeProfile(server, { number_pool_settings: { ...ON, long_code_weight: 7, geomatch: true } });
    const { data } = await client.messagingProfiles.update(id, { number_pool_settings });
    expect(data?.number_pool_settings).toBeNull();
    expect((await client.messagingProfiles.retrieve(id)).data?.number_pool_settings).toBeNull();
    const again = { toll_free_weight: 3 } as Telnyx.NumberPoolSettings;
    expect((await client.messagingProfiles.update(id, { number_pool_settings: again })).data).toMatchObject({
      number_pool_settings: { long_code_weight: 1, toll_free_weight: 3, skip_unhealthy: false, geomatch: false },
    });
  });

  it("are deleted, which frees their numbers and leaves their messages readable", async () => {
    const { profileId, numbers } = await makePool(server);
    const text = "Sent before the profile went";
    const sent = await client.messages.sendNumberPool({ messaging_profile_id: profileId, to: TO, text });
    const before = (await client.messagingProfiles.retrieve(profileId)).data;
    expect((await client.messagingProfiles.delete(profileId)).data).toEqual(before);
    const gone = await refusalOf(client.messagingProfiles.retrieve(profileId));
    expect(gone).toBeInstanceOf(NotFoundError);
    expect(documented(gone).code).toBe("10005");
    const settings = await client.phoneNumbers.messaging.retrieve(numbers[0] as string);
    expect(settings.data?.messaging_profile_id).toBeNull();
    expect((await client.messages.retrieve(sent.data?.id as string)).data).toMatchObject({ text });
  });
});

describe("phone numbers through the official client", () => {
  it("are listed by profile, by number", async () => {
    const { profileId, numbers } = await makePool(server, { long: 5 });
    const listed = await all(client.messagingProfiles.listPhoneNumbers(profileId, { "page[size]": 2 }));
    expect(listed.map(({ phone_number }) => phone_number)).toEqual([...numbers].sort());
    expect((await client.messagingProfiles.listPhoneNumbers(profileId, { "page[size]": 2 })).meta).toEqual({
      page_number: 1,
      page_size: 2,
      total_pages: 3,
      total_results: 5,
    });
    const unknown = await refusalOf(all(client.messagingProfiles.listPhoneNumbers(UNKNOWN_ID)));
    expect(unknown).toBeInstanceOf(NotFoundError);
  });

  it("have the same messaging settings by id and by number", async () => {
    const profileId = await makeProfile(server);
    const number = await register(server, { phone_number: freshNumber("800"), messaging_profile_id: profileId });
    const { data } = await client.phoneNumbers.messaging.retrieve(number.phone_number);
    expect(data).toEqual({
      record_type: "messaging_settings",
      id: number.id,
      phone_number: number.phone_number,
      messaging_profile_id: profileId,
      organization_id: number.organization_id,
      country_code: "US",
      type: "tollfree",
      health: {
        message_count: 0,
        inbound_outbound_ratio: 0,
        success_ratio: 1,
        spam_ratio: 0,
        healthy: true,
        unhealthy_reason: null,
        healthy_again_at: null,
      },
      eligible_messaging_products: ["A2P"],
      traffic_type: "A2P",
      messaging_product: "A2P",
      features: {
        sms: { domestic_two_way: true, international_inbound: true, international_outbound: true },
        mms: null,
      },
      tags: [],
      created_at: number.created_at,
      updated_at: number.updated_at,
    });
    expect((await client.phoneNumbers.messaging.retrieve(number.id)).data).toEqual(data);
    expect(await refusalOf(client.phoneNumbers.messaging.retrieve("+12125550000"))).toBeInstanceOf(NotFoundError);
  });

  it("are filtered and sorted as documented", async () => {
    const profileId = await makeProfile(server);
    const of = (phone_number: string) => register(server, { phone_number, messaging_profile_id: profileId });
    const [long, other, free] = [freshNumber("305"), freshNumber("415"), freshNumber("888")];
    for (const phoneNumber of [free, other, long]) await of(phoneNumber);
    const mine = { "filter[messaging_profile_id]": profileId } as const;
    const listed = async (query: Telnyx.PhoneNumbers.MessagingListParams) =>
      (await all(client.phoneNumbers.messaging.list({ ...mine, ...query }))).map(({ phone_number }) => phone_number);
    expect(await listed({})).toEqual([long, other, free]);
    expect(await listed({ "sort[phone_number]": "desc" })).toEqual([free, other, long]);
    expect(await listed({ "filter[type]": "tollfree" })).toEqual([free]);
    expect(await listed({ "filter[type]": "longcode" })).toEqual([long, other]);
    expect(await listed({ "filter[type]": "shortcode" })).toEqual([]);
    expect(await listed({ "filter[phone_number]": `${free},${long}` })).toEqual([long, free]);
    expect(await listed({ "filter[phone_number][contains]": "415556" })).toEqual([other]);
  });

  it.each(["id", "phone_number"])("are assigned, kept, unassigned and labelled by %s", async (name) => {
    const [one, two] = [await makeProfile(server), await makeProfile(server)];
    const number = await register(server, { phone_number: freshNumber() });
    const update = async (body: object) =>
      (await client.phoneNumbers.messaging.update(number[name], body as Telnyx.PhoneNumbers.MessagingUpdateParams))
        .data;
    expect(await update({ messaging_profile_id: one })).toMatchObject({ messaging_profile_id: one, tags: [] });
    expect(await update({ messaging_profile_id: null })).toMatchObject({ messaging_profile_id: one });
    expect(await update({ tags: ["vip", "spring"] })).toMatchObject({
      messaging_profile_id: one,
      tags: ["vip", "spring"],
    });
    expect(await update({ messaging_profile_id: two, messaging_product: null })).toMatchObject({
      messaging_profile_id: two,
      tags: ["vip", "spring"],
    });
    expect(await update({ messaging_profile_id: "" })).toMatchObject({ messaging_profile_id: null });
    expect(await update({ tags: [] })).toMatchObject({ messaging_profile_id: null, tags: [] });
    const unknown = await refusalOf(update({ messaging_profile_id: UNKNOWN_ID }));
    expect(unknown).toBeInstanceOf(NotFoundError);
    expect(documented(unknown)).toMatchObject({ code: "10005", source: { pointer: "/messaging_profile_id" } });
  });
});

describe("sends through the official client", () => {
  it("leave through the pool and are delivered", async () => {
    const { profileId, numbers } = await makePool(server);
    const text = "Hello, World! 🌍";
    const { data } = await client.messages.sendNumberPool({
      messaging_profile_id: profileId,
      to: TO,
      text,
      webhook_url: "https://example.com/message",
    });
    expect(data).toMatchObject({
      record_type: "message",
      direction: "outbound",
      type: "SMS",
      messaging_profile_id: profileId,
      from: { phone_number: numbers[0], carrier: "sandbox", line_type: "long_code" },
      to: [{ phone_number: TO, status: "queued", carrier: "", line_type: "" }],
      cc: [],
      text,
      media: [],
      encoding: "UCS-2",
      parts: 1,
      num_chars: 15,
      tags: [],
      cost: null,
      webhook_url: "https://example.com/message",
      webhook_failover_url: null,
      sent_at: null,
      completed_at: null,
      errors: [],
      decision: { rule: "least_loaded", tier: null, pool_size: 1, eligible: 1, is_fallback: false },
    });
    const accepted = Date.parse(data?.received_at as string);
    expect(Math.abs(Date.now() - accepted)).toBeLessThan(10_000);
    expect(Date.parse(data?.valid_until as string) - accepted).toBe(14_400_000);

    const delivered = await until(
      async () => (await client.messages.retrieve(data?.id as string)).data as Telnyx.OutboundMessagePayload,
      (message) => message.to?.[0]?.status === "delivered",
    );
    expect(delivered).toEqual({
      ...data,
      to: [{ phone_number: TO, status: "delivered", carrier: "", line_type: "" }],
      sent_at: expect.any(String),
      completed_at: expect.any(String),
      valid_until: null,
    });
    expect(Date.parse(delivered.sent_at as string)).toBeGreaterThanOrEqual(accepted);
    expect(Date.parse(delivered.completed_at as string)).toBeGreaterThan(Date.parse(delivered.sent_at as string));
  });

  it("use the pool when a message names a profile only, and the number when it names one", async () => {
    const { profileId, numbers } = await makePool(server, { long: 2 });
    const pooled = await client.messages.send({ messaging_profile_id: profileId, to: TO, text: "Pooled" });
    expect(pooled.data).toMatchObject({ decision: { rule: "least_loaded", pool_size: 2 } });
    for (const from of numbers) {
      const chosen = { from: { phone_number: from }, messaging_profile_id: profileId, decision: { rule: "from" } };
      const named = await client.messages.send({ from, messaging_profile_id: profileId, to: TO, text: "Named" });
      expect(named.data).toMatchObject(chosen);
      expect((await client.messages.send({ from, to: TO, text: "Alone" })).data).toMatchObject(chosen);
    }
  });

  it("leave from a named number although the pool is off", async () => {
    const { profileId, numbers } = await makePool(server, { profile: { number_pool_settings: null } });
    const { data } = await client.messages.send({ from: numbers[0] as string, to: TO, text: "Named" });
    expect(data).toMatchObject({ messaging_profile_id: profileId, from: { phone_number: numbers[0] } });
  });

  it("are not repeated by content alone", async () => {
    const { profileId } = await makePool(server);
    const body = { messaging_profile_id: profileId, to: TO, text: "Twice, on purpose" };
    const [first, second] = [await client.messages.sendNumberPool(body), await client.messages.sendNumberPool(body)];
    expect(second.data?.id).not.toBe(first.data?.id);
  });

  describe("repeated with the client's headers", () => {
    const send = (body: object, headers: Record<string, string>) =>
      server.json("POST", "/v2/messages/number_pool", body, headers);
    const attempt = (count: string, timeout?: string) => ({
      "x-stainless-retry-count": count,
      ...(timeout !== undefined && { "x-stainless-timeout": timeout }),
    });
    const freshBody = async () => ({
      messaging_profile_id: (await makePool(server)).profileId,
      to: TO,
      text: "Counted",
    });

    it.each(["1", "2", "10", "99999999999999999999"])(
      "are answered with the first message by retry %s",
      async (count) => {
        const body = await freshBody();
        const first = await send(body, attempt("0"));
        const retry = await send(body, attempt(count));
        expect([retry.status, retry.headers.get("idempotent-replayed")]).toEqual([200, "true"]);
        expect(retry.body.data.id).toBe(first.body.data.id);
      },
    );

    it.each(["0", "", "-1", "1.5", "1e3", "one", "0x1"])("are another message with a count of %j", async (count) => {
      const body = await freshBody();
      const first = await send(body, attempt("0"));
      const second = await send(body, attempt(count));
      expect(second.status).toBe(200);
      expect(second.body.data.id).not.toBe(first.body.data.id);
    });

    it("are another message when the first one had no count", async () => {
      const body = await freshBody();
      const first = await send(body, {});
      const second = await send(body, attempt("1"));
      expect(second.status).toBe(200);
      expect(second.body.data.id).not.toBe(first.body.data.id);
    });

    it.each(["", "-5", "soon", "1e9", "0", "600000"])(
      "are the same message whatever the timeout, as %j",
      async (timeout) => {
        const body = await freshBody();
        const first = await send(body, attempt("0", timeout));
        const retry = await send(body, attempt("1", timeout));
        expect(retry.body.data.id).toBe(first.body.data.id);
      },
    );

    it("are sent with a real key by a header", async () => {
      const body = { ...(await freshBody()), text: "Keyed" };
      const headers = { "Idempotency-Key": `order ${body.messaging_profile_id}`.replace(" ", "-") };
      const first = await client.messages.sendNumberPool(body, { headers });
      const second = await client.messages.sendNumberPool(body, { headers });
      expect(second.data?.id).toBe(first.data?.id);
    });
  });

  it.each(["sendNumberPool", "send"] as const)("text once when the answer to %s is lost", async (method) => {
    const { profileId } = await makePool(server);
    const to = method === "send" ? "+13125551001" : "+13125551002";
    const proxy = await startLossyProxy(server.url);
    try {
      const far = new Telnyx({ apiKey: API_KEY, baseURL: `${proxy.url}/v2` });
      const body = { messaging_profile_id: profileId, to, text: "Only once" };
      const { data, response } = await far.messages[method](body).withResponse();
      expect(proxy.answers).toHaveLength(2);
      const [lost, received] = proxy.answers.map((answer) => JSON.parse(answer).data);
      expect(data.data?.id).toBe(lost.id);
      expect(received.id).toBe(lost.id);
      expect(response.headers.get("idempotent-replayed")).toBe("true");
      expect(messagesTo(to)).toBe(1);
      const later = await client.messages[method](body);
      expect(later.data?.id).not.toBe(lost.id);
    } finally {
      proxy.close();
    }
  });
});

describe("refusals in the official client", () => {
  let pool: Awaited<ReturnType<typeof makePool>>;
  let disabled: string;
  let pooled: (body: object) => PromiseLike<unknown>;

  beforeAll(async () => {
    pool = await makePool(server, { long: 2 });
    disabled = await makeProfile(server, { enabled: false });
    pooled = (body) =>
      client.messages.sendNumberPool({
        messaging_profile_id: pool.profileId,
        to: TO,
        text: "Hello",
        ...body,
      });
  });

  const TABLE: readonly [
    name: string,
    body: () => object,
    expected: { type: unknown; status: number; code: string; title: string; pointer: string; detail: RegExp },
  ][] = [
    [
      "an unknown profile",
      () => ({ messaging_profile_id: UNKNOWN_ID }),
      {
        type: NotFoundError,
        status: 404,
        code: "10005",
        title: "Resource not found",
        pointer: "/messaging_profile_id",
        detail: /no messaging profile with this id/,
      },
    ],
    [
      "no recipient",
      () => ({ to: undefined }),
      {
        type: BadRequestError,
        status: 400,
        code: "10004",
        title: "Missing required parameter",
        pointer: "/to",
        detail: /to is required/,
      },
    ],
    [
      "a recipient of null",
      () => ({ to: null }),
      {
        type: BadRequestError,
        status: 400,
        code: "10004",
        title: "Missing required parameter",
        pointer: "/to",
        detail: /to is required/,
      },
    ],
    ...["", "3125550100", "+1312555010", "+13125550100,+13125550101", "+1 312 555 0100", "tel:+13125550100"].map(
      (to): (typeof TABLE)[number] => [
        `the recipient "${to}"`,
        () => ({ to }),
        {
          type: BadRequestError,
          status: 400,
          code: "40310",
          title: "Invalid 'to' address",
          pointer: "/to",
          detail: /E\.164/,
        },
      ],
    ),
    [
      "a list of recipients",
      () => ({ to: [TO] }),
      {
        type: BadRequestError,
        status: 400,
        code: "40310",
        title: "Invalid 'to' address",
        pointer: "/to",
        detail: /to must be/,
      },
    ],
    ...[undefined, null, ""].map((text): (typeof TABLE)[number] => [
      `the text ${JSON.stringify(text)}`,
      () => ({ text }),
      {
        type: BadRequestError,
        status: 400,
        code: "40316",
        title: "No content provided for message",
        pointer: "/text",
        detail: /text is required/,
      },
    ]),
    [
      "a text of eleven parts",
      () => ({ text: "a".repeat(1531) }),
      {
        type: BadRequestError,
        status: 400,
        code: "40302",
        title: "Message too large",
        pointer: "/text",
        detail: /11 parts .* at most 10/,
      },
    ],
    [
      "an emoji in GSM-7",
      () => ({ text: "Hi 🌍", encoding: "gsm7" }),
      {
        type: BadRequestError,
        status: 400,
        code: "10028",
        title: "Encoding error",
        pointer: "/text",
        detail: /U\+1F30D/,
      },
    ],
    [
      "more parts than recommended, under auto_detect",
      () => ({ text: "a".repeat(460), auto_detect: true }),
      {
        type: BadRequestError,
        status: 400,
        code: "40328",
        title: "SMS exceeds recommended size",
        pointer: "/text",
        detail: /4 parts/,
      },
    ],
    [
      "a country that is not whitelisted",
      () => ({ to: "+442079460000" }),
      {
        type: BadRequestError,
        status: 400,
        code: "40309",
        title: "Invalid destination region",
        pointer: "/to",
        detail: /GB.*whitelisted_destinations/,
      },
    ],
    [
      "a sender where the pool picks one",
      () => ({ from: "+12125550000" }),
      {
        type: BadRequestError,
        status: 400,
        code: "10015",
        title: "Bad Request",
        pointer: "/from",
        detail: /does not accept `from`.*omit it/,
      },
    ],
    [
      "a malformed webhook URL",
      () => ({ webhook_url: "ftp://example.com" }),
      {
        type: BadRequestError,
        status: 400,
        code: "10003",
        title: "Invalid URL",
        pointer: "/webhook_url",
        detail: /http or https/,
      },
    ],
    [
      "an unknown encoding",
      () => ({ encoding: "utf8" }),
      {
        type: BadRequestError,
        status: 400,
        code: "10032",
        title: "Invalid enumerated value",
        pointer: "/encoding",
        detail: /auto, gsm7, ucs2/,
      },
    ],
  ];

  it.each(TABLE)("refuse %s", async (_name, body, expected) => {
    const refusal = await refusalOf(pooled(body()));
    expect(refusal).toBeInstanceOf(expected.type);
    expect(refusal.status).toBe(expected.status);
    const { code, title, detail, source } = documented(refusal);
    expect({ code, title, source }).toEqual({
      code: expected.code,
      title: expected.title,
      source: { pointer: expected.pointer },
    });
    expect(detail).toMatch(expected.detail);
  });

  it("refuse a message with neither sender nor profile, naming both fields", async () => {
    const refusal = await refusalOf(client.messages.send({ to: TO, text: "From whom?" }));
    expect(refusal).toBeInstanceOf(BadRequestError);
    expect(documented(refusal)).toMatchObject({
      code: "10004",
      detail: expect.stringMatching(/`from`.*messaging_profile_id.*pool/),
    });
  });

  it("refuse a sender of another profile, of none, and an unregistered one", async () => {
    const other = await makePool(server);
    const { phone_number: free } = await register(server, { phone_number: freshNumber() });
    for (const from of [other.numbers[0] as string, free, "+12125550000"]) {
      const body = { from, messaging_profile_id: pool.profileId, to: TO, text: "Hello" };
      const refusal = await refusalOf(client.messages.send(body));
      expect(refusal).toBeInstanceOf(BadRequestError);
      expect(documented(refusal)).toMatchObject({ code: "40305", source: { pointer: "/from" } });
    }
    expect(documented(await refusalOf(client.messages.send({ from: free, to: TO, text: "Hello" }))).code).toBe("40305");
  });

  it("refuse a sender that is paused", async () => {
    const { numbers } = await makePool(server, { number: { state: "paused" } });
    const refusal = await refusalOf(client.messages.send({ from: numbers[0] as string, to: TO, text: "Hello" }));
    expect(refusal).toBeInstanceOf(BadRequestError);
    expect(documented(refusal)).toMatchObject({ code: "40320", source: { pointer: "/from" } });
  });

  it("refuse a sender that is the recipient", async () => {
    const from = pool.numbers[0] as string;
    const refusal = await refusalOf(client.messages.send({ from, to: from, text: "Hello, me" }));
    expect(refusal).toBeInstanceOf(BadRequestError);
    expect(documented(refusal).code).toBe("40310");
  });

  it("refuse a disabled profile once, without retries", async () => {
    const { client: counting, counted } = countingClient();
    const body = { messaging_profile_id: disabled, to: TO, text: "Hello" };
    const refusal = await refusalOf(counting.messages.sendNumberPool(body));
    expect(refusal).toBeInstanceOf(ConflictError);
    expect(refusal.status).toBe(409);
    expect(refusal.headers?.get("x-should-retry")).toBe("false");
    expect(documented(refusal)).toMatchObject({ code: "40312", title: "Messaging profile is disabled" });
    expect(counted.requests).toBe(1);
  });

  it("refuse a wrong key once, without retries", async () => {
    const { client: counting, counted } = countingClient({ apiKey: "not-the-key-of-this-test-server" });
    const refusal = await refusalOf(counting.messagingProfiles.list());
    expect(refusal).toBeInstanceOf(AuthenticationError);
    expect(documented(refusal)).toMatchObject({ code: "10009", title: "Authentication failed" });
    expect(counted.requests).toBe(1);
  });

  it("refuse an idempotency key that belongs to another send", async () => {
    const headers = { "Idempotency-Key": "official-client-1" };
    const body = { messaging_profile_id: pool.profileId, to: TO, text: "First" };
    const first = await client.messages.sendNumberPool(body, { headers });
    const again = await client.messages.sendNumberPool(body, { headers }).withResponse();
    expect(again.data).toEqual(first);
    expect(again.response.headers.get("idempotent-replayed")).toBe("true");
    const refusal = await refusalOf(client.messages.sendNumberPool({ ...body, text: "Second" }, { headers }));
    expect(refusal).toBeInstanceOf(UnprocessableEntityError);
    expect(documented(refusal)).toMatchObject({ code: "10027", title: "Unprocessable entity" });
  });

  it("refuse a full queue with the time until there is room", async () => {
    const { profileId, numbers } = await makePool(server, { number: { segments_per_second: 0.001 } });
    const one = (fields: object = {}, to = TO) =>
      new Telnyx({ apiKey: API_KEY, baseURL: `${server.url}/v2`, maxRetries: 0 }).messages.send({
        messaging_profile_id: profileId,
        to,
        text: "Slowly",
        ...fields,
      });
    for (let count = 0; count < 10; count += 1) {
      const { data } = await one();
      expect(Math.abs((data?.wait_seconds as number) - count * 1000)).toBeLessThan(30);
    }
    for (const fields of [{}, { from: numbers[0] as string }]) {
      const refusal = await refusalOf(one(fields));
      expect(refusal).toBeInstanceOf(RateLimitError);
      expect(refusal.status).toBe(429);
      const { code, title, detail } = documented(refusal);
      expect({ code, title }).toEqual({ code: "40318", title: "Message queue full" });
      expect(detail).toMatch(/of 1 numbers, 1 with a full queue/);
      // Eleven messages take 11,000 s, and 10,800 s fit.
      const wait = Number(refusal.headers?.get("retry-after"));
      expect(wait).toBeGreaterThan(170);
      expect(wait).toBeLessThanOrEqual(200);
    }
  });

  it("name the causes of an empty pool, with counts", async () => {
    const empty = async (profile: object, numbers: readonly object[]) => {
      const messaging_profile_id = await makeProfile(server, profile);
      for (const number of numbers) await register(server, { messaging_profile_id, ...number });
      const { client: counting, counted } = countingClient();
      const refusal = await refusalOf(counting.messages.sendNumberPool({ messaging_profile_id, to: TO, text: "Hi" }));
      expect(counted.requests).toBe(1);
      expect(refusal).toBeInstanceOf(BadRequestError);
      expect(refusal.status).toBe(400);
      const { code, title, detail, source } = documented(refusal);
      expect({ code, title, source }).toEqual({
        code: "40321",
        title: "No usable numbers on messaging profile",
        source: { pointer: "/messaging_profile_id" },
      });
      const generic = await refusalOf(client.messages.send({ messaging_profile_id, to: TO, text: "Hi" }));
      expect(documented(generic).detail).toBe(detail);
      return detail;
    };
    const number = (fields: object = {}, areaCode?: string) => ({ phone_number: freshNumber(areaCode), ...fields });
    expect(await empty({ number_pool_settings: null }, [number()])).toMatch(/the number pool is off/);
    expect(await empty({}, [])).toMatch(/no long code or toll-free number is assigned/);
    const zero = { number_pool_settings: { long_code_weight: 0, toll_free_weight: 0 } };
    expect(await empty(zero, [number(), number(), number({}, "800")])).toMatch(
      /of 3 numbers, 3 of a type with weight 0/,
    );
    const paused = { state: "paused" };
    expect(await empty({}, [number(paused), number(paused)])).toMatch(/of 2 numbers, 2 paused/);
    const mixed = { number_pool_settings: { long_code_weight: 1, toll_free_weight: 0 } };
    expect(await empty(mixed, [number(paused), number({ state: "draining" }), number({}, "800")])).toMatch(
      /of 3 numbers, 1 of a type with weight 0, 1 paused, 1 draining/,
    );
  });

  it("store nothing", async () => {
    expect(messagesTo("+442079460000")).toBe(0);
    expect(messagesTo(pool.numbers[0] as string)).toBe(0);
    const missing = await refusalOf(client.messages.retrieve(UNKNOWN_ID));
    expect(missing).toBeInstanceOf(NotFoundError);
  });
});

function messagesTo(to: string): number {
  const database = new Database(server.database, { readonly: true });
  try {
    return database.prepare('SELECT count(*) FROM messages WHERE "to" = ?').pluck().get(to) as number;
  } finally {
    database.close();
  }
}

/**
 * A proxy that forwards everything, and closes the connection instead of returning the first
 * response.
 */
async function startLossyProxy(target: string) {
  const answers: string[] = [];
  const proxy = createServer(async (request, reply) => {
    const body = Buffer.concat(await all(request));
    const headers = Object.fromEntries(
      Object.entries(request.headersDistinct).flatMap(([name, values]) =>
        ["host", "connection", "content-length", "transfer-encoding"].includes(name)
          ? []
          : [[name, values?.join(", ") ?? ""]],
      ),
    );
    const answer = await fetch(target + request.url, { method: request.method as string, headers, body });
    answers.push(await answer.text());
    if (answers.length === 1) {
      request.socket.destroy();
      return;
    }
    reply.writeHead(answer.status, {
      "content-type": "application/json",
      "idempotent-replayed": answer.headers.get("idempotent-replayed") ?? "",
    });
    reply.end(answers.at(-1));
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const { port } = proxy.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    answers,
    close: () => {
      proxy.closeAllConnections();
      proxy.close();
    },
  };
}
