import { request as httpRequest, type IncomingHttpHeaders } from "node:http";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { NumberService } from "../../gen/numberpool/v1/number_service_pb.ts";
import { PoolSendService } from "../../gen/numberpool/v1/pool_send_service_pb.ts";
import { ProfileService } from "../../gen/numberpool/v1/profile_service_pb.ts";
import { API_KEY, startServer, type TestServer, temporaryFolder } from "../server.ts";
import { createGrpcClient, type GrpcClient, type GrpcRefusal } from "./grpc-client.ts";
import { freshNumber, makePool, register } from "./pools.ts";

const folder = temporaryFolder();
const UNKNOWN_ID = "01900000-0000-7000-8000-000000000000";
const AUTHORIZED = { authorization: `Bearer ${API_KEY}` };
let server: TestServer;
let grpc: GrpcClient;
let profileId: string;
let sender: string;

beforeAll(async () => {
  server = await startServer({ database: `${folder.path}/numberpool.db` });
  grpc = createGrpcClient(server.grpc, API_KEY);
  const pool = await makePool(server);
  profileId = pool.profileId;
  sender = pool.numbers[0] as string;
});

afterAll(async () => {
  grpc.close();
  expect(await server.stop()).toBe(0);
  folder.remove();
});

type Raw = { readonly status: number | undefined; readonly headers: IncomingHttpHeaders; readonly text: string };

/** Calls with exactly these headers; fetch would add some and refuse others. */
function ask(verb: string, url: string, headers: Record<string, string> = {}, body?: Uint8Array): Promise<Raw> {
  return new Promise((resolve, reject) => {
    const call = httpRequest(url, { method: verb, headers, agent: false }, (answer) => {
      let text = "";
      answer.setEncoding("utf8");
      answer.on("data", (chunk) => {
        text += chunk;
      });
      answer.on("end", () => resolve({ status: answer.statusCode, headers: answer.headers, text }));
    });
    call.on("error", reject);
    call.end(body);
  });
}

describe("a refusal does not mention another transport", () => {
  const refusalsOf = async (): Promise<GrpcRefusal[]> => {
    const calls = [
      grpc.call(PoolSendService.method.sendMessage, {
        messagingProfileId: profileId,
        to: "+13125550100",
        from: sender,
      }),
      grpc.call(PoolSendService.method.createMessage, { to: "+13125550100", text: "Hello" }),
      grpc.call(PoolSendService.method.sendMessage, { messagingProfileId: UNKNOWN_ID, to: "+13125550100", text: "a" }),
      grpc.call(NumberService.method.registerNumber, { number: { phoneNumber: sender } }),
      grpc.call(NumberService.method.updateNumber, {
        id: sender,
        number: { messagingProfileId: UNKNOWN_ID },
      }),
      grpc.call(NumberService.method.updateNumberMessagingSettings, {
        id: sender,
        settings: { messagingProduct: "P2P" },
      }),
      grpc.call(ProfileService.method.createProfile, { profile: { name: "", whitelistedDestinations: ["US"] } }),
      grpc.call(ProfileService.method.updateProfile, { id: profileId, profile: { webhookUrl: "ftp://x" } }),
      grpc.call(NumberService.method.getNumber, { id: UNKNOWN_ID }),
      grpc.call(ProfileService.method.getProfile, { id: UNKNOWN_ID }),
      grpc.call(ProfileService.method.listProfiles, { page: { number: 0 } }),
      grpc.call(ProfileService.method.listProfiles, { page: { size: 251 } }),
    ];
    const settled = await Promise.allSettled(calls);
    return settled.map((each) => (each as PromiseRejectedResult).reason);
  };

  it("but names the RPC's field", async () => {
    const refusals = await refusalsOf();
    expect(refusals.map((refusal) => [refusal.info?.reason, refusal.fields])).toEqual([
      ["BAD_REQUEST", ["from"]],
      ["MISSING_PARAMETER", ["from"]],
      ["NOT_FOUND", ["messaging_profile_id"]],
      ["ALREADY_EXISTS", ["number.phone_number"]],
      ["NOT_FOUND", ["number.messaging_profile_id"]],
      ["NOT_SUPPORTED", ["settings.messaging_product"]],
      ["INVALID_LENGTH", ["profile.name"]],
      ["INVALID_URL", ["profile.webhook_url"]],
      ["NOT_FOUND", []],
      ["NOT_FOUND", []],
      ["OUT_OF_RANGE", ["page.number"]],
      ["OUT_OF_RANGE", ["page.size"]],
    ]);
    for (const { details } of refusals) expect(details).not.toMatch(/\/v2\/|\b(GET|POST|PUT|PATCH|DELETE)\b|\[/);
  });
});

describe("a UUID is accepted in any case", () => {
  const upper = (id: string) => id.toUpperCase();

  it("in paths, queries and bodies, in every transport", async () => {
    const { id } = await register(server, { phone_number: freshNumber(), messaging_profile_id: upper(profileId) });
    expect((await server.json("GET", `/v2/phone_numbers/${upper(id)}`)).body.data.messaging_profile_id).toBe(profileId);
    expect((await server.json("GET", `/v2/messaging_profiles/${upper(profileId)}`)).body.data.id).toBe(profileId);
    const filter = `filter[messaging_profile_id]=${upper(profileId)}`;
    expect((await server.json("GET", `/v2/phone_numbers?${filter}`)).body.data.length).toBeGreaterThan(0);
    const got = await grpc.call(ProfileService.method.getProfile, { id: upper(profileId) });
    expect(got.message.data?.id).toBe(profileId);
    const path = "/numberpool.v1.ProfileService/GetProfile";
    expect((await server.json("POST", path, { id: upper(profileId) })).body.data.id).toBe(profileId);
  });

  it("in sends, their items and streams, and a repeat in another case is the same request", async () => {
    const send = (messagingProfileId: string) => ({ messagingProfileId, to: "+13125550100", text: "Hello" });
    const first = { ...send(profileId), requestId: "one-key" };
    const again = { ...send(upper(profileId)), requestId: "one-key" };
    const { message } = await grpc.call(PoolSendService.method.sendMessage, first);
    const replayed = await grpc.call(PoolSendService.method.sendMessage, again);
    expect(replayed.message.data?.id).toBe(message.data?.id);
    const batch = { messages: [{ messaging_profile_id: upper(profileId), to: "+13125550100", text: "Hello" }] };
    const { body } = await server.json("POST", "/v2/messages/number_pool/batch", batch);
    expect(body.data[0].message.messaging_profile_id).toBe(profileId);
    const [result] = await grpc.stream(PoolSendService.method.streamMessages, [{ message: send(upper(profileId)) }]);
    expect(JSON.stringify(result, (_key, value) => (typeof value === "bigint" ? String(value) : value))).toContain(
      `"messagingProfileId":"${profileId}"`,
    );
    const id = message.data?.id as string;
    expect((await server.json("GET", `/v2/messages/${upper(id)}`)).body.data.id).toBe(id);
    expect((await server.json("GET", `/v2/messages/${upper(id)}/events`)).body.data[0].message_id).toBe(id);
  });
});

describe("a key", () => {
  it.each([
    ["Bearer", " "],
    ["Bearer", "  "],
    ["Bearer", "     "],
    ["bearer", "  "],
    ["BEARER", " "],
  ])("is accepted after %j and %j", async (scheme, spaces) => {
    const authorization = `${scheme}${spaces}${API_KEY}`;
    expect((await ask("GET", `${server.url}/v2/messaging_profiles`, { authorization })).status).toBe(200);
    const answered = grpc.callBytes("/numberpool.v1.ProfileService/ListProfiles", new Uint8Array(), { authorization });
    await expect(answered).resolves.toBeDefined();
  });

  it.each(["Bearer", "Bearer ", `Bearer${API_KEY}`, `Basic ${API_KEY}`, API_KEY])("is missing in %j", async (value) => {
    expect((await ask("GET", `${server.url}/v2/messaging_profiles`, { authorization: value })).status).toBe(401);
  });
});

describe("HEAD", () => {
  it("gets the response of GET, without the body", async () => {
    const { body } = await server.json("GET", "/v2/messaging_profiles");
    const paths = ["/healthz", "/readyz", "/openapi.json", "/v2/messaging_profiles", "/v2/messages"];
    paths.push(`/v2/messaging_profiles/${body.data[0].id}`);
    for (const path of paths) {
      const got = await ask("GET", server.url + path, AUTHORIZED);
      const head = await ask("HEAD", server.url + path, AUTHORIZED);
      expect([path, head.status, head.text]).toEqual([path, 200, ""]);
      expect([path, head.headers["content-type"], head.headers["content-length"]]).toEqual([
        path,
        got.headers["content-type"],
        String(Buffer.byteLength(got.text)),
      ]);
    }
    const metrics = await ask("HEAD", `${server.metrics}/metrics`);
    expect([metrics.status, metrics.text]).toEqual([200, ""]);
  });

  it("is refused like GET", async () => {
    expect((await ask("HEAD", `${server.url}/v2/messaging_profiles`)).status).toBe(401);
    expect((await ask("HEAD", `${server.url}/v2/messages/${UNKNOWN_ID}`, AUTHORIZED)).status).toBe(404);
    expect((await ask("HEAD", `${server.url}/v2/messages/number_pool/batch`, AUTHORIZED)).status).toBe(405);
    expect((await ask("HEAD", `${server.url}/nothing`, AUTHORIZED)).status).toBe(404);
  });
});

describe("a call without a body", () => {
  it.each([
    ["no header", {}],
    ["an empty length", { "content-length": "0" }],
    ["a content type", { "content-type": "text/plain", "content-length": "0" }],
    ["a content type that is none", { "content-type": "nonsense" }],
    ["a JSON content type", { "content-type": "application/json" }],
    ["an encoding of nothing", { "content-encoding": "gzip" }],
  ])("needs no content type: %s", async (_name, headers: Record<string, string>) => {
    const { body } = await server.json("POST", "/v2/messaging_profiles", {
      name: "Short",
      whitelisted_destinations: ["US"],
    });
    const deleted = await ask("DELETE", `${server.url}/v2/messaging_profiles/${body.data.id}`, {
      ...AUTHORIZED,
      ...headers,
    });
    expect([deleted.status, deleted.text]).toEqual([200, expect.stringContaining(body.data.id)]);
    const resumed = await ask("POST", `${server.url}/v2/delivery/actions/resume`, { ...AUTHORIZED, ...headers });
    expect(resumed.status).toBe(200);
    const { id } = await register(server, { phone_number: freshNumber() });
    const path = `/v2/phone_numbers/${id}/actions/reset_health`;
    expect((await ask("POST", server.url + path, { ...AUTHORIZED, ...headers })).status).toBe(200);
  });

  it("is refused where the method needs one", async () => {
    for (const path of ["/v2/messages", "/v2/messages/number_pool", "/v2/messaging_profiles"]) {
      const answer = await ask("POST", server.url + path, AUTHORIZED);
      expect([path, answer.status, answer.text]).toEqual([path, 400, expect.stringContaining("INVALID_JSON")]);
    }
  });
});

describe("a compressed body", () => {
  it.each(["gzip", "br", "GZIP", "zebra"])("is 415 and names Content-Encoding: %s", async (encoding) => {
    const body = gzipSync(JSON.stringify({ messaging_profile_id: profileId, to: "+13125550100", text: "Hello" }));
    const answer = await ask(
      "POST",
      `${server.url}/v2/messages/number_pool`,
      { ...AUTHORIZED, "content-type": "application/json", "content-encoding": encoding },
      body,
    );
    expect(answer.status).toBe(415);
    expect(JSON.parse(answer.text).errors[0]).toMatchObject({
      detail: `Content-Encoding "${encoding}" is not supported; send the body without compression.`,
      meta: { reason: "UNSUPPORTED_MEDIA_TYPE" },
    });
  });

  it("identity is no compression", async () => {
    const body = Buffer.from(JSON.stringify({ messaging_profile_id: profileId, to: "+13125550100", text: "Hello" }));
    const headers = { ...AUTHORIZED, "content-type": "application/json", "content-encoding": "identity" };
    expect((await ask("POST", `${server.url}/v2/messages/number_pool`, headers, body)).status).toBe(200);
  });
});
