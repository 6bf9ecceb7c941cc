import { type Timestamp, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import Database from "better-sqlite3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CarrierReportService, ReceiptStatus } from "../../gen/numberpool/v1/carrier_report_service_pb.ts";
import { DecisionRule } from "../../gen/numberpool/v1/decision_pb.ts";
import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import { type MessageEvent, MessageEventType } from "../../gen/numberpool/v1/message_event_pb.ts";
import { Direction, Encoding, type Message, MessageStatus, MessageType } from "../../gen/numberpool/v1/message_pb.ts";
import { NumberService } from "../../gen/numberpool/v1/number_service_pb.ts";
import { LineType } from "../../gen/numberpool/v1/phone_number_pb.ts";
import { PoolSendService, type SendError } from "../../gen/numberpool/v1/pool_send_service_pb.ts";
import { ProfileService } from "../../gen/numberpool/v1/profile_service_pb.ts";
import { WebhookDeliveryService } from "../../gen/numberpool/v1/webhook_delivery_service_pb.ts";
import { either } from "../either.ts";
import { API_KEY, type JsonAnswer, startServer, type TestServer, temporaryFolder } from "../server.ts";
import { createGrpcClient, type GrpcClient, GrpcRefusal } from "./grpc-client.ts";
import { freshNumber, makePool, makeProfile, ON, register, until } from "./pools.ts";

const { sendMessage, sendMessages, createMessage, getMessage } = PoolSendService.method;
const POOL = "/v2/messages/number_pool";
const BATCH = "/v2/messages/number_pool/batch";
const UNKNOWN_ID = "01900000-0000-7000-8000-000000000000";
const TO = "+13125550100";

/** gRPC's codes, by name. */
const INVALID_ARGUMENT = 3;
const NOT_FOUND = 5;
const ALREADY_EXISTS = 6;
const RESOURCE_EXHAUSTED = 8;
const FAILED_PRECONDITION = 9;
const UNIMPLEMENTED = 12;
const UNAUTHENTICATED = 16;

const folder = temporaryFolder();
let server: TestServer;
let grpc: GrpcClient;

beforeAll(async () => {
  server = await startServer({ database: `${folder.path}/numberpool.db` });
  grpc = createGrpcClient(server.grpc, API_KEY);
});

afterAll(async () => {
  grpc.close();
  expect(await server.stop()).toBe(0);
  folder.remove();
});

const STATUSES: Readonly<Record<number, string>> = {
  [MessageStatus.SCHEDULED]: "scheduled",
  [MessageStatus.QUEUED]: "queued",
  [MessageStatus.SENDING]: "sending",
  [MessageStatus.SENT]: "sent",
  [MessageStatus.DELIVERED]: "delivered",
  [MessageStatus.DELIVERY_FAILED]: "delivery_failed",
  [MessageStatus.CANCELLED]: "cancelled",
};
const EVENTS: Readonly<Record<number, string>> = {
  [MessageEventType.ACCEPTED]: "accepted",
  [MessageEventType.SENDING]: "sending",
  [MessageEventType.SUBMITTED]: "submitted",
  [MessageEventType.RECEIPT]: "receipt",
  [MessageEventType.CANCELLED]: "cancelled",
};
const RULES: Readonly<Record<number, string>> = {
  [DecisionRule.FROM]: "from",
  [DecisionRule.LEAST_LOADED]: "least_loaded",
  [DecisionRule.WEIGHTS]: "weights",
};

const reasonName = (reason: ErrorReason) => Object.entries(ErrorReason).find(([, value]) => value === reason)?.[0];

const time = (timestamp: Timestamp | undefined) =>
  timestamp === undefined ? null : new Date(timestampMs(timestamp)).toISOString();

/**
 * The expected JSON of a message, written field by field, independent of the transport's encoder.
 */
function documented(message: Message) {
  const { decision, from } = message;
  return {
    record_type: message.recordType,
    id: message.id,
    direction: message.direction === Direction.OUTBOUND ? "outbound" : null,
    type: message.type === MessageType.SMS ? "SMS" : null,
    messaging_profile_id: message.messagingProfileId,
    organization_id: message.organizationId,
    from:
      from === undefined
        ? null
        : { phone_number: from.phoneNumber, carrier: from.carrier, line_type: from.lineType, status: null },
    to: message.to.map((to) => ({
      phone_number: to.phoneNumber,
      status: STATUSES[to.status],
      carrier: to.carrier,
      line_type: to.lineType,
    })),
    cc: message.cc,
    text: message.text,
    subject: message.subject ?? null,
    media: message.media,
    encoding: message.encoding,
    parts: message.parts,
    num_chars: message.numChars,
    smart_encoding_applied: message.smartEncodingApplied,
    tags: message.tags,
    cost: message.cost ?? null,
    cost_breakdown: message.costBreakdown ?? null,
    tcr_campaign_id: message.tcrCampaignId ?? null,
    tcr_campaign_billable: message.tcrCampaignBillable,
    tcr_campaign_registered: message.tcrCampaignRegistered ?? null,
    webhook_url: message.webhookUrl ?? null,
    webhook_failover_url: message.webhookFailoverUrl ?? null,
    received_at: time(message.receivedAt),
    send_at: time(message.sendAt),
    sent_at: time(message.sentAt),
    completed_at: time(message.completedAt),
    valid_until: time(message.validUntil),
    wait_seconds: message.waitSeconds ?? null,
    errors: message.errors.map(({ reason, code, title, detail }) => ({
      reason: reasonName(reason),
      code,
      title,
      detail,
    })),
    autoresponse_type: null,
    decision:
      decision === undefined
        ? null
        : {
            rule: RULES[decision.rule],
            tier: decision.tier === 0 ? null : decision.tier,
            pool_size: decision.poolSize,
            eligible: decision.eligible,
            excluded: {
              weight_zero: decision.excluded?.weightZero,
              paused: decision.excluded?.paused,
              draining: decision.excluded?.draining,
              unhealthy: decision.excluded?.unhealthy,
              on_trial: decision.excluded?.onTrial,
              daily_limit: decision.excluded?.dailyLimit,
              full: decision.excluded?.full,
              carrier_unavailable: decision.excluded?.carrierUnavailable,
            },
            is_fallback: decision.isFallback,
          },
  };
}

/** The expected JSON of an event. */
function documentedEvent(event: MessageEvent) {
  return {
    record_type: event.recordType,
    id: event.id,
    message_id: event.messageId,
    type: EVENTS[event.type],
    status: STATUSES[event.status],
    occurred_at: time(event.occurredAt),
    carrier_message_id: event.carrierMessageId ?? null,
    carrier_code: event.carrierCode ?? null,
    reason: event.reason === ErrorReason.UNSPECIFIED ? null : reasonName(event.reason),
    detail: event.detail ?? null,
    event_type: event.eventType ?? null,
  };
}

const AN_ID = expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/);
const A_TIME = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);

/** A message without the values that differ between messages. */
// biome-ignore lint/suspicious/noExplicitAny: the shape is what is compared.
function inGeneral(message: any) {
  expect(message).toMatchObject({ id: AN_ID, received_at: A_TIME, valid_until: A_TIME });
  return { ...message, id: "", received_at: "", valid_until: "" };
}

/** The fields of a send by their JSON names, as the RPC has them. */
function asRpc(json: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const spelled: Readonly<Record<string, unknown>> = {
    auto: Encoding.AUTO,
    gsm7: Encoding.GSM7,
    ucs2: Encoding.UCS2,
    SMS: MessageType.SMS,
    MMS: MessageType.MMS,
  };
  return Object.fromEntries(
    Object.entries(json).map(([name, value]) => [
      name.replaceAll(/_[a-z]/g, (pair) => (pair[1] as string).toUpperCase()),
      name === "encoding" || name === "type"
        ? (spelled[value as string] ?? 99)
        : name === "send_at"
          ? timestampFromMs(Date.parse(value as string))
          : value,
    ]),
  );
}

async function grpcRefusalOf(calling: Promise<unknown>): Promise<GrpcRefusal> {
  try {
    await calling;
  } catch (error) {
    if (error instanceof GrpcRefusal) return error;
    throw error;
  }
  throw new Error("the call was not refused");
}

type RefusalContent = {
  readonly reason: string | undefined;
  readonly code: string | undefined;
  readonly title: string | undefined;
  readonly detail: string;
  readonly pointer: string | undefined;
};

/** A refusal of the JSON transport, in a form of JSON and gRPC. */
function refusalByJson({ body }: JsonAnswer): RefusalContent {
  const [{ code, title, detail, source, meta }] = body.errors;
  return { reason: meta.reason, code, title, detail, pointer: source?.pointer };
}

/** A refusal of the gRPC transport, in a form of JSON and gRPC. */
function refusalByGrpc({ info, details }: GrpcRefusal): RefusalContent {
  return {
    reason: info?.reason,
    code: info?.metadata.code,
    title: info?.metadata.title,
    detail: details,
    pointer: info?.metadata.pointer,
  };
}

function messagesTo(to: string): number {
  const database = new Database(server.database, { readonly: true });
  try {
    return database.prepare('SELECT count(*) FROM messages WHERE "to" = ?').pluck().get(to) as number;
  } finally {
    database.close();
  }
}

let recipients = 0;
/** A recipient of no other test, without special behaviour. */
function freshRecipient(): string {
  recipients += 1;
  return `+1312557${String(recipients).padStart(4, "0")}`;
}

describe("an accepted message", () => {
  let profileId: string;
  let number: string;

  beforeAll(async () => {
    const pool = await makePool(server, { number: { segments_per_second: 10_000 } });
    profileId = pool.profileId;
    number = pool.numbers[0] as string;
  });

  it.each([
    ["a plain text", { text: "Hello" }],
    ["UCS-2", { text: "Hello 🌍", encoding: "auto" }],
    ["forced UCS-2", { text: "Hello", encoding: "ucs2", type: "SMS" }],
    ["several parts", { text: "a€".repeat(200), encoding: "gsm7", use_profile_webhooks: false }],
    ["webhooks", { text: "Hello", webhook_url: "https://example.com/a", webhook_failover_url: "http://example.com/b" }],
  ])("has the same form and decision in JSON and gRPC: %s", async (_name, fields) => {
    const json = { messaging_profile_id: profileId, to: TO, ...fields };
    const overJson = await server.json("POST", POOL, json);
    const overGrpc = await grpc.call(sendMessage, asRpc(json));
    expect(overJson.status).toBe(200);
    const message = documented(overGrpc.message.data as Message);
    expect(inGeneral(overJson.body.data)).toEqual(inGeneral(message));
    expect(message).toMatchObject({ from: { phone_number: number }, decision: { rule: "least_loaded", pool_size: 1 } });

    const created = await server.json("POST", "/v2/messages", json);
    const createdOverGrpc = await grpc.call(createMessage, asRpc(json));
    expect(inGeneral(created.body.data)).toEqual(inGeneral(message));
    expect(inGeneral(documented(createdOverGrpc.message.data as Message))).toEqual(inGeneral(message));

    const named = { ...json, from: number };
    const [byJson, byGrpc] = [
      await server.json("POST", "/v2/messages", named),
      await grpc.call(createMessage, asRpc(named)),
    ];
    expect(byJson.body.data.decision.rule).toBe("from");
    expect(inGeneral(byJson.body.data)).toEqual(inGeneral(documented(byGrpc.message.data as Message)));
  });

  it.each(["+13125550100", "+13125550109"])("reads the same in JSON and gRPC when it is final: %s", async (to) => {
    const { body } = await server.json("POST", POOL, { messaging_profile_id: profileId, to, text: "Hello" });
    const { id } = body.data;
    const read = () => server.json("GET", `/v2/messages/${id}`);
    const final = await until(read, (answer) => /deliver/.test(answer.body.data.to[0].status));
    const { message } = await grpc.call(getMessage, { id });
    expect(final.body).toEqual({ data: documented(message.data as Message) });
    expect(final.body.data.errors).toHaveLength(to.endsWith("09") ? 1 : 0);
  });

  it("has a profile and a number that read the same in JSON and gRPC", async () => {
    const profile = {
      name: "By gRPC",
      whitelistedDestinations: ["US", "CA"],
      numberPoolSettings: { longCodeWeight: 0.5, geomatch: true },
      validityPeriodSeconds: 60,
    };
    const { message } = await grpc.call(ProfileService.method.createProfile, { profile });
    const made = message.data as NonNullable<typeof message.data>;
    const json = await server.json("GET", `/v2/messaging_profiles/${made.id}`);
    expect(json.body.data).toMatchObject({
      id: made.id,
      name: "By gRPC",
      whitelisted_destinations: ["US", "CA"],
      number_pool_settings: {
        long_code_weight: 0.5,
        toll_free_weight: 1,
        skip_unhealthy: false,
        sticky_sender: false,
        geomatch: true,
      },
      webhook_url: "",
      validity_period_seconds: 60,
      created_at: time(made.createdAt),
      updated_at: time(made.updatedAt),
    });
    const off = await grpc.call(ProfileService.method.updateProfile, {
      id: made.id,
      profile: {},
      updateMask: { paths: ["number_pool_settings", "validity_period_seconds"] },
    });
    expect(off.message.data?.numberPoolSettings).toBeUndefined();
    expect((await server.json("GET", `/v2/messaging_profiles/${made.id}`)).body.data).toMatchObject({
      name: "By gRPC",
      number_pool_settings: null,
      validity_period_seconds: 14_400,
    });

    const phone_number = freshNumber("800");
    await register(server, { phone_number, messaging_profile_id: made.id, daily_segment_limit: 7, tags: ["a"] });
    const read = (await grpc.call(NumberService.method.getNumber, { id: phone_number })).message.data;
    expect(read).toMatchObject({
      phoneNumber: phone_number,
      messagingProfileId: made.id,
      lineType: LineType.TOLL_FREE,
      segmentsPerSecond: 3,
      dailySegmentLimit: 7,
      tags: ["a"],
    });
    const listed = await grpc.call(ProfileService.method.listProfileNumbers, { id: made.id, page: { size: 1 } });
    expect(listed.message.data.map(({ phoneNumber }) => phoneNumber)).toEqual([phone_number]);
    expect(listed.message.meta).toMatchObject({ pageNumber: 1, pageSize: 1, totalPages: 1, totalResults: 1 });
  });
});

describe("a refused send", () => {
  const profiles: Record<string, string> = {};
  let pausedNumber: string;

  beforeAll(async () => {
    profiles.good = (await makePool(server)).profileId;
    profiles.disabled = (await makePool(server, { profile: { enabled: false } })).profileId;
    profiles.off = (await makePool(server, { profile: { number_pool_settings: null } })).profileId;
    profiles.empty = await makeProfile(server);
    const paused = await makePool(server, { number: { state: "paused" } });
    profiles.paused = paused.profileId;
    pausedNumber = paused.numbers[0] as string;
    profiles.zero = (
      await makePool(server, { profile: { number_pool_settings: { ...ON, long_code_weight: 0 } } })
    ).profileId;
    profiles.full = (await makePool(server, { number: { segments_per_second: 0.001 } })).profileId;
    for (let count = 0; count < 10; count += 1) {
      const fill = { messaging_profile_id: profiles.full, to: TO, text: "Fill" };
      expect((await server.json("POST", POOL, fill)).status).toBe(200);
    }
  });

  type Expected = readonly [reason: string, status: number, code: string, rpcCode: number];
  const TABLE: readonly [name: string, fields: object, expected: Expected][] = [
    ["unknown profile", { messaging_profile_id: UNKNOWN_ID }, ["NOT_FOUND", 404, "10005", NOT_FOUND]],
    ["profile id that is none", { messaging_profile_id: "mine" }, ["NOT_FOUND", 404, "10005", NOT_FOUND]],
    ["no recipient", { to: undefined }, ["MISSING_PARAMETER", 400, "10004", INVALID_ARGUMENT]],
    ["bad recipient", { to: "3125550100" }, ["INVALID_TO", 400, "40310", INVALID_ARGUMENT]],
    ["empty recipient", { to: "" }, ["INVALID_TO", 400, "40310", INVALID_ARGUMENT]],
    ["no text", { text: undefined }, ["NO_CONTENT", 400, "40316", INVALID_ARGUMENT]],
    ["empty text", { text: "" }, ["NO_CONTENT", 400, "40316", INVALID_ARGUMENT]],
    ["eleven parts", { text: "€".repeat(766) }, ["MESSAGE_TOO_LARGE", 400, "40302", INVALID_ARGUMENT]],
    [
      "recommended parts",
      { text: "a".repeat(460), auto_detect: true },
      ["RECOMMENDED_SIZE_EXCEEDED", 400, "40328", INVALID_ARGUMENT],
    ],
    ["not GSM-7", { text: "я", encoding: "gsm7" }, ["ENCODING_ERROR", 400, "10028", INVALID_ARGUMENT]],
    ["destination", { to: "+442079460000" }, ["DESTINATION_NOT_ALLOWED", 400, "40309", FAILED_PRECONDITION]],
    ["disabled", { messaging_profile_id: "disabled" }, ["PROFILE_DISABLED", 409, "40312", FAILED_PRECONDITION]],
    ["pool off", { messaging_profile_id: "off" }, ["NO_USABLE_NUMBERS", 400, "40321", FAILED_PRECONDITION]],
    ["no numbers", { messaging_profile_id: "empty" }, ["NO_USABLE_NUMBERS", 400, "40321", FAILED_PRECONDITION]],
    ["all paused", { messaging_profile_id: "paused" }, ["NO_USABLE_NUMBERS", 400, "40321", FAILED_PRECONDITION]],
    ["weights 0", { messaging_profile_id: "zero" }, ["NO_USABLE_NUMBERS", 400, "40321", FAILED_PRECONDITION]],
    ["a sender", { from: "+12125550100" }, ["BAD_REQUEST", 400, "10015", INVALID_ARGUMENT]],
    ["bad URL", { webhook_url: "javascript:alert(1)" }, ["INVALID_URL", 400, "10003", INVALID_ARGUMENT]],
    ["unknown encoding", { encoding: "utf8" }, ["INVALID_ENUM", 400, "10032", INVALID_ARGUMENT]],
    ["unknown type", { type: "RCS" }, ["INVALID_ENUM", 400, "10032", INVALID_ARGUMENT]],
    ["MMS", { type: "MMS" }, ["NOT_SUPPORTED", 400, "10038", INVALID_ARGUMENT]],
    ["media", { media_urls: ["https://example.com/a.png"] }, ["NOT_SUPPORTED", 400, "10038", INVALID_ARGUMENT]],
    ["a subject", { subject: "Picture" }, ["NOT_SUPPORTED", 400, "10038", INVALID_ARGUMENT]],
    ["a moment that is over", { send_at: "2001-01-01T00:00:00Z" }, ["OUT_OF_RANGE", 400, "10033", INVALID_ARGUMENT]],
    ["NUL", { text: "N\0L" }, ["BAD_REQUEST", 400, "10015", INVALID_ARGUMENT]],
    ["an empty key", { request_id: "" }, ["BAD_REQUEST", 400, "10015", INVALID_ARGUMENT]],
    [
      "too much of anything",
      { webhook_url: `https://example.com/${"a".repeat(70_000)}` },
      ["REQUEST_TOO_LARGE", 413, "10025", RESOURCE_EXHAUSTED],
    ],
  ];

  it.each(TABLE)("is refused alike in JSON and gRPC: %s", async (_name, fields, [reason, status, code, rpcCode]) => {
    const given = { messaging_profile_id: "good", to: TO, text: "Hello", ...fields };
    const json = { ...given, messaging_profile_id: profiles[given.messaging_profile_id] ?? given.messaging_profile_id };
    for (const [path, method] of [
      [POOL, sendMessage],
      ...("from" in fields ? [] : [["/v2/messages", createMessage] as const]),
    ] as const) {
      const overJson = await server.json("POST", path, json);
      const overGrpc = await grpcRefusalOf(grpc.call(method as typeof sendMessage, asRpc(json)));
      const refusal = refusalByJson(overJson);
      expect({ reason: refusal.reason, code: refusal.code, status: overJson.status }).toEqual({ reason, code, status });
      expect(overGrpc.code).toBe(rpcCode);
      expect(overGrpc.info?.domain).toBe("numberpool");
      expect(overGrpc.fields).toEqual(refusal.pointer === undefined ? [] : [refusal.pointer.slice(1)]);
      const both = refusalByGrpc(overGrpc);
      // The JSON transport knows the size before it reads the body, and has its own text for it.
      expect(reason === "REQUEST_TOO_LARGE" ? { ...both, detail: "" } : both).toEqual(
        reason === "REQUEST_TOO_LARGE" ? { ...refusal, detail: "" } : refusal,
      );
      expect([overGrpc.retryAfterMs, overJson.headers.get("retry-after")]).toEqual([undefined, null]);
    }
  });

  it("names in JSON and gRPC the time when a full queue has room again", async () => {
    const json = { messaging_profile_id: profiles.full, to: TO, text: "Too much" };
    const overJson = await server.json("POST", POOL, json);
    const overGrpc = await grpcRefusalOf(grpc.call(sendMessage, asRpc(json)));
    expect(overJson.status).toBe(429);
    expect(overGrpc.code).toBe(RESOURCE_EXHAUSTED);
    expect(refusalByJson(overJson)).toMatchObject({ reason: "QUEUE_FULL", code: "40318" });
    expect(refusalByGrpc(overGrpc)).toMatchObject({ reason: "QUEUE_FULL", code: "40318" });
    const [seconds, milliseconds] = [Number(overJson.headers.get("retry-after")), overGrpc.retryAfterMs as number];
    expect(seconds).toBeGreaterThan(150);
    expect(seconds).toBeLessThanOrEqual(200);
    expect(Math.abs(seconds - milliseconds / 1000)).toBeLessThan(5);
  });

  it.each([
    ["not on the profile", () => "+12125550000", "INVALID_FROM", "40305", INVALID_ARGUMENT],
    ["paused", () => pausedNumber, "FROM_TEMPORARILY_UNUSABLE", "40320", FAILED_PRECONDITION],
    ["no number", () => "2125550100", "INVALID_FROM", "40305", INVALID_ARGUMENT],
  ])("is refused alike in JSON and gRPC when its sender is %s", async (_name, from, reason, code, rpcCode) => {
    const json = { from: from(), messaging_profile_id: profiles.paused, to: TO, text: "Hello" };
    const overJson = await server.json("POST", "/v2/messages", json);
    const overGrpc = await grpcRefusalOf(grpc.call(createMessage, asRpc(json)));
    expect(overJson.status).toBe(400);
    expect(overGrpc.code).toBe(rpcCode);
    expect(refusalByJson(overJson)).toMatchObject({ reason, code, pointer: "/from" });
    expect(refusalByGrpc(overGrpc)).toEqual(refusalByJson(overJson));
  });

  it("is refused alike in JSON and gRPC by the other services", async () => {
    const { phone_number } = await register(server, { phone_number: freshNumber() });
    const twice = await server.json("POST", "/v2/phone_numbers", { phone_number });
    const twiceOverGrpc = await grpcRefusalOf(
      grpc.call(NumberService.method.registerNumber, { number: { phoneNumber: phone_number } }),
    );
    expect([twice.status, twiceOverGrpc.code]).toEqual([409, ALREADY_EXISTS]);
    expect(refusalByJson(twice)).toMatchObject({ reason: "ALREADY_EXISTS", code: "10012", pointer: "/phone_number" });
    expect(refusalByGrpc(twiceOverGrpc)).toMatchObject({ reason: "ALREADY_EXISTS", code: "10012" });

    const missing = await server.json("GET", `/v2/messages/${UNKNOWN_ID}`);
    const missingOverGrpc = await grpcRefusalOf(grpc.call(getMessage, { id: UNKNOWN_ID }));
    expect([missing.status, missingOverGrpc.code]).toEqual([404, NOT_FOUND]);
    expect(refusalByGrpc(missingOverGrpc)).toEqual(refusalByJson(missing));

    const weights = { numberPoolSettings: { longCodeWeight: Number.NaN } };
    for (const profile of [weights, { numberPoolSettings: { tollFreeWeight: Number.POSITIVE_INFINITY } }]) {
      const id = profiles.good as string;
      const refusal = await grpcRefusalOf(grpc.call(ProfileService.method.updateProfile, { id, profile }));
      expect([refusal.code, refusal.info?.reason]).toEqual([INVALID_ARGUMENT, "OUT_OF_RANGE"]);
    }
  });

  it("needs a key in JSON and gRPC", async () => {
    const path = "/numberpool.v1.PoolSendService/SendMessage";
    const metadata = [{}, { authorization: "Bearer nobody" }, { authorization: API_KEY }] as Record<string, string>[];
    for (const each of metadata) {
      const refusal = await grpcRefusalOf(grpc.callBytes(path, new Uint8Array(), each));
      const json = await server.json("POST", POOL, {}, { authorization: each.authorization ?? "" });
      expect([refusal.code, json.status]).toEqual([UNAUTHENTICATED, 401]);
      expect(refusalByGrpc(refusal)).toEqual(refusalByJson(json));
      expect(refusal.info?.reason).toBe("UNAUTHENTICATED");
    }
  });

  it("is MALFORMED_MESSAGE when its bytes are not a request", async () => {
    const path = "/numberpool.v1.PoolSendService/SendMessage";
    const authorization = { authorization: `Bearer ${API_KEY}` };
    // Half a field, and a string (field 3) that is not UTF-8.
    for (const bytes of [Buffer.from([0x0a, 0x7f, 0x01]), Buffer.from([0x1a, 0x02, 0xff, 0xfe])]) {
      const refusal = await grpcRefusalOf(grpc.callBytes(path, bytes, authorization));
      expect([refusal.code, refusal.info?.reason]).toEqual([INVALID_ARGUMENT, "MALFORMED_MESSAGE"]);
    }
  });
});

describe("a batch", () => {
  let profileId: string;
  let disabled: string;

  beforeAll(async () => {
    profileId = (await makePool(server, { number: { segments_per_second: 10_000 } })).profileId;
    disabled = await makeProfile(server, { enabled: false });
  });

  it("keeps its order and refuses item by item, alike in JSON and gRPC", async () => {
    const good = { messaging_profile_id: profileId, to: TO };
    const items = [
      { ...good, text: "first" },
      { ...good, text: "second", to: "nobody" },
      { ...good, text: "third" },
      { ...good, text: "" },
      { ...good, text: "fifth", messaging_profile_id: UNKNOWN_ID },
      { ...good, text: "sixth", messaging_profile_id: disabled },
      { ...good, text: "seventh", from: "+12125550100" },
      { ...good, text: "last" },
    ];
    const reasons = [
      undefined,
      "INVALID_TO",
      undefined,
      "NO_CONTENT",
      "NOT_FOUND",
      "PROFILE_DISABLED",
      "BAD_REQUEST",
      undefined,
    ];
    const json = await server.json("POST", BATCH, { messages: items });
    expect(json.status).toBe(200);
    expect(json.body.data.map((result: { error?: { reason: string } }) => result.error?.reason)).toEqual(reasons);
    const { message } = await grpc.call(sendMessages, { messages: items.map(asRpc) });
    expect(message.data).toHaveLength(items.length);
    message.data.forEach((result, index) => {
      const given = json.body.data[index];
      expect(Object.keys(given).sort()).toEqual(["error", "message"]);
      if (reasons[index] === undefined) {
        expect(inGeneral(given.message)).toEqual(inGeneral(documented(either(result).message as Message)));
        expect(given.message.text).toBe(items[index]?.text);
        expect([given.error, result.outcome.case]).toEqual([null, "message"]);
      } else {
        const error = either(result).error as SendError;
        expect(given.error).toEqual({
          reason: reasons[index],
          code: error.code,
          title: error.title,
          detail: error.detail,
          pointer: error.pointer,
          retry_after_seconds: error.retryAfterSeconds ?? null,
        });
        expect(reasonName(error.reason)).toBe(reasons[index]);
        expect([given.message, result.outcome.case]).toEqual([null, "error"]);
      }
    });
  });

  it("has 1 to 1,000 sends", async () => {
    const item = { messaging_profile_id: profileId, to: freshRecipient(), text: "One of many" };
    const messages = (count: number) => Array.from({ length: count }, () => item);
    for (const [count, reason, code] of [
      [0, "MISSING_PARAMETER", "10004"],
      [1_001, "INVALID_LENGTH", "10025"],
    ] as const) {
      const json = await server.json("POST", BATCH, { messages: messages(count) });
      const refusal = await grpcRefusalOf(grpc.call(sendMessages, { messages: messages(count).map(asRpc) }));
      expect([json.status, refusal.code]).toEqual([400, INVALID_ARGUMENT]);
      expect(refusalByJson(json)).toMatchObject({ reason, code, pointer: "/messages" });
      expect(refusalByGrpc(refusal)).toEqual(refusalByJson(json));
    }
    expect(messagesTo(item.to)).toBe(0);
    const { message } = await grpc.call(sendMessages, { messages: messages(1_000).map(asRpc) });
    expect(new Set(message.data.map((result) => either(result).message?.id)).size).toBe(1_000);
    expect(messagesTo(item.to)).toBe(1_000);
  });

  it("of more than 4 MiB is refused", async () => {
    const text = "a".repeat(5_000);
    const messages = Array.from({ length: 1_000 }, () => ({ messagingProfileId: profileId, to: TO, text }));
    const refusal = await grpcRefusalOf(grpc.call(sendMessages, { messages }));
    expect(refusal.code).toBe(RESOURCE_EXHAUSTED);
  });
});

describe("a stream", () => {
  const { streamMessages } = PoolSendService.method;

  it("answers every send in order, refused ones included", async () => {
    const { profileId } = await makePool(server, { number: { segments_per_second: 10_000 } });
    const texts = Array.from({ length: 200 }, (_, index) => (index % 7 === 3 ? "" : `Text ${index}`));
    const messages = texts.map((text) => ({ message: { messagingProfileId: profileId, to: TO, text } }));
    const answers = await grpc.stream(streamMessages, messages);
    expect(answers.map((each) => either(each).message?.text ?? "")).toEqual(texts);
    const errors = answers.flatMap((each) => either(each).error ?? []);
    expect(errors).toHaveLength(texts.filter((text) => text === "").length);
    const json = await server.json("POST", POOL, { messaging_profile_id: profileId, to: TO, text: "" });
    for (const { reason, code, title, detail, pointer } of errors) {
      expect({ reason: reasonName(reason), code, title, detail, pointer }).toEqual(refusalByJson(json));
    }
  });

  it("names a field that breaks the contract as a send does", async () => {
    const { profileId } = await makePool(server);
    const given = { messagingProfileId: profileId, to: TO, text: "N\0L" };
    const [answer, after] = await grpc.stream(streamMessages, [
      { message: given },
      { message: { ...given, text: "Yes" } },
    ]);
    const refusal = await grpcRefusalOf(grpc.call(sendMessage, given));
    const { error } = either(answer);
    expect({ ...error, reason: reasonName(error?.reason as ErrorReason) }).toMatchObject(refusalByGrpc(refusal));
    expect(either(after).message?.text).toBe("Yes");
  });

  it("shares its sends' keys with SendMessage", async () => {
    const { profileId } = await makePool(server);
    const to = freshRecipient();
    const message = { messagingProfileId: profileId, to, text: "Streamed once", requestId: "stream-key" };
    const answers = await grpc.stream(streamMessages, [
      { message },
      { message },
      { message: { ...message, text: "Two" } },
    ]);
    const { message: single } = await grpc.call(sendMessage, message);
    const ids = answers.map((each) => either(each).message?.id);
    expect(ids).toEqual([single.data?.id, single.data?.id, undefined]);
    expect(reasonName(either(answers[2]).error?.reason as ErrorReason)).toBe("IDEMPOTENCY_KEY_REUSED");
    expect(messagesTo(to)).toBe(1);
  });

  it("needs a key", async () => {
    const stranger = createGrpcClient(server.grpc, "nobody");
    const refusal = await grpcRefusalOf(stranger.stream(streamMessages, [{ message: {} }]));
    stranger.close();
    expect([refusal.code, refusal.info?.reason]).toEqual([UNAUTHENTICATED, "UNAUTHENTICATED"]);
  });
});

describe("an idempotency key", () => {
  let profileId: string;
  let keys = 0;
  const freshKey = () => {
    keys += 1;
    return `key-${keys}`;
  };
  const body = (to: string, fields: object = {}) => ({ messaging_profile_id: profileId, to, text: "Once", ...fields });
  const keyed = (key: string) => ({ "idempotency-key": key });

  beforeAll(async () => {
    profileId = (await makePool(server, { long: 3 })).profileId;
  });

  it("repeats the first answer, in any transport and with the key in any place", async () => {
    const [key, to] = [freshKey(), freshRecipient()];
    const first = await server.json("POST", POOL, body(to), keyed(key));
    expect(first.headers.get("idempotent-replayed")).toBeNull();
    await until(
      () => server.json("GET", `/v2/messages/${first.body.data.id}`),
      (answer) => answer.body.data.to[0].status === "delivered",
    );
    const again = await server.json("POST", POOL, body(to), keyed(key));
    const inBody = await server.json("POST", POOL, body(to, { request_id: key }));
    const inBoth = await server.json("POST", POOL, body(to, { request_id: key }), keyed(key));
    const reordered = `{"text": "Once", "unknown": 1, "to": "${to}", "messaging_profile_id": "${profileId}"}`;
    for (const replay of [again, inBody, inBoth, await server.json("POST", POOL, reordered, keyed(key))]) {
      expect(replay.status).toBe(200);
      expect(replay.headers.get("idempotent-replayed")).toBe("true");
      expect(replay.body).toEqual(first.body);
    }
    for (const [request, metadata] of [
      [body(to, { request_id: key }), {}],
      [body(to), keyed(key)],
      [body(to, { request_id: key }), keyed(key)],
    ] as const) {
      const { message, headers } = await grpc.call(sendMessage, asRpc(request), metadata);
      expect(headers.get("idempotent-replayed")).toEqual(["true"]);
      expect(documented(message.data as Message)).toEqual(first.body.data);
    }
    expect(messagesTo(to)).toBe(1);
  });

  it("repeats the first answer of an RPC in the JSON transport", async () => {
    const [key, to] = [freshKey(), freshRecipient()];
    const first = await grpc.call(sendMessage, asRpc(body(to, { request_id: key })));
    expect(first.headers.get("idempotent-replayed")).toEqual([]);
    const replay = await server.json("POST", POOL, body(to), keyed(key));
    expect(replay.headers.get("idempotent-replayed")).toBe("true");
    expect(replay.body.data).toEqual(documented(first.message.data as Message));
  });

  it("is refused with other content in JSON and gRPC", async () => {
    const [key, to] = [freshKey(), freshRecipient()];
    await server.json("POST", POOL, body(to), keyed(key));
    for (const other of [{ text: "Twice" }, { to: freshRecipient() }, { encoding: "ucs2" }, { auto_detect: true }]) {
      const json = await server.json("POST", POOL, body(to, other), keyed(key));
      const refusal = await grpcRefusalOf(grpc.call(sendMessage, asRpc(body(to, { ...other, request_id: key }))));
      expect([json.status, refusal.code]).toEqual([422, INVALID_ARGUMENT]);
      expect(refusalByJson(json)).toMatchObject({ reason: "IDEMPOTENCY_KEY_REUSED", code: "10027" });
      expect(refusalByGrpc(refusal)).toEqual(refusalByJson(json));
    }
    expect(messagesTo(to)).toBe(1);
  });

  it("is refused when header and request_id differ", async () => {
    const to = freshRecipient();
    const json = await server.json("POST", POOL, body(to, { request_id: freshKey() }), keyed(freshKey()));
    const request = asRpc(body(to, { request_id: freshKey() }));
    const refusal = await grpcRefusalOf(grpc.call(sendMessage, request, keyed(freshKey())));
    expect([json.status, refusal.code]).toEqual([422, INVALID_ARGUMENT]);
    expect(refusalByJson(json)).toMatchObject({ reason: "IDEMPOTENCY_KEY_REUSED", pointer: "/request_id" });
    expect(refusalByGrpc(refusal)).toEqual(refusalByJson(json));
    expect(messagesTo(to)).toBe(0);
  });

  it.each([
    ["empty", ""],
    ["256 characters long", "k".repeat(256)],
    ["two words", "two words"],
    ["not ASCII", "schlüssel"],
    ["a control character", "tab\there"],
  ])("is refused when it is %s", async (_name, key) => {
    const to = freshRecipient();
    const inBody = await server.json("POST", POOL, body(to, { request_id: key }));
    const refusal = await grpcRefusalOf(grpc.call(sendMessage, asRpc(body(to, { request_id: key }))));
    expect([inBody.status, refusal.code]).toEqual([400, INVALID_ARGUMENT]);
    expect(refusalByJson(inBody)).toMatchObject({ reason: "BAD_REQUEST", code: "10015", pointer: "/request_id" });
    expect(refusalByGrpc(refusal)).toEqual(refusalByJson(inBody));
    expect((await server.json("POST", POOL, body(to), keyed(key))).status).toBe(400);
    expect(messagesTo(to)).toBe(0);
  });

  it("may have 255 characters of any visible ASCII", async () => {
    const key = `!"#$%&'()*+,-./:;<=>?@[]^_\`{|}~${"k".repeat(255)}`.slice(0, 255);
    const to = freshRecipient();
    const first = await server.json("POST", POOL, body(to), keyed(key));
    expect(first.status).toBe(200);
    const { message } = await grpc.call(sendMessage, asRpc(body(to, { request_id: key })));
    expect(message.data?.id).toBe(first.body.data.id);
  });

  it("makes one message of 50 equal sends that arrive at once through JSON and gRPC", async () => {
    const [key, to] = [freshKey(), freshRecipient()];
    const twins = Array.from({ length: 50 }, async (_, index) => {
      if (index % 2 === 0) {
        const answer = await server.json("POST", POOL, body(to), keyed(key));
        return { id: answer.body.data?.id, replayed: answer.headers.get("idempotent-replayed") === "true" };
      }
      const answer = await grpc.call(sendMessage, asRpc(body(to, { request_id: key })));
      return { id: answer.message.data?.id, replayed: answer.headers.get("idempotent-replayed")[0] === "true" };
    });
    const answers = await Promise.all(twins);
    expect(new Set(answers.map(({ id }) => id)).size).toBe(1);
    expect(answers.filter(({ replayed }) => !replayed)).toHaveLength(1);
    expect(messagesTo(to)).toBe(1);
  });

  it("belongs to its method", async () => {
    const [key, to] = [freshKey(), freshRecipient()];
    const pooled = await server.json("POST", POOL, body(to), keyed(key));
    const created = await server.json("POST", "/v2/messages", body(to), keyed(key));
    expect([pooled.status, created.status]).toEqual([200, 200]);
    expect(created.body.data.id).not.toBe(pooled.body.data.id);
  });

  it("of a refused send can be used again", async () => {
    const [key, to] = [freshKey(), freshRecipient()];
    await server.json("PATCH", `/v2/messaging_profiles/${profileId}`, { enabled: false });
    const refused = await server.json("POST", POOL, body(to), keyed(key));
    const refusal = await grpcRefusalOf(grpc.call(sendMessage, asRpc(body(to, { request_id: key }))));
    await server.json("PATCH", `/v2/messaging_profiles/${profileId}`, { enabled: true });
    expect([refused.status, refusal.info?.reason]).toEqual([409, "PROFILE_DISABLED"]);
    const accepted = await server.json("POST", POOL, body(to), keyed(key));
    expect(accepted.status).toBe(200);
    expect(accepted.headers.get("idempotent-replayed")).toBeNull();
    const other = await server.json("POST", POOL, body(to, { text: "Other" }), keyed(key));
    expect(other.status).toBe(422);
  });

  it("repeats all results of a batch if one item was accepted", async () => {
    const [key, to] = [freshKey(), freshRecipient()];
    const messages = [body(to), body("nobody"), body(to, { text: "Second" })];
    const first = await server.json("POST", BATCH, { messages }, keyed(key));
    const replay = await server.json("POST", BATCH, { messages, request_id: key });
    expect(replay.headers.get("idempotent-replayed")).toBe("true");
    expect(replay.body).toEqual(first.body);
    const rpc = await grpc.call(sendMessages, { messages: messages.map(asRpc), requestId: key });
    expect(rpc.headers.get("idempotent-replayed")).toEqual(["true"]);
    expect(rpc.message.data.map((result) => either(result).message?.id ?? null)).toEqual(
      first.body.data.map((result: { message: { id: string } | null }) => result.message?.id ?? null),
    );
    const other = await server.json("POST", BATCH, { messages: messages.slice(1) }, keyed(key));
    expect(other.status).toBe(422);
    expect(messagesTo(to)).toBe(2);

    const [nothing, hopeless] = [freshKey(), [body("nobody")]];
    for (let count = 0; count < 2; count += 1) {
      const refused = await server.json("POST", BATCH, { messages: hopeless }, keyed(nothing));
      expect([refused.status, refused.headers.get("idempotent-replayed")]).toEqual([200, null]);
    }
    expect((await server.json("POST", BATCH, { messages: [body(to)] }, keyed(nothing))).status).toBe(200);
  });
});

describe("the outcome of a message", () => {
  const { cancelMessage, listMessageEvents } = PoolSendService.method;
  const { reportReceipt } = CarrierReportService.method;
  const RECEIPTS = "/v2/carriers/sandbox/receipts";
  const SILENT = "+13125550103";

  /** A refusal of JSON and gRPC, which must be the same. */
  async function refusedAlike(json: JsonAnswer, calling: Promise<unknown>, status: number, rpcCode: number) {
    const refusal = await grpcRefusalOf(calling);
    expect([json.status, refusal.code]).toEqual([status, rpcCode]);
    expect(refusalByGrpc(refusal)).toEqual(refusalByJson(json));
    return refusalByJson(json).reason;
  }

  it("is scheduled alike in JSON and gRPC, with a sender only if named", async () => {
    const { profileId, numbers } = await makePool(server);
    const send_at = new Date(Date.now() + 3_600_000).toISOString();
    const json = { messaging_profile_id: profileId, to: TO, text: "Later", send_at };
    for (const [path, method, fields] of [
      [POOL, sendMessage, {}],
      ["/v2/messages", createMessage, {}],
      ["/v2/messages", createMessage, { from: numbers[0] }],
    ] as const) {
      const overJson = await server.json("POST", path, { ...json, ...fields });
      const overGrpc = await grpc.call(method as typeof sendMessage, asRpc({ ...json, ...fields }));
      const message = documented(overGrpc.message.data as Message);
      expect(inGeneral(overJson.body.data)).toEqual(inGeneral(message));
      expect(message).toMatchObject({ send_at, decision: null, to: [{ status: "scheduled" }] });
      expect(message.from?.phone_number).toBe("from" in fields ? numbers[0] : undefined);
      expect((await server.json("GET", `/v2/messages/${message.id}`)).body.data).toEqual(message);
    }
  });

  it("is cancelled alike in JSON and gRPC, and by either for the other", async () => {
    const { profileId } = await makePool(server, { number: { segments_per_second: 0.001 } });
    const send = { messaging_profile_id: profileId, to: TO, text: "Waiting" };
    const send_at = new Date(Date.now() + 3_600_000).toISOString();
    const left = await server.json("POST", POOL, send);
    for (const fields of [{}, { send_at }]) {
      const ids: string[] = [];
      for (let count = 0; count < 2; count += 1) {
        ids.push((await server.json("POST", POOL, { ...send, ...fields })).body.data.id);
      }
      const [first, second] = ids as [string, string];
      const byJson = await server.json("DELETE", `/v2/messages/${first}`);
      const byGrpc = await grpc.call(cancelMessage, { id: second });
      const asJson = documented(byGrpc.message.data as Message);
      expect(asJson.to[0]?.status).toBe("cancelled");
      const own = { id: "", received_at: "", completed_at: "", wait_seconds: 0 };
      expect({ ...byJson.body, ...own }).toEqual({ ...asJson, ...own });
      expect((await server.json("DELETE", `/v2/messages/${second}`)).body).toEqual(asJson);
      const again = await grpc.call(cancelMessage, { id: first });
      expect(documented(again.message.data as Message)).toEqual(byJson.body);
    }
    const { id } = left.body.data;
    await until(
      () => server.json("GET", `/v2/messages/${id}`),
      ({ body }) => body.data.to[0].status === "delivered",
    );
    for (const [named, status, rpcCode, reason] of [
      [id, 403, FAILED_PRECONDITION, "NOT_CANCELLABLE"],
      [UNKNOWN_ID, 404, NOT_FOUND, "NOT_FOUND"],
    ] as const) {
      const json = await server.json("DELETE", `/v2/messages/${named}`);
      expect(await refusedAlike(json, grpc.call(cancelMessage, { id: named }), status, rpcCode)).toBe(reason);
    }
  });

  it("is reported and listed alike in JSON and gRPC", async () => {
    const { profileId } = await makePool(server);
    const send = { messaging_profile_id: profileId, to: SILENT, text: "Silence" };
    const { id } = (await server.json("POST", POOL, send)).body.data;
    const events = () => server.json("GET", `/v2/messages/${id}/events`);
    const { body } = await until(events, (answer) => answer.body.data.length === 3);
    const carrierMessageId: string = body.data[2].carrier_message_id;
    const receipt = { carrier_message_id: carrierMessageId, status: "failed", carrier_code: "40002" };
    const overJson = await server.json("POST", RECEIPTS, receipt);
    const request = { carrier: "sandbox", carrierMessageId, status: ReceiptStatus.FAILED, carrierCode: "40002" };
    const overGrpc = await grpc.call(reportReceipt, request);
    expect([overJson.body, overGrpc.message.data?.messageId]).toEqual([{ data: { message_id: id } }, id]);

    const listed = (await events()).body;
    const { message } = await grpc.call(listMessageEvents, { id });
    expect(listed.data).toEqual(message.data.map(documentedEvent));
    expect(listed.data.map(({ type }: { type: string }) => type)).toEqual([
      "accepted",
      "sending",
      "submitted",
      "receipt",
      "receipt",
    ]);
    const byPage = await server.json("GET", `/v2/messages/${id}/events?page[size]=3`);
    const next = byPage.body.meta.next as string;
    const rest = await grpc.call(listMessageEvents, { id, page: { size: 3, after: next } });
    expect([...byPage.body.data, ...rest.message.data.map(documentedEvent)]).toEqual(listed.data);
    expect(rest.message.meta?.next).toBeUndefined();
  });

  it("is refused alike in JSON and gRPC when reported or listed", async () => {
    const { profileId } = await makePool(server);
    const send = { messaging_profile_id: profileId, to: TO, text: "Hello" };
    const { id } = (await server.json("POST", POOL, send)).body.data;
    const unknown = await server.json("GET", `/v2/messages/${UNKNOWN_ID}/events`);
    await refusedAlike(unknown, grpc.call(listMessageEvents, { id: UNKNOWN_ID }), 404, NOT_FOUND);
    for (const [query, page, reason] of [
      ["page[after]=nothing", { after: "nothing" }, "INVALID_FILTER"],
      ["page[size]=251", { size: 251 }, "OUT_OF_RANGE"],
    ] as const) {
      const { status, body } = await server.json("GET", `/v2/messages/${id}/events?${query}`);
      const refusal = await grpcRefusalOf(grpc.call(listMessageEvents, { id, page }));
      const [{ detail, meta }] = body.errors;
      expect([status, refusal.code, meta.reason, refusal.info?.reason]).toEqual([
        400,
        INVALID_ARGUMENT,
        reason,
        reason,
      ]);
      expect(refusal.details).toBe(detail);
    }
    const good = { carrier: "sandbox", carrierMessageId: "7f", status: ReceiptStatus.DELIVERED };
    const asJson = { carrier_message_id: "7f", status: "delivered" };
    for (const [json, rpc, status, rpcCode] of [
      [{ carrier_message_id: null }, { carrierMessageId: undefined }, 400, INVALID_ARGUMENT],
      [{ carrier_message_id: "7".repeat(257) }, { carrierMessageId: "7".repeat(257) }, 400, INVALID_ARGUMENT],
      [{ status: null }, { status: ReceiptStatus.UNSPECIFIED }, 400, INVALID_ARGUMENT],
      [{ carrier_code: "4".repeat(65) }, { carrierCode: "4".repeat(65) }, 400, INVALID_ARGUMENT],
    ] as const) {
      const refused = await server.json("POST", RECEIPTS, { ...asJson, ...json });
      await refusedAlike(refused, grpc.call(reportReceipt, { ...good, ...rpc }), status, rpcCode);
    }
    const nobody = await server.json("POST", "/v2/carriers/nobody/receipts", asJson);
    await refusedAlike(nobody, grpc.call(reportReceipt, { ...good, carrier: "nobody" }), 404, NOT_FOUND);
  });
});

describe("an unimplemented method", () => {
  it("is UNIMPLEMENTED and 501: webhook deliveries", async () => {
    const refusal = await grpcRefusalOf(grpc.call(WebhookDeliveryService.method.listWebhookDeliveries, {}));
    const json = await server.json("GET", "/v2/webhook_deliveries");
    expect([refusal.code, json.status]).toEqual([UNIMPLEMENTED, 501]);
    expect(refusalByJson(json)).toMatchObject({ reason: "NOT_IMPLEMENTED", code: "10038" });
    expect(refusalByGrpc(refusal)).toEqual(refusalByJson(json));
  });

  it("is UNIMPLEMENTED: the stream of events", async () => {
    const refusal = await grpcRefusalOf(grpc.stream(PoolSendService.method.watchMessages, [{}]));
    expect([refusal.code, refusal.info?.reason]).toEqual([UNIMPLEMENTED, "NOT_IMPLEMENTED"]);
  });

  it("is UNIMPLEMENTED: an unknown method", async () => {
    const authorization = { authorization: `Bearer ${API_KEY}` };
    const calling = grpc.callBytes("/numberpool.v1.PoolSendService/Nothing", new Uint8Array(), authorization);
    expect((await grpcRefusalOf(calling)).code).toBe(UNIMPLEMENTED);
  });
});

describe("a time that does not exist", () => {
  it.each([-5, 1_000_000_000, 2_147_483_647])("is refused by gRPC too, which can say %d nanoseconds", async (nanos) => {
    const { profileId } = await makePool(server);
    const seconds = BigInt(Math.ceil(Date.now() / 1000)) + 600n;
    const sendAt = { $typeName: "google.protobuf.Timestamp", seconds, nanos } as const;
    const send = { messagingProfileId: profileId, to: TO, text: "Never", sendAt };
    await expect(grpc.call(sendMessage, send)).rejects.toThrow("send_at must be a time");
  });
});
