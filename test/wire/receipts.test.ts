import { writeFileSync } from "node:fs";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import Database from "better-sqlite3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CarrierReportService, ReceiptStatus } from "../../gen/numberpool/v1/carrier_report_service_pb.ts";
import { API_KEY, type JsonAnswer, startServer, type TestServer, temporaryFolder } from "../server.ts";
import { type MadeKey, makeKey } from "../transport/program.ts";
import { createGrpcClient, type GrpcClient, GrpcRefusal } from "./grpc-client.ts";
import { makePool, until } from "./pools.ts";

const RECEIPTS = "/v2/carriers/sandbox/receipts";
const UNKNOWN_ID = "01900000-0000-7000-8000-000000000000";
/** The sandbox accepts messages to this number, and never sends a receipt. */
const SILENT = "+13125550103";
const { reportReceipt } = CarrierReportService.method;

const folder = temporaryFolder();
let server: TestServer;
let grpc: GrpcClient;
let other: MadeKey;

beforeAll(async () => {
  server = await startServer({ database: `${folder.path}/numberpool.db` });
  grpc = createGrpcClient(server.grpc, API_KEY);
  other = await makeKey(server, "other");
});

afterAll(async () => {
  grpc.close();
  expect(await server.stop()).toBe(0);
  folder.remove();
});

/** A call that must succeed; gives `data`. */
async function done(calling: Promise<JsonAnswer>) {
  const { status, body } = await calling;
  expect([status, body.errors]).toEqual([200, undefined]);
  return body.data;
}

const read = (id: string) => done(server.json("GET", `/v2/messages/${id}`));
const historyOf = (id: string) => done(server.json("GET", `/v2/messages/${id}/events?page[size]=250`));
const healthOf = async (number: string) => (await done(server.json("GET", `/v2/phone_numbers/${number}`))).health;
const report = (body: object) => done(server.json("POST", RECEIPTS, body));

/** A refusal's content. */
function refusalOf({ status, body }: JsonAnswer) {
  const [{ code, source, meta }] = body.errors;
  return { status, code, reason: meta.reason, pointer: source?.pointer };
}

type Sent = {
  readonly id: string;
  readonly carrierMessageId: string;
  readonly number: string;
  readonly profileId: string;
};

/** A submitted message without a receipt, from its own number. */
async function send(): Promise<Sent> {
  const { profileId, numbers } = await makePool(server);
  const body = { messaging_profile_id: profileId, to: SILENT, text: "Did it arrive?" };
  const { id } = await done(server.json("POST", "/v2/messages/number_pool", body));
  const taken = (events: { type: string; carrier_message_id: string }[]) =>
    events.find(({ type }) => type === "submitted");
  const events = await until(
    () => historyOf(id),
    (each) => taken(each) !== undefined,
  );
  const carrierMessageId = taken(events)?.carrier_message_id as string;
  return { id, carrierMessageId, number: numbers[0] as string, profileId };
}

describe("a carrier that answers after submit_timeout_seconds", () => {
  const withSandbox = async (sandbox: object, run: (slow: TestServer) => Promise<void>) => {
    const files = temporaryFolder();
    const config = `${files.path}/numberpool.yaml`;
    writeFileSync(config, JSON.stringify({ carriers: { sandbox: { type: "sandbox", ...sandbox } } }));
    const args = ["--config", config, "--submit-timeout-seconds", "1"];
    const slow = await startServer({ database: `${files.path}/numberpool.db`, args });
    try {
      await run(slow);
      expect(await slow.stop()).toBe(0);
    } finally {
      await slow.kill();
      files.remove();
    }
  };

  it.each([
    ["delivered", {}, "+13125550100", "delivered", { message_count: 1, success_ratio: 1 }],
    ["blocked", {}, "+13125550102", "delivery_failed", { message_count: 1, success_ratio: 0, spam_ratio: 1 }],
    ["refused", {}, "+13125550105", "sending_failed", { message_count: 0 }],
  ])("a message that is %s ends so, and its number's health counts it", (_, more, to, status, health) =>
    withSandbox({ latency_milliseconds: 2_000, receipt_after_milliseconds: 100, ...more }, async (slow) => {
      const { profileId, numbers } = await makePool(slow);
      const body = { messaging_profile_id: profileId, to, text: "Late" };
      const { id } = await done(slow.json("POST", "/v2/messages/number_pool", body));
      const statusOf = async () => (await done(slow.json("GET", `/v2/messages/${id}`))).to[0].status;
      await until(statusOf, (now) => now === "delivery_unconfirmed");
      await until(statusOf, (now) => now === status);
      expect((await done(slow.json("GET", `/v2/phone_numbers/${numbers[0]}`))).health).toMatchObject(health);
      const history: { type: string; carrier_message_id: string | null }[] = await done(
        slow.json("GET", `/v2/messages/${id}/events`),
      );
      const submitted = history.filter(({ type }) => type === "submitted");
      if (status !== "sending_failed") expect(submitted).toMatchObject([{ carrier_message_id: `${id}-1` }]);
    }),
  );
});

describe("a reported receipt", () => {
  it("makes a message delivered", async () => {
    const { id, carrierMessageId, number } = await send();
    const before = await read(id);
    expect(before).toMatchObject({ to: [{ status: "sent" }], completed_at: null, sent_at: expect.any(String) });
    expect(await report({ carrier_message_id: carrierMessageId, status: "delivered" })).toEqual({ message_id: id });
    const after = await read(id);
    const completed_at = expect.any(String);
    expect(after).toEqual({ ...before, to: [{ ...before.to[0], status: "delivered" }], completed_at });
    expect(Date.parse(after.completed_at)).toBeGreaterThanOrEqual(Date.parse(after.sent_at));
    expect(await healthOf(number)).toMatchObject({ message_count: 1, success_ratio: 1 });
  });

  it.each([
    ["40001", "NOT_ROUTABLE", 0, 0],
    ["40002", "BLOCKED_AS_SPAM_TEMPORARY", 1, 1],
    ["40003", "BLOCKED_AS_SPAM_PERMANENT", 1, 1],
    ["40004", "REJECTED_BY_DESTINATION", 0, 0],
    ["40005", "EXPIRED_DURING_TRANSMISSION", 0, 0],
    ["40006", "RECIPIENT_SERVER_UNAVAILABLE", 0, 0],
    ["40008", "UNDELIVERABLE", 1, 0],
    ["40009", "INVALID_MESSAGE_BODY", 0, 0],
    ["40011", "CARRIER_TOO_MANY_REQUESTS", 0, 0],
    ["40012", "INVALID_MESSAGING_DESTINATION", 0, 0],
    ["40013", "INVALID_MESSAGING_SOURCE", 1, 0],
    ["EX-7", "UNDELIVERABLE", 1, 0],
    [undefined, "UNDELIVERABLE", 1, 0],
  ])("makes a message fail with %s as %s", async (carrier_code, reason, counted, spam) => {
    const { id, carrierMessageId, number } = await send();
    const receipt = { carrier_message_id: carrierMessageId, status: "failed", carrier_code };
    expect(await report(receipt)).toEqual({ message_id: id });
    const { to, errors } = await read(id);
    const code = carrier_code?.startsWith("4") ? carrier_code : "40008";
    expect([to[0].status, errors.length, errors[0].code, errors[0].reason]).toEqual([
      "delivery_failed",
      1,
      code,
      reason,
    ]);
    if (carrier_code !== undefined) expect(errors[0].detail).toContain(carrier_code);
    expect((await historyOf(id)).at(-1)).toMatchObject({
      type: "receipt",
      status: "delivery_failed",
      carrier_message_id: carrierMessageId,
      carrier_code: carrier_code ?? null,
      reason,
    });
    const health = { message_count: counted, success_ratio: counted === 0 ? 1 : 0, spam_ratio: spam };
    expect(await healthOf(number)).toMatchObject(health);
  });

  it("counts every one of 710 messages blocked with 40003 as spam", async () => {
    const { number, profileId } = await send();
    const sent = await Promise.all(
      Array.from({ length: 8 }, async (_, index) => {
        const batch = Array.from({ length: index === 7 ? 86 : 89 }, () => {
          return { messaging_profile_id: profileId, to: SILENT, text: "Blocked" };
        });
        const results = await done(server.json("POST", "/v2/messages/number_pool/batch", { messages: batch }));
        return results.map(({ message }: { message: { id: string } }) => message.id);
      }),
    );
    const ids: string[] = sent.flat();
    await until(
      async () => (await done(server.json("GET", `/v2/messages/${ids.at(-1)}`))).to[0].status,
      (status) => status === "sent",
    );
    for (const id of ids.slice(0, 709)) {
      const events = await until(
        () => historyOf(id),
        (each) => each.length > 2,
      );
      await report({ carrier_message_id: events[2].carrier_message_id, status: "failed", carrier_code: "40003" });
    }
    const health = { message_count: 709, spam_ratio: 1, healthy: false, unhealthy_reason: "spam" };
    expect(await healthOf(number)).toMatchObject(health);
  });

  it("does not count where the number's health was reset after the message was submitted", async () => {
    const { id, carrierMessageId, number } = await send();
    const reset = await done(server.json("POST", `/v2/phone_numbers/${number}/actions/reset_health`, {}));
    await report({ carrier_message_id: carrierMessageId, status: "failed", carrier_code: "40003" });
    expect((await read(id)).to[0].status).toBe("delivery_failed");
    expect(await healthOf(number)).toMatchObject({ message_count: 0, success_ratio: 1, spam_ratio: 0 });
    await report({ carrier_message_id: carrierMessageId, status: "delivered" });
    expect((await read(id)).to[0].status).toBe("delivered");
    expect(await done(server.json("GET", `/v2/phone_numbers/${number}`))).toEqual(reset);
  });

  it("reports buffered, before the next one", async () => {
    const { id, carrierMessageId, number } = await send();
    const receipt = { carrier_message_id: carrierMessageId, status: "buffered", carrier_code: "ACCEPTD" };
    expect(await report(receipt)).toEqual({ message_id: id });
    expect(await read(id)).toMatchObject({ to: [{ status: "sent" }], completed_at: null });
    expect((await historyOf(id)).at(-1)).toMatchObject({ type: "receipt", status: "sent", carrier_code: "ACCEPTD" });
    expect((await healthOf(number)).message_count).toBe(0);
    await report({ carrier_message_id: carrierMessageId, status: "delivered" });
    expect((await read(id)).to[0].status).toBe("delivered");
  });

  it("works over gRPC, and a repeat changes only the history", async () => {
    const { id, carrierMessageId, number } = await send();
    const receipt = { carrier: "sandbox", carrierMessageId, status: ReceiptStatus.FAILED, carrierCode: "40003" };
    expect((await grpc.call(reportReceipt, receipt)).message.data?.messageId).toBe(id);
    const first = await read(id);
    expect(first).toMatchObject({ to: [{ status: "delivery_failed" }], errors: [{ code: "40003" }] });
    expect((await grpc.call(reportReceipt, receipt)).message.data?.messageId).toBe(id);
    await report({ carrier_message_id: carrierMessageId, status: "failed", carrier_code: "40001" });
    expect(await read(id)).toEqual(first);
    expect((await healthOf(number)).message_count).toBe(1);
    const receipts = (await historyOf(id)).filter(({ type }: { type: string }) => type === "receipt");
    expect(receipts.map((each: { carrier_code: string }) => each.carrier_code)).toEqual(["40003", "40003", "40001"]);
  });

  it("corrects a weaker failure with its effect on health, and never a delivery", async () => {
    const { id, carrierMessageId, number } = await send();
    await report({ carrier_message_id: carrierMessageId, status: "failed", carrier_code: "40002" });
    expect(await healthOf(number)).toMatchObject({ message_count: 1, success_ratio: 0, spam_ratio: 1 });
    await report({ carrier_message_id: carrierMessageId, status: "delivered" });
    const corrected = await read(id);
    expect(corrected).toMatchObject({ to: [{ status: "delivered" }], errors: [] });
    expect(await healthOf(number)).toMatchObject({ message_count: 1, success_ratio: 1, spam_ratio: 0 });
    for (const status of ["failed", "buffered", "delivered"]) {
      expect(await report({ carrier_message_id: carrierMessageId, status })).toEqual({ message_id: id });
    }
    expect(await read(id)).toEqual(corrected);
    expect(await healthOf(number)).toMatchObject({ message_count: 1, success_ratio: 1, spam_ratio: 0 });
  });

  it("matches its message with spaces around the id", async () => {
    const { id, carrierMessageId } = await send();
    const receipt = { carrier_message_id: ` ${carrierMessageId} `, status: "delivered" };
    expect(await report(receipt)).toEqual({ message_id: id });
  });

  it("matches its message in another case of the id a moment later, unless its carrier's ids are case-sensitive", async () => {
    const files = temporaryFolder();
    const fresh = await startServer({ database: `${files.path}/numberpool.db` });
    try {
      const { profileId } = await makePool(fresh);
      const body = { messaging_profile_id: profileId, to: SILENT, text: "WHERE?" };
      const isSent = ({ to }: { to: { status: string }[] }) => to[0]?.status === "sent";
      const ids: string[] = [];
      for (const nth of [1, 2, 3]) {
        const { id } = await done(fresh.json("POST", "/v2/messages/number_pool", body));
        ids.push(`${id}-${nth}`);
        await until(() => done(fresh.json("GET", `/v2/messages/${id}`)), isSent);
      }
      const receive = (carrier_message_id = "") =>
        done(fresh.json("POST", RECEIPTS, { carrier_message_id, status: "delivered" }));
      const stored = (each = "") => done(fresh.json("GET", `/v2/messages/${each.slice(0, 36)}`));
      expect(await receive(ids[0]?.toUpperCase())).toEqual({ message_id: null });
      await until(
        () => stored(ids[0]),
        ({ to }) => to[0].status === "delivered",
      );
      const history = await done(fresh.json("GET", `/v2/messages/${ids[0]?.slice(0, 36)}/events`));
      expect(history.at(-1).carrier_message_id).toBe(ids[0]?.toUpperCase());
      expect(await receive(ids[1])).toEqual({ message_id: ids[1]?.slice(0, 36) });
      expect(await receive(ids[2]?.toUpperCase())).toEqual({ message_id: null });
      const database = new Database(fresh.database, { readonly: true });
      const examined = database.prepare("SELECT is_examined FROM unmatched_receipts").pluck();
      await until(
        async () => examined.all(),
        (all) => all.length === 1 && all[0] === 1,
      );
      database.close();
      expect(await stored(ids[2])).toMatchObject({ to: [{ status: "sent" }] });
      expect(await fresh.stop()).toBe(0);
    } finally {
      await fresh.kill();
      files.remove();
    }
  });

  it("has a time neither in the future nor before its message", async () => {
    for (const occurred_at of ["2100-01-01T00:00:00Z", "2001-01-01T00:00:00Z"]) {
      const { id, carrierMessageId } = await send();
      await report({ carrier_message_id: carrierMessageId, status: "delivered", occurred_at });
      const { received_at, completed_at } = await read(id);
      expect((await historyOf(id)).at(-1).occurred_at).toBe(completed_at);
      expect(Date.parse(completed_at)).toBeLessThanOrEqual(Date.now());
      expect(Date.parse(completed_at)).toBeGreaterThanOrEqual(Date.parse(received_at));
    }
    const { id, carrierMessageId } = await send();
    const occurredAt = timestampFromMs(Date.now() + 3_600_000);
    await grpc.call(reportReceipt, { carrier: "sandbox", carrierMessageId, status: 1, occurredAt });
    expect(Date.parse((await read(id)).completed_at)).toBeLessThanOrEqual(Date.now());
  });
});

describe("an unmatched receipt", () => {
  it("is accepted without a message id", async () => {
    expect(await report({ carrier_message_id: UNKNOWN_ID, status: "delivered" })).toEqual({ message_id: null });
    const receipt = { carrier: "sandbox", carrierMessageId: "0x7f", status: ReceiptStatus.BUFFERED };
    expect((await grpc.call(reportReceipt, receipt)).message.data?.messageId).toBeUndefined();
  });

  it("is stored, and matches the message whose submit later gets its id", { timeout: 90_000 }, async () => {
    const { profileId, number, carrierMessageId } = await send();
    await done(server.json("PATCH", `/v2/phone_numbers/${number}`, { segments_per_second: 1 }));
    const body = { messaging_profile_id: profileId, to: SILENT };
    const texts = ["x".repeat(3 * 153), "Not yet"];
    const [, waiting] = await Promise.all(
      texts.map((text) => done(server.json("POST", "/v2/messages/number_pool", { ...body, text }))),
    );
    await done(server.json("PATCH", `/v2/phone_numbers/${number}`, { state: "paused" }));
    expect((await read(waiting.id)).to[0].status).toBe("queued");
    // The sandbox numbers its ids.
    const next = Number(carrierMessageId.split("-").at(-1)) + 2;
    const early = {
      carrier_message_id: `${waiting.id}-${next}`,
      status: "failed",
      carrier_code: "40002",
    };
    expect(await report(early)).toEqual({ message_id: null });
    await done(server.json("PATCH", `/v2/phone_numbers/${number}`, { state: "active" }));
    const settled = await until(
      () => read(waiting.id),
      ({ to }) => to[0].status !== "queued" && to[0].status !== "sending",
      30_000,
    );
    expect(settled).toMatchObject({ to: [{ status: "delivery_failed" }], errors: [{ code: "40002" }] });
    const history = await historyOf(waiting.id);
    expect(history.map(({ type }: { type: string }) => type)).toEqual(["accepted", "sending", "submitted", "receipt"]);
    expect(await healthOf(number)).toMatchObject({ message_count: 1, spam_ratio: 1 });
  });

  it("is stored from its arrival, whatever the carrier's clock", async () => {
    const since = Date.now();
    await report({ carrier_message_id: "kept-long", status: "delivered", occurred_at: "2001-01-01T00:00:00Z" });
    const database = new Database(server.database, { readonly: true });
    const kept = database.prepare("SELECT received_at FROM unmatched_receipts WHERE carrier_message_key = ?").pluck();
    const receivedAt = kept.get("kept-long");
    database.close();
    expect(receivedAt).toBeGreaterThanOrEqual(since);
  });
});

describe("a refused receipt", () => {
  const good = { carrier_message_id: "7f", status: "delivered" };

  it.each([
    ["without an id", { carrier_message_id: undefined }, "MISSING_PARAMETER", "/carrier_message_id"],
    ["with an empty id", { carrier_message_id: " " }, "MISSING_PARAMETER", "/carrier_message_id"],
    ["with too long an id", { carrier_message_id: "7".repeat(257) }, "INVALID_LENGTH", "/carrier_message_id"],
    ["without a status", { status: undefined }, "MISSING_PARAMETER", "/status"],
    ["with a status of none", { status: null }, "MISSING_PARAMETER", "/status"],
    ["with an unknown status", { status: "read" }, "INVALID_ENUM", "/status"],
    ["with too long a code", { carrier_code: "4".repeat(65) }, "INVALID_LENGTH", "/carrier_code"],
    ["with a code that is no text", { carrier_code: 40_001 }, "INVALID_TYPE", "/carrier_code"],
    ["with a time that is none", { occurred_at: "yesterday" }, expect.any(String), "/occurred_at"],
  ])("%s is refused by its pointer", async (_name, fields, reason, pointer) => {
    const refused = refusalOf(await server.json("POST", RECEIPTS, { ...good, ...fields }));
    expect(refused).toMatchObject({ status: 400, reason, pointer });
  });

  it("may have an id of 256 characters and a code of 64", async () => {
    const longest = { carrier_message_id: "7".repeat(256), carrier_code: "4".repeat(64) };
    expect(await report({ ...longest, status: "failed" })).toEqual({ message_id: null });
  });

  it("by a carrier that is not configured, or a key without the scope report", async () => {
    for (const carrier of ["nobody", "Sandbox"]) {
      const refused = await server.json("POST", `/v2/carriers/${carrier}/receipts`, good);
      expect(refusalOf(refused)).toMatchObject({ status: 404, code: "10005" });
      expect(refused.body.errors[0].detail).toContain("sandbox");
    }
    const asked = grpc.call(reportReceipt, { carrier: "nobody", carrierMessageId: "7f", status: 1 });
    const refusal = await asked.then(
      () => undefined,
      (error) => error,
    );
    expect(refusal).toBeInstanceOf(GrpcRefusal);
    expect(refusal.info?.reason).toBe("NOT_FOUND");
    for (const scope of ["send", "read"]) {
      const { token } = await makeKey(server, "scoped", scope);
      const refused = await server.json("POST", RECEIPTS, good, { authorization: `Bearer ${token}` });
      expect(refusalOf(refused)).toMatchObject({ status: 403, reason: "PERMISSION_DENIED" });
    }
  });
});

describe("another organization's receipt", () => {
  it("changes nothing, and gets the response of an unmatched one", async () => {
    const { id, carrierMessageId, number } = await send();
    const before = [await read(id), await historyOf(id), await healthOf(number)];
    const answerTo = async (carrier_message_id: string) => {
      const body = { carrier_message_id, status: "failed", carrier_code: "40002" };
      const answer = await server.json("POST", RECEIPTS, body, { authorization: `Bearer ${other.token}` });
      const headers = [...answer.headers].filter(([name]) => name !== "date");
      return JSON.stringify([answer.status, headers, answer.body]);
    };
    const ofUnknown = await answerTo(`${UNKNOWN_ID}-1`);
    expect(await answerTo(carrierMessageId)).toBe(ofUnknown);
    expect(await answerTo(carrierMessageId)).toBe(ofUnknown);
    expect([await read(id), await historyOf(id), await healthOf(number)]).toEqual(before);
    expect(await report({ carrier_message_id: carrierMessageId, status: "delivered" })).toEqual({ message_id: id });
    expect((await read(id)).to[0].status).toBe("delivered");
    expect((await historyOf(id)).length).toBe(4);
  });
});

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

describe("a message's history", () => {
  it("is listed in order from the decision on, page by page", async () => {
    const { id, carrierMessageId, number } = await send();
    await report({ carrier_message_id: carrierMessageId, status: "buffered" });
    await report({ carrier_message_id: carrierMessageId, status: "delivered" });
    const message = await read(id);
    const history = await historyOf(id);
    expect(history).toEqual([
      {
        record_type: "message_event",
        id: expect.stringMatching(UUID_V7),
        message_id: id,
        type: "accepted",
        status: "queued",
        occurred_at: message.received_at,
        carrier_message_id: null,
        carrier_code: null,
        reason: null,
        detail: expect.stringMatching(/^\+\d+ was picked .*1 of 1 numbers were eligible\.$/),
        event_type: null,
      },
      expect.objectContaining({ type: "sending", status: "sending", event_type: null }),
      expect.objectContaining({ type: "submitted", status: "sent", event_type: "message.sent" }),
      expect.objectContaining({
        type: "receipt",
        status: "sent",
        carrier_message_id: carrierMessageId,
        event_type: null,
      }),
      expect.objectContaining({ type: "receipt", status: "delivered", event_type: "message.finalized" }),
    ]);
    expect(history[0].detail).toContain(number);
    const ids: string[] = history.map((event: { id: string }) => event.id);
    expect(new Set([...ids, id]).size).toBe(history.length + 1);
    for (const [index, each] of ids.entries()) {
      expect(each).toMatch(UUID_V7);
      expect(Number.parseInt(each.replaceAll("-", "").slice(0, 12), 16)).toBe(Date.parse(history[index].occurred_at));
    }
    expect((await historyOf(id)).map((event: { id: string }) => event.id)).toEqual(ids);

    for (const size of [1, 2, 3]) {
      const pages: unknown[][] = [];
      let after = "";
      do {
        const { status, body } = await server.json("GET", `/v2/messages/${id}/events?page[size]=${size}${after}`);
        expect(status).toBe(200);
        pages.push(body.data);
        after = body.meta.next === null ? "" : `&page[after]=${body.meta.next}`;
      } while (after !== "" && pages.length < 10);
      expect(pages.flat()).toEqual(history);
      expect(pages.map(({ length }) => length)).toEqual({ 1: [1, 1, 1, 1, 1], 2: [2, 2, 1], 3: [3, 2] }[size]);
    }
  });

  it("is private to its organization, and its pages follow its own cursors", async () => {
    const { id } = await send();
    const asked = [id, UNKNOWN_ID].map((each) =>
      server.json("GET", `/v2/messages/${each}/events`, undefined, { authorization: `Bearer ${other.token}` }),
    );
    const [foreign, unknown] = await Promise.all(asked);
    expect(refusalOf(foreign as JsonAnswer)).toMatchObject({ status: 404, code: "10005" });
    expect(foreign?.body).toEqual(unknown?.body);
    expect(refusalOf(await server.json("GET", `/v2/messages/${UNKNOWN_ID}/events`))).toMatchObject({ status: 404 });
    const cursors = ["x", "%21", "-1", "1e3", "0x1", " 1", "99999999999999999999", id];
    for (const cursor of ["nonsense!", ...cursors.map((text) => Buffer.from(text).toString("base64url"))]) {
      const path = `/v2/messages/${id}/events?page[after]=${encodeURIComponent(cursor)}`;
      expect([cursor, (await server.json("GET", path)).status]).toEqual([cursor, 400]);
    }
    for (const size of [0, -1, 251, "many"]) {
      expect((await server.json("GET", `/v2/messages/${id}/events?page[size]=${size}`)).status).toBe(400);
    }
  });
});
