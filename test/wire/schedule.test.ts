import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import Telnyx, { NotFoundError, PermissionDeniedError } from "telnyx";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MessageStatus } from "../../gen/numberpool/v1/message_pb.ts";
import { PoolSendService } from "../../gen/numberpool/v1/pool_send_service_pb.ts";
import { API_KEY, type JsonAnswer, startServer, type TestServer, temporaryFolder } from "../server.ts";
import { createGrpcClient, type GrpcClient, GrpcRefusal } from "./grpc-client.ts";
import { freshNumber, makePool, until } from "./pools.ts";

const POOL = "/v2/messages/number_pool";
const UNKNOWN_ID = "01900000-0000-7000-8000-000000000000";
const TO = "+13125550100";
const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
const VALIDITY = 4 * 60 * MINUTE;
/** gRPC's codes, by name. */
const INVALID_ARGUMENT = 3;
const NOT_FOUND = 5;
const FAILED_PRECONDITION = 9;

const { sendMessage, createMessage, cancelMessage } = PoolSendService.method;
const folder = temporaryFolder();
let server: TestServer;
let grpc: GrpcClient;
let client: Telnyx;

beforeAll(async () => {
  server = await startServer({ database: `${folder.path}/numberpool.db` });
  grpc = createGrpcClient(server.grpc, API_KEY);
  client = new Telnyx({ apiKey: API_KEY, baseURL: `${server.url}/v2`, maxRetries: 0 });
});

afterAll(async () => {
  grpc.close();
  expect(await server.stop()).toBe(0);
  folder.remove();
});

const ahead = (milliseconds: number) => new Date(Date.now() + milliseconds).toISOString();
const read = async (id: string) => (await server.json("GET", `/v2/messages/${id}`)).body.data;
const historyOf = async (id: string) => (await server.json("GET", `/v2/messages/${id}/events`)).body.data;
const cancel = (id: string) => server.json("DELETE", `/v2/messages/${id}`);

/** A call that must succeed; gives `data`. */
async function done(calling: Promise<JsonAnswer>) {
  const { status, body } = await calling;
  expect([status, body.errors]).toEqual([200, undefined]);
  return body.data;
}

/** Schedules a message in ten minutes, and gives it as accepted. */
function schedule(profileId: string, fields: object = {}, path = "/v2/messages") {
  const body = { messaging_profile_id: profileId, to: TO, text: "Later", send_at: ahead(10 * MINUTE), ...fields };
  return done(server.json("POST", path, body));
}

/** A refusal's content. */
function summaryOf({ status, body }: JsonAnswer) {
  const [{ code, source, meta }] = body.errors;
  return { status, code, reason: meta.reason, pointer: source?.pointer };
}

async function refusalOf(calling: PromiseLike<unknown>): Promise<unknown> {
  return calling.then(
    () => expect.fail("the call was not refused"),
    (error) => error,
  );
}

/** A pool whose numbers send their first part at once, and the next one after 1,000 seconds. */
const slowPool = (profile: object = {}) => makePool(server, { number: { segments_per_second: 0.001 }, profile });

describe("a scheduled send", () => {
  it.each(["/v2/messages", POOL])("to %s is accepted without a sender, and echoes its time", async (path) => {
    const { profileId } = await makePool(server);
    const send_at = ahead(10 * MINUTE);
    const sent = await schedule(profileId, { send_at }, path);
    expect(sent).toMatchObject({
      from: null,
      decision: null,
      wait_seconds: null,
      send_at,
      sent_at: null,
      completed_at: null,
      valid_until: new Date(Date.parse(send_at) + VALIDITY).toISOString(),
      errors: [],
    });
    expect(sent.to).toEqual([{ phone_number: TO, status: "scheduled", carrier: "", line_type: "" }]);
    expect(await read(sent.id)).toEqual(sent);
    expect(await historyOf(sent.id)).toEqual([
      expect.objectContaining({ type: "accepted", status: "scheduled", occurred_at: sent.received_at }),
    ]);
    const list = await done(server.json("GET", `/v2/messages?filter[status]=scheduled`));
    expect(list.map(({ id }: { id: string }) => id)).toContain(sent.id);
  });

  it("is the same by gRPC, through the pool and without", async () => {
    const { profileId } = await makePool(server);
    const at = Date.now() + 10 * MINUTE;
    const text = { messagingProfileId: profileId, to: TO, text: "Later", sendAt: timestampFromMs(at) };
    for (const { message } of [await grpc.call(sendMessage, text), await grpc.call(createMessage, text)]) {
      const data = message.data as NonNullable<typeof message.data>;
      expect([data.to[0]?.status, data.from, data.decision]).toEqual([MessageStatus.SCHEDULED, undefined, undefined]);
      expect([data.sendAt, data.validUntil].map((time) => time && timestampMs(time))).toEqual([at, at + VALIDITY]);
      expect((await read(data.id)).send_at).toBe(new Date(at).toISOString());
    }
  });

  it("is the same by the official client", async () => {
    const { profileId } = await makePool(server);
    const send_at = ahead(DAY);
    const { data } = await client.messages.send({ messaging_profile_id: profileId, to: TO, text: "Later", send_at });
    expect(data).toMatchObject({ to: [{ status: "scheduled" }], send_at });
  });

  it("accepts any offset, five minutes to five days ahead, and null or absence for now", async () => {
    const { profileId } = await makePool(server);
    const at = Date.now() + 60 * MINUTE;
    const inBerlin = `${new Date(at + 60 * MINUTE).toISOString().slice(0, -1)}+01:00`;
    expect((await schedule(profileId, { send_at: inBerlin })).send_at).toBe(new Date(at).toISOString());
    for (const span of [5 * MINUTE + 10_000, 5 * DAY - MINUTE]) {
      expect((await schedule(profileId, { send_at: ahead(span) }, POOL)).to[0].status).toBe("scheduled");
    }
    for (const path of ["/v2/messages", POOL]) {
      const now = await schedule(profileId, { send_at: null }, path);
      expect(now).toMatchObject({ send_at: null, from: expect.anything(), decision: expect.anything() });
      expect(now.to[0].status).not.toBe("scheduled");
    }
  });

  it.each([
    ["four minutes ahead", 4 * MINUTE],
    ["six days ahead", 6 * DAY],
    ["now", 0],
    ["in the past", -DAY],
    ["in 1970", -Date.now()],
  ])("is refused in every transport when it is %s", async (_name, span) => {
    const { profileId } = await makePool(server);
    const body = { messaging_profile_id: profileId, to: TO, text: "Never", send_at: ahead(span) };
    const refused = { status: 400, code: "10033", reason: "OUT_OF_RANGE", pointer: "/send_at" };
    for (const path of ["/v2/messages", POOL])
      expect(summaryOf(await server.json("POST", path, body))).toEqual(refused);
    const text = { messagingProfileId: profileId, to: TO, text: "Never", sendAt: timestampFromMs(Date.now() + span) };
    for (const method of [sendMessage, createMessage] as const) {
      const refusal = (await refusalOf(grpc.call(method as typeof sendMessage, text))) as GrpcRefusal;
      expect([refusal.code, refusal.info?.reason, refusal.fields]).toEqual([
        INVALID_ARGUMENT,
        "OUT_OF_RANGE",
        ["send_at"],
      ]);
    }
    expect((await done(server.json("GET", `/v2/messages?filter[messaging_profile_id]=${profileId}`))).length).toBe(0);
  });

  it("is refused when its time is malformed", async () => {
    const { profileId } = await makePool(server);
    for (const send_at of ["tomorrow", "2030-01-31", "2030-13-01T00:00:00Z", "", 1_900_000_000, true, {}, []]) {
      const body = { messaging_profile_id: profileId, to: TO, text: "Never", send_at };
      for (const path of ["/v2/messages", POOL]) {
        const { status, pointer } = summaryOf(await server.json("POST", path, body));
        expect([send_at, status, pointer]).toEqual([send_at, 400, "/send_at"]);
      }
    }
  });

  it("may be in a batch beside others, each with its own result", async () => {
    const { profileId } = await makePool(server);
    const item = { messaging_profile_id: profileId, to: TO, text: "Batched" };
    const send_at = ahead(DAY);
    const messages = [{ ...item, send_at }, { ...item, send_at: ahead(MINUTE) }, item];
    const [later, refused, now] = await done(server.json("POST", `${POOL}/batch`, { messages }));
    expect(later.message).toMatchObject({ from: null, send_at, to: [{ status: "scheduled" }] });
    expect(refused).toMatchObject({ message: null, error: { reason: "OUT_OF_RANGE", pointer: "/send_at" } });
    expect(now.message).toMatchObject({ send_at: null, to: [{ status: "queued" }] });
  });

  it("keeps a named sender, and is refused at once when the profile does not have that number", async () => {
    const { profileId, numbers } = await makePool(server, { long: 2 });
    const [from] = numbers;
    const sent = await schedule(profileId, { from });
    expect(sent).toMatchObject({ from: { phone_number: from, carrier: "sandbox" }, decision: null });
    const body = { messaging_profile_id: profileId, from: freshNumber(), to: TO, text: "Whose?", send_at: ahead(DAY) };
    const refused = { status: 400, code: "40305", reason: "INVALID_FROM", pointer: "/from" };
    expect(summaryOf(await server.json("POST", "/v2/messages", body))).toEqual(refused);
    const toItself = { ...body, from, to: from };
    expect(summaryOf(await server.json("POST", "/v2/messages", toItself))).toMatchObject({
      code: "40310",
      pointer: "/to",
    });
  });

  it("is refused at once for errors known by then: an opt-out, a disabled profile, the content", async () => {
    const { profileId } = await makePool(server);
    const body = { messaging_profile_id: profileId, to: "+13125560191", text: "Never", send_at: ahead(DAY) };
    await done(server.json("POST", "/v2/messaging_optouts", { messaging_profile_id: profileId, to: body.to }));
    for (const path of ["/v2/messages", POOL]) {
      expect(summaryOf(await server.json("POST", path, body))).toMatchObject({ status: 400, code: "40300" });
    }
    expect(summaryOf(await server.json("POST", POOL, { ...body, text: "" }))).toMatchObject({ code: "40316" });
    expect(summaryOf(await server.json("POST", POOL, { ...body, to: "nobody" }))).toMatchObject({ code: "40310" });
    await done(server.json("PATCH", `/v2/messaging_profiles/${profileId}`, { enabled: false }));
    expect(summaryOf(await server.json("POST", POOL, { ...body, to: TO }))).toMatchObject({
      status: 409,
      code: "40312",
    });
  });

  it("is one message however often it is repeated with its key, or by the official client", async () => {
    const { profileId } = await makePool(server);
    const body = { messaging_profile_id: profileId, to: TO, text: "Once", send_at: ahead(DAY) };
    for (const path of ["/v2/messages", POOL]) {
      const key = { "idempotency-key": `scheduled ${path}`.replace(" ", "-") };
      const first = await server.json("POST", path, body, key);
      const second = await server.json("POST", path, body, key);
      expect([second.status, second.headers.get("idempotent-replayed")]).toEqual([200, "true"]);
      expect(second.body).toEqual(first.body);
      expect((await server.json("POST", path, { ...body, send_at: ahead(2 * DAY) }, key)).status).toBe(422);
    }
    const repeat = (count: number) => ({ "x-stainless-retry-count": String(count) });
    const [first, second] = [
      await done(server.json("POST", "/v2/messages", body, repeat(0))),
      await done(server.json("POST", "/v2/messages", body, repeat(1))),
    ];
    expect(second).toEqual(first);
  });
});

describe("a cancelled message", () => {
  const cancelled = { to: [{ status: "cancelled" }], completed_at: expect.any(String), sent_at: null, errors: [] };

  it("is returned bare, as documented, and again when cancelled twice", async () => {
    const { profileId } = await slowPool();
    await schedule(profileId, { send_at: null });
    const waiting = [await schedule(profileId), await schedule(profileId, { send_at: null })];
    for (const each of waiting) {
      const first = await cancel(each.id);
      expect(first.status).toBe(200);
      expect(first.body.data).toBeUndefined();
      expect(first.body).toMatchObject({ record_type: "message", id: each.id, send_at: each.send_at, ...cancelled });
      expect(first.body).toMatchObject({ from: each.from, decision: each.decision, valid_until: null });
      expect((await cancel(each.id)).body).toEqual(first.body);
      expect(await read(each.id)).toEqual(first.body);
      expect((await historyOf(each.id)).map(({ type }: { type: string }) => type)).toEqual(["accepted", "cancelled"]);
    }
  });

  it("is cancelled by gRPC and by the official client, scheduled and queued", async () => {
    const { profileId } = await slowPool();
    await schedule(profileId, { send_at: null });
    for (const send_at of [ahead(DAY), null]) {
      const { id } = await schedule(profileId, { send_at });
      const { message } = await grpc.call(cancelMessage, { id });
      expect([message.data?.id, message.data?.to[0]?.status]).toEqual([id, MessageStatus.CANCELLED]);
      const again = await grpc.call(cancelMessage, { id });
      expect(again.message).toEqual(message);
    }
    for (const send_at of [ahead(DAY), null]) {
      const { id } = await schedule(profileId, { send_at });
      const answer = await client.messages.cancelScheduled(id);
      expect(answer).toMatchObject({ id, record_type: "message", ...cancelled });
      expect(await client.messages.cancelScheduled(id)).toEqual(answer);
    }
  });

  it("makes room in a full queue", async () => {
    const { profileId } = await slowPool();
    const body = { messaging_profile_id: profileId, to: TO, text: "Fill" };
    const waiting: string[] = [];
    let last = await server.json("POST", POOL, body);
    for (; last.status === 200 && waiting.length < 20; last = await server.json("POST", POOL, body)) {
      waiting.push(last.body.data.id);
    }
    expect(summaryOf(last)).toMatchObject({ status: 429, code: "40318" });
    expect(waiting.length).toBeGreaterThan(5);
    expect((await cancel(waiting.at(-1) as string)).status).toBe(200);
    expect((await server.json("POST", POOL, body)).status).toBe(200);
    expect(summaryOf(await server.json("POST", POOL, body))).toMatchObject({ status: 429, code: "40318" });
  });

  it("must be queued and known: 403 and 404 in every transport otherwise", async () => {
    const { profileId } = await makePool(server);
    const { id } = await schedule(profileId, { send_at: null });
    const sent = await until(
      () => read(id),
      ({ to }) => to[0].status === "delivered",
    );
    const tooLate = await cancel(id);
    expect(summaryOf(tooLate)).toMatchObject({ status: 403, reason: "NOT_CANCELLABLE", code: "10010" });
    expect(tooLate.body.errors[0].detail).toContain("delivered");
    const late = (await refusalOf(grpc.call(cancelMessage, { id }))) as GrpcRefusal;
    expect([late.code, late.info?.reason]).toEqual([FAILED_PRECONDITION, "NOT_CANCELLABLE"]);
    expect(await refusalOf(client.messages.cancelScheduled(id))).toBeInstanceOf(PermissionDeniedError);
    expect(await read(id)).toEqual(sent);

    for (const unknown of [UNKNOWN_ID, "nothing"]) {
      expect(summaryOf(await cancel(unknown))).toMatchObject({ status: 404, code: "10005" });
      const refusal = (await refusalOf(grpc.call(cancelMessage, { id: unknown }))) as GrpcRefusal;
      expect(refusal).toBeInstanceOf(GrpcRefusal);
      expect([refusal.code, refusal.info?.reason]).toEqual([NOT_FOUND, "NOT_FOUND"]);
      expect(await refusalOf(client.messages.cancelScheduled(unknown))).toBeInstanceOf(NotFoundError);
    }
  });
});
