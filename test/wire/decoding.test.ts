import { fromBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import type { Encoding } from "../../gen/numberpool/v1/message_pb.ts";
import { NumberPoolSettingsSchema } from "../../gen/numberpool/v1/messaging_profile_pb.ts";
import { PoolSendService } from "../../gen/numberpool/v1/pool_send_service_pb.ts";
import { NotEligibleCause, ProfileService } from "../../gen/numberpool/v1/profile_service_pb.ts";
import { reasonName } from "../../src/domain/error-form.ts";
import { either } from "../either.ts";
import { API_KEY, startServer, type TestServer, temporaryFolder } from "../server.ts";
import { createGrpcClient, type GrpcClient, type GrpcRefusal } from "./grpc-client.ts";
import { freshNumber, makePool, makeProfile, register } from "./pools.ts";

const BATCH = "/v2/messages/number_pool/batch";
const TO = "+13125550100";

const folder = temporaryFolder();
let server: TestServer;
let grpc: GrpcClient;
let profileId: string;

beforeAll(async () => {
  server = await startServer({ database: `${folder.path}/numberpool.db` });
  grpc = createGrpcClient(server.grpc, API_KEY);
  profileId = (await makePool(server, { number: { segments_per_second: 10_000 } })).profileId;
});

afterAll(async () => {
  grpc.close();
  expect(await server.stop()).toBe(0);
  folder.remove();
});

/** Calls a method by Connect's JSON. */
const connect = (method: string, body: object) =>
  server.json("POST", `/numberpool.v1.${method}`, body, { "connect-protocol-version": "1" });

/** The reason and field of a refusal by Connect. */
// biome-ignore lint/suspicious/noExplicitAny: a response whose shape is checked here.
const toldByConnect = ({ status, body }: { status: number; body: any }) => ({
  status,
  // biome-ignore lint/suspicious/noExplicitAny: as above.
  reason: body.details?.find((each: any) => each.type === "google.rpc.ErrorInfo")?.debug?.reason,
  message: body.message,
});

describe("a wrong item of a batch is refused by itself", () => {
  const good = () => ({ messaging_profile_id: profileId, to: TO, text: "Good" });
  /** A wrong value as JSON; its refusal; and the same in protobuf, where protobuf has it. */
  const WRONG: readonly (readonly [string, unknown, string, string, object?])[] = [
    ["half an emoji", { text: "\ud83d" }, "BAD_REQUEST", "/text"],
    [
      "media",
      { media_urls: ["https://example.com/a.png"] },
      "NOT_SUPPORTED",
      "/media_urls",
      { mediaUrls: ["https://example.com/a.png"] },
    ],
    ["a number for a recipient", { to: 5 }, "INVALID_TO", "/to"],
    ["an unknown encoding", { encoding: "morse" }, "INVALID_ENUM", "/encoding", { encoding: 99 as Encoding }],
    ["a NUL", { text: "N\0L" }, "BAD_REQUEST", "/text", { text: "N\0L" }],
    ["a key of its own", { request_id: "mine" }, "BAD_REQUEST", "/request_id", { requestId: "mine" }],
    ["a time that does not exist", { send_at: "2027-02-29T00:00:00Z" }, "INVALID_TYPE", "/send_at"],
    ["a list for a string", { text: ["a"] }, "INVALID_TYPE", "/text"],
  ];
  const NO_OBJECTS: readonly unknown[] = [null, 5, "text", [], true];

  it.each(["json", "connect"] as const)("in %s", async (transport) => {
    const items = [
      good(),
      ...WRONG.flatMap(([, fields]) => [{ ...good(), ...(fields as object) }, good()]),
      ...NO_OBJECTS.flatMap((item) => [item, good()]),
    ];
    const call =
      transport === "json"
        ? server.json("POST", BATCH, { messages: items })
        : connect("PoolSendService/SendMessages", { messages: items });
    const { status, body } = await call;
    expect([status, body.data?.length]).toEqual([200, items.length]);
    body.data.forEach(
      (result: { message?: { text: string }; error?: { reason: string; pointer: string } }, index: number) => {
        if (index % 2 === 0) {
          expect(result.message?.text, `item ${index}`).toBe("Good");
          return;
        }
        const [what, , reason, pointer] = WRONG[(index - 1) / 2] ?? ["no object", 0, "INVALID_TYPE", ""];
        const error = result.error ?? { reason: "", pointer: undefined };
        expect([what, error.reason.replace("ERROR_REASON_", ""), error.pointer ?? ""]).toEqual([what, reason, pointer]);
      },
    );
  });

  it("in gRPC, where protobuf has the value", async () => {
    const said = WRONG.filter(([, , , , fields]) => fields !== undefined);
    const plain = { messagingProfileId: profileId, to: TO, text: "Good" };
    const messages = [plain, ...said.flatMap(([, , , , fields]) => [{ ...plain, ...fields }, plain])];
    const { message } = await grpc.call(PoolSendService.method.sendMessages, { messages });
    expect(message.data).toHaveLength(messages.length);
    message.data.forEach((result, index) => {
      if (index % 2 === 0) {
        expect(either(result).message?.text).toBe("Good");
        return;
      }
      const [what, , reason, pointer] = said[(index - 1) / 2] as (typeof WRONG)[number];
      expect([what, reasonName(either(result).error?.reason as ErrorReason), either(result).error?.pointer]).toEqual([
        what,
        reason,
        pointer,
      ]);
    });
  });

  it("and like a single send", async () => {
    for (const [what, fields] of WRONG) {
      if ("request_id" in (fields as object)) continue;
      const item = { ...good(), ...(fields as object) };
      const single = await server.json("POST", "/v2/messages/number_pool", item);
      const batch = await server.json("POST", BATCH, { messages: [item] });
      const { code, detail, source } = single.body.errors[0];
      expect(batch.body.data[0].error, what).toMatchObject({ code, detail, pointer: source.pointer });
    }
  });

  it("and is part of the content of an idempotency key", async () => {
    const key = { "idempotency-key": "with-a-bad-item" };
    const first = await server.json("POST", BATCH, { messages: [good(), { ...good(), to: 5 }] }, key);
    const again = await server.json("POST", BATCH, { messages: [good(), { ...good(), to: 5 }] }, key);
    expect(again.body).toEqual(first.body);
    const other = await server.json("POST", BATCH, { messages: [good(), { ...good(), text: ["a"] }] }, key);
    expect(other.status).toBe(422);
  });
});

describe("an enum value", () => {
  const number = async (fields: object = {}) =>
    register(server, { phone_number: freshNumber(), messaging_profile_id: profileId, ...fields });

  it.each(["NUMBER_STATE_DRAINING", "draining"])("is read as %s in JSON and Connect", async (state) => {
    const paused = await number({ state: "paused" });
    const byConnect = await connect("NumberService/UpdateNumber", { id: paused.id, number: { state } });
    expect([byConnect.status, byConnect.body.data?.state]).toEqual([200, "NUMBER_STATE_DRAINING"]);
    const other = await number({ state: "paused" });
    const byJson = await server.json("PATCH", `/v2/phone_numbers/${other.id}`, { state });
    expect([byJson.status, byJson.body.data?.state]).toEqual([200, "draining"]);
  });

  it.each(["DRAINING", "Draining", "drained", "", 77, true])(
    "that is unknown, %j, is refused in both",
    async (state) => {
      const paused = await number({ state: "paused" });
      const byConnect = await connect("NumberService/UpdateNumber", { id: paused.id, number: { state } });
      expect(toldByConnect(byConnect)).toMatchObject({ status: 400, reason: "INVALID_ENUM" });
      expect(byConnect.body.message).toContain("active, draining, paused");
      const byJson = await server.json("PATCH", `/v2/phone_numbers/${paused.id}`, { state });
      expect([byJson.status, byJson.body.errors[0].meta.reason]).toEqual([400, "INVALID_ENUM"]);
      const after = await server.json("GET", `/v2/phone_numbers/${paused.id}`);
      expect(after.body.data.state).toBe("paused");
    },
  );

  it.each([
    ["messages_per_second", "segments_per_second"],
    ["messagesPerSecond", "segmentsPerSecond"],
    ["daily_limit", "daily_segment_limit"],
    ["dailyLimit", "dailySegmentLimit"],
  ])("%s is refused with the current name", async (former, today) => {
    const paused = await number({ state: "paused" });
    const request = { id: paused.id, number: { [former]: 2 } };
    const byConnect = await connect("NumberService/UpdateNumber", request);
    expect(toldByConnect(byConnect)).toMatchObject({ status: 400, reason: "NOT_SUPPORTED" });
    expect(byConnect.body.message).toContain(`${former} is called ${today} now; use that name.`);
    const masked = { id: paused.id, number: {}, updateMask: former };
    const byMask = await connect("NumberService/UpdateNumber", masked);
    expect(toldByConnect(byMask)).toMatchObject({ status: 400, reason: "NOT_SUPPORTED" });
    if (former.includes("_")) {
      const byJson = await server.json("PATCH", `/v2/phone_numbers/${paused.id}`, { state: "active", [former]: 2 });
      expect([byJson.status, byJson.body.errors[0].meta.reason]).toEqual([400, "NOT_SUPPORTED"]);
      expect(byJson.body.errors[0].detail).toContain(today);
    }
  });

  it("that is unspecified is refused in JSON, by whatever spelling, and changes nothing", async () => {
    const paused = await number({ state: "paused" });
    const path = `/v2/phone_numbers/${paused.id}`;
    for (const state of ["NUMBER_STATE_UNSPECIFIED", "", 0, null]) {
      const { status } = await server.json("PATCH", path, { state });
      expect([state, status]).toEqual([state, 400]);
    }
    expect((await server.json("GET", path)).body.data.state).toBe("paused");
  });

  it("that is not supported passes as its zero value beside others, as the official client sends it", async () => {
    const paused = await number({ state: "paused" });
    const path = `/v2/phone_numbers/${paused.id}`;
    const zeros = { customer_reference: null, external_pin: "", hd_voice_enabled: false };
    const { status, body } = await server.json("PATCH", path, { ...zeros, tags: ["x"] });
    expect([status, body.data?.tags]).toEqual([200, ["x"]]);
    const byMask = { id: paused.id, number: { customerReference: "" }, updateMask: "customerReference" };
    expect((await connect("NumberService/UpdateNumber", byMask)).status).toBe(200);
    const refused = await server.json("PATCH", path, { customer_reference: "7" });
    expect([refused.status, refused.body.errors[0].meta.reason]).toEqual([400, "NOT_SUPPORTED"]);
  });

  it("may be a number in an RPC's JSON, and the names may be either of protobuf's", async () => {
    const paused = await number({ state: "paused" });
    const body = {
      id: paused.id,
      number: { state: 2, segmentsPerSecond: "2.5e0", daily_segment_limit: "40" },
      updateMask: "state,segmentsPerSecond,dailySegmentLimit",
    };
    const { status, body: answer } = await connect("NumberService/UpdateNumber", body);
    expect(status).toBe(200);
    expect(answer.data).toMatchObject({
      state: "NUMBER_STATE_DRAINING",
      segmentsPerSecond: 2.5,
      dailySegmentLimit: 40,
    });
  });

  it("of a wrong type names its field in Connect", async () => {
    const answer = await connect("PoolSendService/SendMessage", { messagingProfileId: profileId, to: 5, text: "x" });
    expect(toldByConnect(answer)).toMatchObject({ status: 400, reason: "INVALID_TO" });
    expect(answer.body.message).toMatch(/^to must be/);
  });
});

describe("an object of unknown keys alone", () => {
  const settings = async (id: string) =>
    (await server.json("GET", `/v2/messaging_profiles/${id}`)).body.data.number_pool_settings;

  it("is refused in every transport, and the pool stays unchanged", async () => {
    const id = await makeProfile(server, { number_pool_settings: { long_code_weight: 5 } });
    const before = await settings(id);
    expect(before.long_code_weight).toBe(5);
    const given = { skip_unhealty: false };
    const byJson = await server.json("PATCH", `/v2/messaging_profiles/${id}`, { number_pool_settings: given });
    expect(byJson.status).toBe(400);
    expect(byJson.body.errors[0]).toMatchObject({
      code: "10015",
      source: { pointer: "/number_pool_settings" },
      meta: { reason: "BAD_REQUEST" },
    });
    expect(byJson.body.errors[0].detail).toContain('"skip_unhealty"');
    const byConnect = await connect("ProfileService/UpdateProfile", { id, profile: { numberPoolSettings: given } });
    expect(toldByConnect(byConnect)).toMatchObject({ status: 400, reason: "BAD_REQUEST" });
    // Field 99, which no settings have yet.
    const newer = fromBinary(NumberPoolSettingsSchema, Buffer.from([0x98, 0x06, 0x01]));
    const refusal: GrpcRefusal = await grpc
      .call(ProfileService.method.updateProfile, { id, profile: { numberPoolSettings: newer } })
      .then(
        () => Promise.reject(new Error("was accepted")),
        (error) => error,
      );
    expect([refusal.code, refusal.info?.reason]).toEqual([3, "BAD_REQUEST"]);
    expect(await settings(id)).toEqual(before);
  });

  it("is ignored beside known keys", async () => {
    const id = await makeProfile(server, { number_pool_settings: { long_code_weight: 5 } });
    const given = { number_pool_settings: { skip_unhealty: true, toll_free_weight: 2 }, colour: "red" };
    const { status } = await server.json("PATCH", `/v2/messaging_profiles/${id}`, given);
    expect(status).toBe(200);
    expect(await settings(id)).toMatchObject({ long_code_weight: 5, toll_free_weight: 2, skip_unhealthy: false });
  });

  it.each([{}, null])("unless it is %j, which turns the pool off", async (given) => {
    const id = await makeProfile(server);
    await server.json("PATCH", `/v2/messaging_profiles/${id}`, { number_pool_settings: given });
    expect(await settings(id)).toBeNull();
  });
});

describe("allowed destinations", () => {
  it.each([
    ["UK", '"GB"'],
    ["us", '"US"'],
    ["XX", 'such as "US"'],
    ["ZZ", 'such as "US"'],
    ["USA", 'such as "US"'],
    ["", 'such as "US"'],
    ["001", 'such as "US"'],
  ])("of %j are refused, offering %s", async (entry, offered) => {
    const body = { name: "Places", whitelisted_destinations: ["US", entry] };
    const { status, body: answer } = await server.json("POST", "/v2/messaging_profiles", body);
    expect(status).toBe(400);
    expect(answer.errors[0]).toMatchObject({ code: "10015", source: { pointer: "/whitelisted_destinations/1" } });
    expect(answer.errors[0].detail).toContain(JSON.stringify(entry));
    expect(answer.errors[0].detail).toContain(offered);
  });

  it("are every country with numbers, and places without", async () => {
    const whitelisted_destinations = ["GB", "US", "PR", "XK", "AQ", "IT", "*"];
    const { status } = await server.json("POST", "/v2/messaging_profiles", {
      name: "Places",
      whitelisted_destinations,
    });
    expect(status).toBe(200);
  });
});

describe("a time", () => {
  const NOT_TIMES = [
    ...["2027-02-29T00:00:00Z", "2026-11-31T00:00:00+23:00", "2026-11-30T24:00:00Z", "2026-13-01T00:00:00Z"],
    ...["2026-00-10T00:00:00Z", "2026-11-00T00:00:00Z", "2026-11-30T23:60:00Z", "2026-11-30T23:59:60Z"],
    ...["2026-11-30T00:00:00+24:00", "2026-11-30T00:00:00+01:60", "2100-02-29T00:00:00Z", "tomorrow", ""],
  ];
  const TIMES = [
    "2028-02-29T00:00:00Z",
    "2026-11-30t23:59:59.123456789z",
    "2026-11-30T00:00:00-23:59",
    "2000-02-29 00:00:00+00:00",
  ];
  const filter = (text: string) =>
    server.json("GET", `/v2/messaging_optouts?created_at[gte]=${encodeURIComponent(text)}`);

  it.each(NOT_TIMES)("%s does not exist, in bodies and filters", async (text) => {
    const body = { messaging_profile_id: profileId, to: TO, text: "Later", send_at: text };
    const sent = await server.json("POST", "/v2/messages/number_pool", body);
    expect([sent.status, sent.body.errors[0].source]).toEqual([400, { pointer: "/send_at" }]);
    expect(sent.body.errors[0].meta.reason).toBe("INVALID_TYPE");
    const listed = await filter(text);
    expect([listed.status, listed.body.errors[0].source]).toEqual([400, { parameter: "created_at[gte]" }]);
    const byConnect = await connect("OptOutService/ListOptOuts", { createdAt: { gte: text } });
    expect(toldByConnect(byConnect)).toMatchObject({ status: 400, reason: "INVALID_TYPE" });
  });

  it.each(TIMES)("%s exists", async (text) => {
    expect((await filter(text)).status).toBe(200);
    expect((await connect("OptOutService/ListOptOuts", { createdAt: { gte: text } })).status).toBe(200);
  });
});

describe("a number in a query", () => {
  it.each(["0x10", "1e3", "+5", "5.", ".5", "1_000", " 5", "Infinity", ""])("is not %j", async (text) => {
    const { status, body } = await server.json("GET", `/v2/phone_numbers?page[size]=${encodeURIComponent(text)}`);
    expect([status, body.errors?.[0].source]).toEqual([400, { parameter: "page[size]" }]);
  });

  it("is written in digits", async () => {
    expect((await server.json("GET", "/v2/phone_numbers?page[size]=10")).status).toBe(200);
  });
});

describe("a result", () => {
  it("of a preview is a sender or an error, and of a pool that is off the error and nothing else", async () => {
    const { previewSender } = PoolSendService.method;
    const found = (await grpc.call(previewSender, { messagingProfileId: profileId, to: TO })).message.data;
    expect([found?.outcome.case, found?.decision?.eligible]).toEqual(["from", 1]);
    const empty = await makeProfile(server);
    const refused = (await grpc.call(previewSender, { messagingProfileId: empty, to: TO })).message.data;
    expect([refused?.outcome.case, refused?.decision?.poolSize, refused?.waitSeconds]).toEqual(["error", 0, undefined]);
    const off = await makeProfile(server, { number_pool_settings: null });
    const { body } = await server.json("POST", "/v2/messages/number_pool/preview", {
      messaging_profile_id: off,
      to: TO,
    });
    expect(body.data).toMatchObject({ from: null, decision: null, wait_seconds: null, error: { code: "40321" } });
    expect(body.data.error.detail).toContain("pool is off");
  });

  it("of the pool's view has the cause by name in JSON and by value in RPCs", async () => {
    const id = await makeProfile(server);
    const fields = { phone_number: freshNumber(), messaging_profile_id: id };
    const number = await register(server, { ...fields, state: "paused" });
    const because = async () => {
      const { body } = await server.json("GET", `/v2/messaging_profiles/${id}/number_pool`);
      const { message } = await grpc.call(ProfileService.method.getNumberPool, { id });
      return [body.data[0].not_eligible_because, message.data[0]?.notEligibleBecause];
    };
    expect(await because()).toEqual(["paused", NotEligibleCause.PAUSED]);
    await server.json("PATCH", `/v2/phone_numbers/${number.id}`, { state: "active" });
    expect(await because()).toEqual([null, NotEligibleCause.UNSPECIFIED]);
    await server.json("PATCH", `/v2/messaging_profiles/${id}`, { number_pool_settings: null });
    expect(await because()).toEqual(["pool_off", NotEligibleCause.POOL_OFF]);
  });
});
