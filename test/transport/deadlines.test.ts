import { once } from "node:events";
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from "node:http2";
import { create, type DescMessage, type DescMethod, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import pg from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import { PoolSendService } from "../../gen/numberpool/v1/pool_send_service_pb.ts";
import { API_KEY, startServer, type TestServer } from "../server.ts";
import { freshDatabase } from "../store/postgres-database.ts";
import { makePool } from "../wire/pools.ts";
import { pathOf } from "./contract.ts";
import { enveloped } from "./transports.ts";

const { sendMessage, sendMessages, createMessage } = PoolSendService.method;
const DEADLINE_EXCEEDED = 4;

/** On PostgreSQL, because a locked table blocks the reads of a send, and nothing else. */
let server: TestServer;
let database: pg.Client;
let session: ClientHttp2Session;
let profileId: string;

beforeAll(async () => {
  const url = await freshDatabase();
  server = await startServer({ database: url });
  database = new pg.Client({ connectionString: url });
  await database.connect();
  session = connect(`http://${server.grpc}`);
  ({ profileId } = await makePool(server));
}, 60_000);

afterAll(async () => {
  session.close();
  await database.end();
  expect(await server.stop()).toBe(0);
});

/** Runs while sends cannot be decided, and gives the result. */
async function whileHeld<Answer>(act: () => Promise<Answer>): Promise<Answer> {
  await database.query("BEGIN; LOCK TABLE opt_outs IN ACCESS EXCLUSIVE MODE");
  try {
    return await act();
  } finally {
    await database.query("ROLLBACK");
  }
}

/** Waits until a send waits for the lock. */
async function isWaited(): Promise<void> {
  const waits = "SELECT count(*)::int AS waiting FROM pg_locks WHERE NOT granted AND relation = 'opt_outs'::regclass";
  while ((await database.query(waits)).rows[0].waiting === 0) await new Promise((resolve) => setTimeout(resolve, 10));
}

/** The number of messages to a recipient, once all earlier sends are decided. */
async function stored(to: string): Promise<number> {
  const last = { messaging_profile_id: profileId, to: "+13125569000", text: "After it" };
  expect((await server.json("POST", "/v2/messages/number_pool", last)).status).toBe(200);
  const { rows } = await database.query('SELECT count(*)::int AS stored FROM messages WHERE "to" = $1', [to]);
  return rows[0].stored;
}

function open(method: DescMethod, request: MessageInitShape<DescMessage>, timeout: string): ClientHttp2Stream {
  const stream = session.request({
    ":method": "POST",
    ":path": pathOf(method),
    "content-type": "application/grpc",
    te: "trailers",
    authorization: `Bearer ${API_KEY}`,
    "grpc-timeout": timeout,
  });
  stream.end(enveloped(toBinary(method.input, create(method.input, request))));
  return stream;
}

/** A unary call with a deadline in gRPC's form, "200m"; gives the server's status. */
async function statusOver(
  method: DescMethod,
  request: MessageInitShape<DescMessage>,
  timeout: string,
): Promise<number> {
  const stream = open(method, request, timeout);
  let status: unknown;
  for (const event of ["response", "trailers"]) {
    stream.on(event, (headers) => {
      status ??= headers["grpc-status"];
    });
  }
  stream.resume();
  await once(stream, "close");
  return Number(status);
}

const text = (to: string) => ({ messagingProfileId: profileId, to, text: "Late" });

it.each([
  [sendMessage, "+13125569001", text],
  [createMessage, "+13125569002", text],
  [sendMessages, "+13125569003", (to: string) => ({ messages: [text(to), text(to), text(to)] })],
] as const)("$name accepts nothing over gRPC once its deadline has passed", async (method, to, requestOf) => {
  expect(await whileHeld(() => statusOver(method, requestOf(to), "300m"))).toBe(DEADLINE_EXCEEDED);
  expect(await stored(to)).toBe(0);
  expect(await statusOver(method, requestOf(to), "20S")).toBe(0);
  expect(await stored(to)).toBeGreaterThan(0);
});

it.each(["0n", "0m", "0H", "1n"])("a deadline of zero accepts nothing: %s", async (timeout) => {
  const to = "+13125569010";
  expect(await statusOver(sendMessage, text(to), timeout)).toBe(DEADLINE_EXCEEDED);
  expect(await stored(to)).toBe(0);
});

it("a call cancelled before its decision accepts nothing", async () => {
  const to = "+13125569011";
  await whileHeld(async () => {
    const stream = open(sendMessage, text(to), "20S");
    stream.on("error", () => undefined);
    await isWaited();
    stream.close(8);
    await once(stream, "close");
    // The server has read the cancellation when it answers the frame after it.
    await new Promise((resolve) => session.ping(resolve));
  });
  expect(await stored(to)).toBe(0);
});

it("Connect accepts nothing after its deadline", async () => {
  const to = "+13125569012";
  const headers = { authorization: `Bearer ${API_KEY}`, "content-type": "application/json" };
  const send = (timeout: string) =>
    fetch(server.url + pathOf(sendMessage), {
      method: "POST",
      headers: { ...headers, "connect-timeout-ms": timeout },
      body: JSON.stringify(text(to)),
    });
  const { answer } = await whileHeld(async () => {
    const answer = send("200");
    await isWaited();
    await new Promise((resolve) => setTimeout(resolve, 300));
    return { answer };
  });
  for (const each of [await answer, await send("0")]) {
    expect(each.status).toBe(504);
    expect(await each.text()).toContain("deadline_exceeded");
  }
  expect(await stored(to)).toBe(0);
});

it("a JSON call whose client disconnects before its decision accepts nothing", async () => {
  const to = "+13125569013";
  await whileHeld(async () => {
    const left = new AbortController();
    const sending = fetch(`${server.url}/v2/messages/number_pool`, {
      method: "POST",
      headers: { authorization: `Bearer ${API_KEY}`, "content-type": "application/json" },
      body: JSON.stringify({ messaging_profile_id: profileId, to, text: "Left" }),
      signal: left.signal,
    });
    await isWaited();
    left.abort();
    await expect(sending).rejects.toThrow(/abort/);
    await server.json("GET", "/v2/messaging_profiles");
  });
  expect(await stored(to)).toBe(0);
});

it("after the official client's own timeout nothing is accepted, and its retry is accepted", async () => {
  const to = "+13125569014";
  const send = (retryCount: string) =>
    server.json(
      "POST",
      "/v2/messages/number_pool",
      { messaging_profile_id: profileId, to, text: "Late" },
      { "x-stainless-retry-count": retryCount, "x-stainless-timeout": "1" },
    );
  const { late } = await whileHeld(async () => {
    const late = send("0");
    await isWaited();
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    return { late };
  });
  const { status, body } = await late;
  expect([status, body.errors[0].meta.reason]).toEqual([408, "TIMEOUT"]);
  expect(await stored(to)).toBe(0);
  expect((await send("1")).status).toBe(200);
  expect(await stored(to)).toBe(1);
});
