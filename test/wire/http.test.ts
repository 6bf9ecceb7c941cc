import { randomBytes } from "node:crypto";
import { Agent, request as httpRequest, type IncomingMessage } from "node:http";
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PoolSendService } from "../../gen/numberpool/v1/pool_send_service_pb.ts";
import { createApiKey } from "../../src/domain/api-key.ts";
import { API_KEY, type JsonAnswer, startServer, type TestServer, temporaryFolder } from "../server.ts";
import { createGrpcClient } from "./grpc-client.ts";
import { freshNumber, makePool, makeProfile, register, until } from "./pools.ts";

const POOL = "/v2/messages/number_pool";
const BATCH = "/v2/messages/number_pool/batch";
const PROFILES = "/v2/messaging_profiles";
const PREVIEW = "/v2/messages/number_pool/preview";
const TO = "+13125550100";
const AUTHORIZED = { authorization: `Bearer ${API_KEY}` };
const JSON_BODY = { "content-type": "application/json" };

const folder = temporaryFolder();
let server: TestServer;
let profileId: string;

beforeAll(async () => {
  server = await startServer({ database: `${folder.path}/numberpool.db` });
  profileId = (await makePool(server)).profileId;
});

afterAll(async () => {
  expect(await server.stop()).toBe(0);
  folder.remove();
});

type RefusalContent = { status: number; code: string; reason: string; pointer?: string; parameter?: string };

/** Checks the documented form of a refusal, and gives its one error. */
// biome-ignore lint/suspicious/noExplicitAny: the error's shape is what is checked here.
function refusalOf(answer: { status: number; headers: Headers; body: any }): RefusalContent {
  expect(answer.headers.get("content-type")).toMatch(/^application\/json(; charset=utf-8)?$/);
  expect(Object.keys(answer.body)).toEqual(["errors"]);
  expect(answer.body.errors).toHaveLength(1);
  const { code, title, detail, source, meta, ...rest } = answer.body.errors[0];
  expect(rest).toEqual({});
  expect(code).toMatch(/^\d{5}$/);
  expect(title).toMatch(/^\S.*\S$/);
  expect(detail).toMatch(/^\S.*\.$/s);
  expect(JSON.stringify(answer.body)).not.toMatch(/node_modules|\.[tj]s\b|\bat \w+.*\(|Error:/);
  return { status: answer.status, code, reason: meta.reason, ...source };
}

const refused = async (...call: Parameters<TestServer["json"]>) => refusalOf(await server.json(...call));
const send = (fields: object = {}) => ({ messaging_profile_id: profileId, to: TO, text: "Hello", ...fields });

/** Sends any bytes or text, with the key, and gives the parsed response. */
async function post(path: string, body: string | Uint8Array, headers: Record<string, string> = JSON_BODY) {
  const answer = await fetch(server.url + path, {
    method: "POST",
    headers: { ...AUTHORIZED, ...headers },
    body: Buffer.from(body as string),
  });
  return { status: answer.status, headers: answer.headers, body: JSON.parse(await answer.text()) } as JsonAnswer;
}

/**
 * Writes bytes to a new connection; gives all received bytes until `isEnough`, the end, or the
 * timeout.
 */
function raw(bytes: string | Buffer, isEnough: (text: string) => boolean, within = 5_000): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    const { hostname, port } = new URL(server.url);
    const socket = connect({ host: hostname, port: Number(port) }, () => socket.write(bytes));
    const finish = () => {
      clearTimeout(timer);
      socket.destroy();
      resolve(text);
    };
    const timer = setTimeout(finish, within);
    socket.on("data", (chunk) => {
      text += chunk;
      if (isEnough(text)) finish();
    });
    // A peer that closes early resets the rest of the request; the response before counts.
    socket.on("error", () => {});
    socket.on("close", finish);
  });
}

const isWhole = (text: string) => {
  const [head = "", body] = text.split("\r\n\r\n");
  const length = /content-length: (\d+)/i.exec(head)?.[1];
  return body !== undefined && length !== undefined && Buffer.byteLength(body) >= Number(length);
};

describe("paths and verbs", () => {
  it.each([
    ["GET", "/"],
    ["GET", "/v2"],
    ["POST", "/v2/message"],
    ["GET", "/v2/messaging_profiles/"],
    ["GET", "/v2/messaging_profiles/a/b/c"],
    ["GET", "/v3/messages"],
    ["POST", "/v2/messages/number_pool/others"],
    ["GET", "/v2/%zz"],
    ["GET", "/v2/messaging_profiles/%"],
  ])("do not exist: %s %s", async (verb, path) => {
    const body = verb === "POST" ? {} : undefined;
    expect(await refused(verb, path, body)).toEqual({ status: 404, code: "10005", reason: "NOT_FOUND" });
  });

  it.each([
    ["PUT", PROFILES, ["GET", "HEAD", "POST"]],
    ["POST", `${PROFILES}/some-id`, ["DELETE", "GET", "HEAD", "PATCH"]],
    ["DELETE", "/v2/phone_numbers", ["GET", "HEAD", "POST"]],
    ["PUT", "/v2/phone_numbers/+12125550100/messaging", ["GET", "HEAD", "PATCH"]],
    ["GET", BATCH, ["POST"]],
    ["OPTIONS", BATCH, ["POST"]],
    ["POST", "/healthz", ["GET", "HEAD"]],
  ])("exist, but not together: %s %s", async (verb, path, allowed) => {
    const answer = await server.json(verb, path);
    expect(refusalOf(answer)).toEqual({ status: 405, code: "10030", reason: "METHOD_NOT_ALLOWED" });
    expect(answer.headers.get("allow")?.split(", ").sort()).toEqual(allowed);
  });

  it("answer an id that is too long as unknown", async () => {
    const id = "a".repeat(300);
    expect(await refused("GET", `/v2/messages/${id}`)).toMatchObject({ status: 404, code: "10005" });
    expect(await refused("GET", `${PROFILES}/${id}`)).toMatchObject({ status: 404, code: "10005" });
  });

  it("answer unknown verbs and bytes that are not HTTP, and never hang", async () => {
    const get = (verb: string) => raw(`${verb} ${PROFILES} HTTP/1.1\r\nhost: x\r\n\r\n`, isWhole);
    expect(await get("PROPFIND")).toMatch(/^HTTP\/1\.1 40[45] .*"errors"/s);
    expect(await get("NONSENSE")).toMatch(/^HTTP\/1\.1 400 .*"errors"/s);
    expect(await raw("\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", isWhole)).toMatch(/^HTTP\/1\.1 400 .*"errors"/s);
    const head = `GET /healthz HTTP/1.1\r\nhost: x\r\nx-large: ${"a".repeat(20_000)}\r\n\r\n`;
    expect(await raw(head, isWhole)).toMatch(/^HTTP\/1\.1 4\d\d /);
  });

  it("accept a number's +E.164 escaped or not", async () => {
    const phone_number = freshNumber();
    const { id } = await register(server, { phone_number });
    for (const name of [id, phone_number, encodeURIComponent(phone_number)]) {
      const { status, body } = await server.json("GET", `/v2/phone_numbers/${name}`);
      expect([status, body.data.phone_number]).toEqual([200, phone_number]);
    }
  });

  it("report that the program is alive and ready, without a key", async () => {
    for (const [path, body] of [
      ["/healthz", { status: "alive" }],
      ["/readyz", { status: "ready" }],
    ] as const) {
      const answer = await fetch(server.url + path);
      expect([answer.status, await answer.json()]).toEqual([200, body]);
    }
  });
});

describe("bodies", () => {
  const deep = `${"[".repeat(20_000)}${"]".repeat(20_000)}`;

  it.each([
    ["nothing", ""],
    ["half an object", '{"to": "+1312'],
    ["a list", JSON.stringify([{ to: TO }])],
    ["a string", '"text"'],
    ["null", "null"],
    ["a number", "1"],
    ["two objects", "{}{}"],
    ["bare words", "{to: 1}"],
    ["deep lists", deep],
    ["a byte order mark", "\ufeff{}"],
  ])("that are %s are not a JSON object", async (_name, body) => {
    expect(refusalOf(await post(POOL, body))).toEqual({ status: 400, code: "10023", reason: "INVALID_JSON" });
  });

  it.each([
    ["in a string", Buffer.from([0xff, 0xfe])],
    ["as half a character", Buffer.from([0xe2, 0x82])],
    ["as an overlong form", Buffer.from([0xc0, 0xaf])],
    ["as a surrogate", Buffer.from([0xed, 0xa0, 0x80])],
  ])("with bytes that are not UTF-8, %s, are not JSON", async (_name, bytes) => {
    const [head, tail] = JSON.stringify(send({ text: "@" })).split("@") as [string, string];
    const body = Buffer.concat([Buffer.from(head), bytes, Buffer.from(tail)]);
    expect(refusalOf(await post(POOL, body))).toMatchObject({ status: 400, code: "10023" });
  });

  it.each([
    ["none", {}],
    ["plain text", { "content-type": "text/plain" }],
    ["a form", { "content-type": "application/x-www-form-urlencoded" }],
    ["protobuf", { "content-type": "application/proto" }],
    ["nonsense", { "content-type": "application/jsonish" }],
    ["half a type", { "content-type": "json" }],
  ] as [string, Record<string, string>][])("of the content type %s are refused", async (_name, headers) => {
    const answer = await post(POOL, JSON.stringify(send()), headers);
    expect(refusalOf(answer)).toEqual({ status: 415, code: "10014", reason: "UNSUPPORTED_MEDIA_TYPE" });
  });

  it.each(["application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8"])(
    "of the content type %s are read",
    async (type) => {
      expect((await post(POOL, JSON.stringify(send()), { "content-type": type })).status).toBe(200);
    },
  );

  it("are optional in DELETE, with or without a content type", async () => {
    for (const headers of [{}, JSON_BODY]) {
      const id = await makeProfile(server);
      const answer = await fetch(`${server.url}${PROFILES}/${id}`, {
        method: "DELETE",
        headers: { ...AUTHORIZED, ...headers },
      });
      expect(answer.status).toBe(200);
      expect(await answer.json()).toMatchObject({ data: { id } });
    }
  });

  it("may have unknown keys, and keys that are special in JavaScript", async () => {
    const text = JSON.stringify({ ...send(), labels: ["a"], "": 1, constructor: { name: 1 } });
    const start = `{"__proto__": {"to": "+13125550109", "polluted": true}, "toString": 1, "deep": ${deep},`;
    const body = text.replace(/^{/, start);
    const { status, body: answer } = await post(POOL, body);
    expect(status).toBe(200);
    expect(answer.data.to[0].phone_number).toBe(TO);
    const without = await post(
      POOL,
      `{"__proto__": {"to": "${TO}"}, "messaging_profile_id": "${profileId}", "text": "x"}`,
    );
    expect(refusalOf(without)).toMatchObject({ code: "10004", pointer: "/to" });
    const patched = `{"__proto__": {"enabled": false}, "number_pool_settings": {"__proto__": {"geomatch": true}, "geomatch": false}}`;
    const changed = await server.json("PATCH", `${PROFILES}/${profileId}`, patched);
    expect(changed.body.data).toMatchObject({ enabled: true, number_pool_settings: { geomatch: false } });
    const query = "__proto__[to]=1&constructor[prototype][x]=1&__proto__[page][size]=3&to=1";
    expect((await server.json("GET", `${PROFILES}/${profileId}?${query}`)).status).toBe(200);
    expect((await server.json("GET", `${PROFILES}?${query}`)).status).toBe(400);
    expect((await server.json("GET", PROFILES)).body.meta.page_size).toBe(20);
  });
});

describe("size limits", () => {
  const large = (bytes: number) => JSON.stringify(send({ padding: "a".repeat(bytes) }));
  const TOO_LARGE = { status: 413, code: "10025", reason: "REQUEST_TOO_LARGE" };

  it("allow a send of 64 KiB, and refuse one byte more", async () => {
    const room = 65_536 - large(0).length;
    expect((await post(POOL, large(room))).status).toBe(200);
    expect(refusalOf(await post(POOL, large(room + 1)))).toEqual(TOO_LARGE);
    expect(refusalOf(await post("/v2/messages", large(room + 1)))).toEqual(TOO_LARGE);
  });

  it("refuse a batch of more than 4 MiB, and allow a slightly smaller one", async () => {
    const batch = (bytes: number) => JSON.stringify({ messages: [send()], padding: "a".repeat(bytes) });
    const room = 4 * 1024 * 1024 - batch(0).length;
    expect((await post(BATCH, batch(room))).status).toBe(200);
    const body = batch(room + 1);
    const head = `POST ${BATCH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${API_KEY}\r\ncontent-type: application/json\r\n`;
    const answer = await raw(`${head}content-length: ${body.length}\r\n\r\n`, isWhole);
    expect(answer).toMatch(/^HTTP\/1\.1 413 .*REQUEST_TOO_LARGE/s);
    // A client that keeps writing may lose the response to a closed connection; but it must not
    // wait.
    const start = Date.now();
    const outcome = await post(BATCH, body).then(refusalOf, (error: Error) => error.message);
    expect([TOO_LARGE, "fetch failed"]).toContainEqual(outcome);
    expect(Date.now() - start).toBeLessThan(3_000);
    expect((await server.json("GET", "/readyz")).status).toBe(200);
  });

  it("apply to bodies without a content length", async () => {
    const head = `POST ${POOL} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${API_KEY}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n`;
    const chunk = `1000\r\n${" ".repeat(4096)}\r\n`;
    expect(await raw(head + chunk.repeat(17), isWhole)).toMatch(/^HTTP\/1\.1 413 .*REQUEST_TOO_LARGE/s);
  });

  it("do not affect the client's next call, on any connection", async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const call = (body: string) =>
      new Promise<number>((resolve, reject) => {
        const headers = { ...AUTHORIZED, ...JSON_BODY };
        const calling = httpRequest(
          server.url + POOL,
          { method: "POST", agent, headers },
          (answer: IncomingMessage) => {
            answer.resume().on("end", () => resolve(answer.statusCode as number));
          },
        );
        calling.setTimeout(5_000, () => calling.destroy(new Error("hung")));
        calling.on("error", reject);
        calling.end(body);
      });
    for (const body of [large(70_000), large(0), large(70_000), large(70_000), large(0)]) {
      expect(await call(body)).toBe(body.length > 65_536 ? 413 : 200);
    }
    agent.destroy();
  });
});

describe("values", () => {
  it.each([
    [{ to: 13125550100 }, "40310", "/to"],
    [{ text: 5 }, "10026", "/text"],
    [{ text: ["Hello"] }, "10026", "/text"],
    [{ messaging_profile_id: {} }, "10026", "/messaging_profile_id"],
    [{ auto_detect: "true" }, "10026", "/auto_detect"],
    [{ use_profile_webhooks: 1 }, "10026", "/use_profile_webhooks"],
    [{ media_urls: "https://example.com/a.png" }, "10026", "/media_urls"],
    [{ media_urls: [1] }, "10026", "/media_urls/0"],
    [{ type: "RCS" }, "10032", "/type"],
    [{ type: 1 }, "10032", "/type"],
    [{ encoding: "GSM7" }, "10032", "/encoding"],
    [{ send_at: "tomorrow" }, "10026", "/send_at"],
    [{ request_id: 7 }, "10026", "/request_id"],
    [{ text: "half \ud83c" }, "10015", "/text"],
    [{ text: "\udf0d half" }, "10015", "/text"],
    [{ text: "N\0L" }, "10015", "/text"],
    [{ to: "\0" }, "10015", "/to"],
    [{ webhook_url: "https://example.com/\0" }, "10015", "/webhook_url"],
    [{ webhook_url: `https://example.com/${"a".repeat(2000)}` }, "10003", "/webhook_url"],
    [{ webhook_failover_url: "//example.com" }, "10003", "/webhook_failover_url"],
  ])("of a wrong send are named: %j", async (fields, code, pointer) => {
    expect(await refused("POST", POOL, send(fields))).toMatchObject({ status: 400, code, pointer });
  });

  it.each([
    [{ name: 1 }, "10026", "/name"],
    [{ name: "" }, "10025", "/name"],
    [{ name: "a".repeat(256) }, "10025", "/name"],
    [{ name: "N\0L" }, "10015", "/name"],
    [{ enabled: "yes" }, "10026", "/enabled"],
    [{ whitelisted_destinations: "US" }, "10026", "/whitelisted_destinations"],
    [{ whitelisted_destinations: Array.from({ length: 301 }, () => "US") }, "10025", "/whitelisted_destinations"],
    [{ whitelisted_destinations: ["US", "usa"] }, "10015", "/whitelisted_destinations/1"],
    [{ whitelisted_destinations: ["US", 1] }, "10026", "/whitelisted_destinations/1"],
    [{ number_pool_settings: 5 }, "10026", "/number_pool_settings"],
    [{ number_pool_settings: [] }, "10026", "/number_pool_settings"],
    [{ number_pool_settings: { long_code_weight: "5" } }, "10026", "/number_pool_settings/long_code_weight"],
    [{ number_pool_settings: { long_code_weight: -1 } }, "10033", "/number_pool_settings/long_code_weight"],
    [{ number_pool_settings: { toll_free_weight: 1000.1 } }, "10033", "/number_pool_settings/toll_free_weight"],
    [{ number_pool_settings: { sticky_sender: "on" } }, "10026", "/number_pool_settings/sticky_sender"],
    [{ validity_period_seconds: 0 }, "10033", "/validity_period_seconds"],
    [{ validity_period_seconds: 1.5 }, "10026", "/validity_period_seconds"],
    [{ webhook_url: "nowhere" }, "10003", "/webhook_url"],
  ])("of a wrong profile are named: %j", async (fields, code, pointer) => {
    const answer = await refused("PATCH", `${PROFILES}/${profileId}`, fields);
    expect(answer).toMatchObject({ status: 400, code, pointer });
    const body = { name: "New", whitelisted_destinations: ["US"], ...fields };
    expect(await refused("POST", PROFILES, body)).toMatchObject({ status: 400, code, pointer });
  });

  it.each([
    [{ name: "No destinations" }, "/whitelisted_destinations"],
    [{ whitelisted_destinations: ["US"] }, "/name"],
    [{ name: null, whitelisted_destinations: ["US"] }, "/name"],
    [{ name: "Empty destinations", whitelisted_destinations: [] }, "/whitelisted_destinations"],
  ])("that a new profile requires are named: %j", async (body, pointer) => {
    expect(await refused("POST", PROFILES, body)).toMatchObject({ status: 400, code: "10004", pointer });
  });

  it.each([
    [{}, "10004", "/phone_number"],
    [{ phone_number: "2125550100" }, "10016", "/phone_number"],
    [{ phone_number: "+12125550199", carrier: "nobody" }, "10015", "/carrier"],
    [{ phone_number: "+12125550199", line_type: "fax" }, "10032", "/line_type"],
    [{ phone_number: "+12125550199", state: "asleep" }, "10032", "/state"],
    [{ phone_number: "+12125550199", segments_per_second: 0 }, "10033", "/segments_per_second"],
    [{ phone_number: "+12125550199", segments_per_second: 10_001 }, "10033", "/segments_per_second"],
    [{ phone_number: "+12125550199", segments_per_second: "1" }, "10026", "/segments_per_second"],
    [{ phone_number: "+12125550199", daily_segment_limit: -1 }, "10033", "/daily_segment_limit"],
    [{ phone_number: "+12125550199", daily_segment_limit: 2 ** 40 }, "10026", "/daily_segment_limit"],
    [{ phone_number: "+12125550199", messages_per_second: 5 }, "10038", "/messages_per_second"],
    [{ phone_number: "+12125550199", daily_limit: null }, "10038", "/daily_limit"],
    [{ phone_number: "+12125550199", tags: [""] }, "10025", "/tags/0"],
    [{ phone_number: "+12125550199", tags: Array.from({ length: 21 }, String) }, "10025", "/tags"],
    [{ phone_number: "+12125550199", tags: ["half \ud83c"] }, "10015", "/tags/0"],
  ])("of a wrong number are named: %j", async (body, code, pointer) => {
    expect(await refused("POST", "/v2/phone_numbers", body)).toMatchObject({ status: 400, code, pointer });
    expect((await server.json("GET", "/v2/phone_numbers/+12125550199")).status).toBe(404);
  });

  it.each([
    [`${PROFILES}?page[size]=0`, "page[size]"],
    [`${PROFILES}?page[size]=251`, "page[size]"],
    [`${PROFILES}?page[size]=x`, "page[size]"],
    [`${PROFILES}?page[size]=`, "page[size]"],
    [`${PROFILES}?page[size]=1.5`, "page[size]"],
    [`${PROFILES}?page%5Bnumber%5D=0`, "page[number]"],
    [`${PROFILES}?page[number]=-1`, "page[number]"],
    [`${PROFILES}?page[number]=99999999999`, "page[number]"],
    [`${PROFILES}?page[number]=1&page[number]=2`, "page[number]"],
    [`${PROFILES}?filter[name][contains]=a%00b`, "filter[name][contains]"],
    ["/v2/phone_numbers/messaging?filter[type]=nonsense", "filter[type]"],
    ["/v2/phone_numbers/messaging?sort[phone_number]=up", "sort[phone_number]"],
    ["/v2/phone_numbers?filter[type]=nonsense", "filter[type]"],
    ["/v2/phone_numbers?filter[typ]=tollfree", "filter[typ]"],
    [`${PROFILES}?filter[__proto__]=1`, "filter[__proto__]"],
    [`${PROFILES}?page[__proto__][size]=3`, "page[__proto__]"],
  ])("of a wrong query are named: %s", async (path, parameter) => {
    const answer = await refused("GET", path);
    expect(answer.status).toBe(400);
    expect(answer.parameter).toBe(parameter);
    expect(answer).not.toHaveProperty("pointer");
  });
});

describe("a documented but unsupported field", () => {
  it.each([
    ["/v2/messages", "media_urls", ["https://example.com/a.png"]],
    ["/v2/messages", "subject", "Picture"],
    ["/v2/messages", "type", "MMS"],
    [POOL, "media_urls", ["https://example.com/a.png"]],
    [POOL, "subject", "Picture"],
    [POOL, "type", "MMS"],
    [POOL, "tags", ["spring"]],
    ["/v2/messages", "tags", ["spring"]],
    [PREVIEW, "media_urls", ["https://example.com/a.png"]],
  ])("is refused by name in POST %s: %s", async (path, field, value) => {
    const answer = await server.json("POST", path, send({ [field]: value }));
    expect(refusalOf(answer)).toEqual({ status: 400, code: "10038", reason: "NOT_SUPPORTED", pointer: `/${field}` });
    expect(answer.body.errors[0].detail).toContain(field);
  });

  it("is refused in a preview as in a send", async () => {
    const { status, body } = await server.json("POST", PREVIEW, send({ type: "MMS" }));
    expect(status).toBe(200);
    expect(body.data.error).toMatchObject({ reason: "NOT_SUPPORTED", pointer: "/type" });
  });

  it("is allowed with its empty value", async () => {
    const nothing = { send_at: null, media_urls: [], subject: "", type: "SMS" };
    expect((await server.json("POST", POOL, send(nothing))).status).toBe(200);
    expect((await server.json("POST", "/v2/messages", send({ ...nothing, media_urls: null }))).status).toBe(200);
  });

  it.each([
    ["alpha_sender", "Brand"],
    ["mobile_only", true],
    ["mms_fall_back_to_sms", true],
    ["mms_transcoding", true],
    ["smart_encoding", true],
    ["daily_spend_limit", "10.00"],
    ["daily_spend_limit_enabled", true],
    ["url_shortener_settings", { domain: "a.example" }],
    ["v1_secret", "secret"],
    ["webhook_api_version", "1"],
    ["redaction_enabled", true],
    ["redaction_level", 1],
    ["features", { ai_opt_out_detection_enabled: true }],
  ])("is refused by name in a profile: %s", async (field, value) => {
    const before = (await server.json("GET", `${PROFILES}/${profileId}`)).body;
    const answer = await server.json("PATCH", `${PROFILES}/${profileId}`, { name: "Changed", [field]: value });
    expect(refusalOf(answer)).toEqual({ status: 400, code: "10038", reason: "NOT_SUPPORTED", pointer: `/${field}` });
    expect(answer.body.errors[0].detail).toContain(field);
    expect((await server.json("GET", `${PROFILES}/${profileId}`)).body).toEqual(before);
  });

  it("is allowed in a profile with its empty value", async () => {
    const nothing = {
      alpha_sender: null,
      mobile_only: false,
      mms_fall_back_to_sms: false,
      mms_transcoding: null,
      smart_encoding: false,
      daily_spend_limit: null,
      daily_spend_limit_enabled: false,
      url_shortener_settings: {},
      features: null,
      redaction_level: 2,
      webhook_api_version: "2",
    };
    const { status, body } = await server.json("PATCH", `${PROFILES}/${profileId}`, { name: "Same", ...nothing });
    expect([status, body.data.name, body.data.mobile_only]).toEqual([200, "Same", false]);
    const made = { name: "New", whitelisted_destinations: ["US"], ...nothing };
    expect((await server.json("POST", PROFILES, made)).status).toBe(200);
  });
});

describe("a number", () => {
  it.each([
    ["customer_reference", "mine"],
    ["connection_id", "1"],
    ["external_pin", "1234"],
    ["billing_group_id", "1"],
    ["hd_voice_enabled", true],
    ["address_id", "1"],
  ])("refuses the documented %s by name", async (field, value) => {
    const phone_number = freshNumber();
    const number = await register(server, { phone_number });
    const answer = await server.json("PATCH", `/v2/phone_numbers/${number.id}`, { tags: ["changed"], [field]: value });
    expect(refusalOf(answer)).toEqual({ status: 400, code: "10038", reason: "NOT_SUPPORTED", pointer: `/${field}` });
    expect((await server.json("GET", `/v2/phone_numbers/${number.id}`)).body.data).toEqual(number);
  });

  it("has a country of two letters, or none", async () => {
    const us = await register(server, { phone_number: freshNumber() });
    expect(us.country_code).toBe("US");
    const nowhere = await register(server, { phone_number: "+883510000000001" });
    expect(nowhere.country_code).toBeNull();
    const settings = await server.json("GET", `/v2/phone_numbers/${nowhere.id}/messaging`);
    expect(settings.body.data.country_code).toBeNull();
  });
});

describe("a profile", () => {
  it("has documented fields in their documented types", async () => {
    const { body } = await server.json("GET", `${PROFILES}/${profileId}`);
    expect(body.data).toMatchObject({
      daily_spend_limit: "",
      redaction_level: 2,
      redaction_enabled: false,
      features: null,
    });
  });
});

describe("a list", () => {
  it.each([
    ["/v2/messages?fliter[status]=sent", "fliter"],
    ["/v2/messages?status=sent", "status"],
    [`${PROFILES}?name=x`, "name"],
    ["/v2/phone_numbers?page=1&sorted=asc", "sorted"],
    ["/v2/messaging_optouts?filter[from]=%2B13125550100&until=now", "until"],
  ])("refuses an unknown query key: %s", async (path, parameter) => {
    const answer = await server.json("GET", path);
    expect(refusalOf(answer)).toEqual({ status: 400, code: "10031", reason: "INVALID_FILTER", parameter });
    expect(answer.body.errors[0].detail).toContain(JSON.stringify(parameter));
  });
});

describe("authentication", () => {
  const unknown = createApiKey(randomBytes).token;
  const flipped = unknown.slice(0, -1) + (unknown.endsWith("0") ? "1" : "0");

  it("answers every wrong key alike", async () => {
    const wrong = [
      undefined,
      "",
      "Bearer",
      "Bearer ",
      `Basic ${Buffer.from(`user:${API_KEY}`).toString("base64")}`,
      API_KEY,
      `Token ${API_KEY}`,
      `Bearer ${API_KEY.slice(0, -1)}`,
      `Bearer ${API_KEY}x`,
      `Bearer ${API_KEY.toUpperCase()}`,
      `Bearer np_live_short`,
      `Bearer ${flipped}`,
      `Bearer ${unknown}`,
      `Bearer ${"k".repeat(8_000)}`,
    ];
    const bodies = new Set<string>();
    for (const authorization of wrong) {
      for (const [verb, path] of [
        ["GET", PROFILES],
        ["POST", POOL],
        ["DELETE", `${PROFILES}/${profileId}`],
      ] as const) {
        const answer = await fetch(server.url + path, {
          method: verb,
          headers: { ...(authorization !== undefined && { authorization }), ...(verb === "POST" && JSON_BODY) },
          ...(verb === "POST" && { body: "this is no JSON" }),
        });
        const text = await answer.text();
        expect(answer.headers.get("www-authenticate")).toBe("Bearer");
        expect(refusalOf({ status: answer.status, headers: answer.headers, body: JSON.parse(text) })).toEqual({
          status: 401,
          code: "10009",
          reason: "UNAUTHENTICATED",
        });
        bodies.add(text);
      }
    }
    expect(bodies.size).toBe(1);
  });

  it("accepts the scheme in any case", async () => {
    const answer = await fetch(server.url + PROFILES, { headers: { authorization: `bearer ${API_KEY}` } });
    expect(answer.status).toBe(200);
  });

  it("answers before the body arrives", async () => {
    const head = `POST ${POOL} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer nobody\r\ncontent-type: application/json\r\ncontent-length: 60000\r\n\r\n`;
    const start = Date.now();
    expect(await raw(head, isWhole)).toMatch(/^HTTP\/1\.1 401 .*UNAUTHENTICATED/s);
    expect(Date.now() - start).toBeLessThan(1_000);
  });

  it("answers before the checks of content type and size", async () => {
    const answer = await fetch(server.url + POOL, {
      method: "POST",
      headers: { "content-type": "text/plain" },
      body: "a".repeat(60_000),
    });
    expect(answer.status).toBe(401);
    const head = `POST ${POOL} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9999999\r\n\r\n`;
    expect(await raw(head, isWhole)).toMatch(/^HTTP\/1\.1 401 /);
  });
});

describe("the log", () => {
  it("has one JSON line for each call, without texts and phone numbers", async () => {
    const logging = await startServer({
      database: `${folder.path}/logging.db`,
      env: { NUMBERPOOL_LOG_LEVEL: "info" },
    });
    const grpc = createGrpcClient(logging.grpc, API_KEY);
    try {
      const { profileId: messaging_profile_id, numbers } = await makePool(logging);
      const canary = "canary-Zq7";
      const to = "+13125557391";
      const [from] = numbers as [string];
      const body = { messaging_profile_id, to, text: canary };
      const calls: [string, string, () => Promise<unknown>][] = [
        ["SendMessage", "OK", () => logging.json("POST", POOL, body)],
        ["SendMessage", "INVALID_TO", () => logging.json("POST", POOL, { ...body, to: `${to}7391` })],
        ["SendMessage", "INVALID_JSON", () => logging.json("POST", POOL, `{"text": "${canary}", "to": ${to}`)],
        ["SendMessage", "REQUEST_TOO_LARGE", () => logging.json("POST", POOL, { ...body, x: canary.repeat(7_000) })],
        [
          "SendMessage",
          "UNAUTHENTICATED",
          () => logging.json("POST", POOL, body, { authorization: `Bearer ${canary}` }),
        ],
        ["CreateMessage", "OK", () => logging.json("POST", "/v2/messages", { ...body, from })],
        ["CreateMessage", "INVALID_FROM", () => logging.json("POST", "/v2/messages", { ...body, from: to })],
        ["GetNumber", "OK", () => logging.json("GET", `/v2/phone_numbers/${from}`)],
        ["GetNumber", "NOT_FOUND", () => logging.json("GET", `/v2/phone_numbers/${to}`)],
        ["RegisterNumber", "ALREADY_EXISTS", () => logging.json("POST", "/v2/phone_numbers", { phone_number: from })],
        ["", "NOT_FOUND", () => logging.json("GET", `/v2/${canary}/${to}`)],
        ["", "METHOD_NOT_ALLOWED", () => logging.json("PUT", `/v2/phone_numbers/${to}`)],
        [
          "SendMessage",
          "OK",
          () =>
            grpc.call(PoolSendService.method.sendMessage, {
              messagingProfileId: messaging_profile_id,
              to,
              text: canary,
            }),
        ],
        [
          "SendMessage",
          "INVALID_TO",
          () =>
            grpc
              .call(PoolSendService.method.sendMessage, {
                messagingProfileId: messaging_profile_id,
                to: "7391",
                text: canary,
              })
              .catch(() => {}),
        ],
      ];
      for (const [, , call] of calls) await call();
      const lines = () =>
        logging
          .stderr()
          .split("\n")
          .filter((line) => line.includes('"transport"'));
      await until(
        async () => lines().length,
        (count) => count >= calls.length + 2,
      );
      const logged = lines().map((line) => JSON.parse(line));
      expect(logged.map(({ rpc_method, code }) => [rpc_method?.split("/").at(-1) ?? "", code])).toEqual([
        ["CreateProfile", "OK"],
        ["RegisterNumber", "OK"],
        ...calls.map(([method, code]) => [method, code]),
      ]);
      expect(logged.map(({ transport }) => transport).slice(-3)).toEqual(["json", "grpc", "grpc"]);
      for (const { event, duration_ms, level, time } of logged) {
        expect(event).toBe("call_ended");
        expect(duration_ms).toBeGreaterThanOrEqual(0);
        expect(level).toBe(30);
        expect(Math.abs(time - Date.now())).toBeLessThan(60_000);
      }
      expect(logged[2].organization_id).toMatch(/^[0-9a-f-]{36}$/);
    } finally {
      grpc.close();
      expect(await logging.stop()).toBe(0);
    }
    const text = logging.stderr();
    for (const line of text.trim().split("\n")) expect(() => JSON.parse(line)).not.toThrow();
    expect(text).not.toMatch(/canary|Zq7|7391|556\d{4}|test-key/);
  });
});
