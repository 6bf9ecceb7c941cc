import { context, ROOT_CONTEXT, trace } from "@opentelemetry/api";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { readConfig } from "../../src/config/read.ts";
import { compose, type Server } from "../../src/server/compose.ts";
import { rememberCall, runningCall, traceSubmit } from "../../src/telemetry/message-spans.ts";
import { API_KEY, temporaryFolder } from "../server.ts";
import { type EndedSpan, keepContexts, keepSpans } from "./spans.ts";

const folder = temporaryFolder();
let server: Server;
let url: string;
let ended: EndedSpan[];
let spanBefore: unknown;

beforeAll(async () => {
  // Contexts without a tracer provider: no SDK is loaded.
  keepContexts();
  spanBefore = context.with(trace.setSpanContext(ROOT_CONTEXT, SPAN_CONTEXT), runningCall);
  ended = keepSpans();
  const read = readConfig(
    {},
    {
      NUMBERPOOL_DATABASE: `${folder.path}/numberpool.db`,
      NUMBERPOOL_HTTP_ADDRESS: "127.0.0.1:0",
      NUMBERPOOL_GRPC_ADDRESS: "127.0.0.1:0",
      NUMBERPOOL_METRICS_ADDRESS: "127.0.0.1:0",
      NUMBERPOOL_API_KEY: API_KEY,
    },
  );
  if ("errors" in read) throw new Error(read.errors.join("\n"));
  server = await compose(read.config, pino({ level: "silent" }));
  url = `http://${(await server.start()).http}`;
});

afterAll(async () => {
  await server?.stop(1_000);
  folder.remove();
});

const SPAN_CONTEXT = { traceId: "1".repeat(32), spanId: "1".repeat(16), traceFlags: 1 };

// biome-ignore lint/suspicious/noExplicitAny: answers are looked into by tests that know their shape.
async function post(path: string, body: unknown): Promise<any> {
  const headers = { authorization: `Bearer ${API_KEY}`, "content-type": "application/json" };
  const answer = await fetch(url + path, { method: "POST", headers, body: JSON.stringify(body) });
  return ((await answer.json()) as { data: unknown }).data;
}

const spansOf = (name: string) => ended.filter((span) => span.name === name);

describe("The spans of a message", () => {
  let messageIds: string[];
  const calls = () => spansOf("numberpool.v1.PoolSendService/SendMessage");

  beforeAll(async () => {
    const settings = { long_code_weight: 1 };
    const profile = { name: "spans", whitelisted_destinations: ["*"], number_pool_settings: settings };
    const { id } = await post("/v2/messaging_profiles", profile);
    await post("/v2/phone_numbers", { phone_number: "+12125550110", messaging_profile_id: id });
    const send = (to: string) => post("/v2/messages/number_pool", { messaging_profile_id: id, to, text: "Hello" });
    messageIds = (await Promise.all([send("+13125550100"), send("+13125550101")])).map((message) => message.id);
    const reports = () => spansOf("numberpool.report").filter(({ links }) => links.length > 0);
    await vi.waitFor(() => expect(reports().length).toBeGreaterThanOrEqual(4), { timeout: 20_000, interval: 50 });
  });

  it("begin with the transactions that accepted it, which link to each call in them", () => {
    expect(calls()).toHaveLength(2);
    const accepts = spansOf("numberpool.accept");
    expect(accepts.flatMap(({ links }) => links).sort()).toEqual(
      calls()
        .map(({ spanId }) => spanId)
        .sort(),
    );
    for (const { links, attributes, events, parentSpanId } of accepts) {
      expect(attributes["numberpool.calls"]).toBe(links.length);
      expect(events).toEqual(["decided"]);
      expect(parentSpanId).toBeUndefined();
    }
  });

  it.each(["numberpool.submit", "numberpool.report"])(
    "go on with %s, which links to the call that accepted it",
    (name) => {
      const callOf = new Map<unknown, Set<string>>();
      for (const { attributes, links, parentSpanId } of spansOf(name)) {
        expect(parentSpanId).toBeUndefined();
        expect(attributes["numberpool.carrier"]).toBe("sandbox");
        expect(links).toHaveLength(1);
        const id = attributes["numberpool.message_id"];
        callOf.set(id, new Set([...(callOf.get(id) ?? []), ...links]));
      }
      expect([...callOf.keys()].sort()).toEqual(messageIds.toSorted());
      // Each message has one call, and no two have the same.
      expect([...callOf.values()].map(({ size }) => size)).toEqual([1, 1]);
      expect(new Set([...callOf.values()].flatMap((links) => [...links]))).toEqual(
        new Set(calls().map(({ spanId }) => spanId)),
      );
    },
  );

  it("tell a carrier's answers and receipts apart", () => {
    const kinds = spansOf("numberpool.report").map(({ attributes }) => attributes["numberpool.report"]);
    // The sandbox delivers to a recipient that ends in 00, and fails one that ends in 01.
    expect(kinds.toSorted()).toEqual(["accepted", "accepted", "delivered", "failed"]);
  });
});

it("The calls of 10,000 messages are remembered, the newest", async () => {
  const answer = async () => ({ kind: "accepted" });
  const linksOf = async (id: string) => {
    await traceSubmit({ id, carrier: "acme" }, answer);
    return ended.at(-1)?.links;
  };
  for (let message = 0; message <= 10_000; message += 1) rememberCall(`m-${message}`, SPAN_CONTEXT);
  expect(await linksOf("m-0")).toEqual([]);
  expect(await linksOf("m-1")).toEqual([SPAN_CONTEXT.spanId]);
  expect(await linksOf("m-10000")).toEqual([SPAN_CONTEXT.spanId]);
});

it("Without an SDK no call has a span", () => {
  expect(spanBefore).toBeUndefined();
});
