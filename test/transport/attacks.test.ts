import { readFileSync } from "node:fs";
import { connect, type IncomingHttpHeaders } from "node:http2";
import { connect as connectSocket, type Socket } from "node:net";
import { gzipSync } from "node:zlib";
import { Client, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { PoolSendService } from "../../gen/numberpool/v1/pool_send_service_pb.ts";
import { ProfileService } from "../../gen/numberpool/v1/profile_service_pb.ts";
import { API_KEY, startServer, type TestServer, temporaryFolder } from "../server.ts";
import { createGrpcClient, GrpcRefusal } from "../wire/grpc-client.ts";
import { makePool } from "../wire/pools.ts";
import { pathOf } from "./contract.ts";
import { residentMegabytes } from "./program.ts";
import {
  ACK,
  END_HEADERS,
  END_STREAM,
  FRAME,
  frame,
  HELLO,
  headerBlock,
  openRaw,
  type RawConnection,
  uint32,
} from "./raw-http2.ts";
import { enveloped } from "./transports.ts";

const { sendMessage } = PoolSendService.method;
const { listProfiles } = ProfileService.method;
const SEND = pathOf(sendMessage);
const LIST = pathOf(listProfiles);
const TO = "+13125550100";
const MAX_MEGABYTES = 400;
/** The server disconnects a slow peer after this long, milliseconds. */
const PATIENCE = 45_000;

const folder = temporaryFolder();
let server: TestServer;
let profileId: string;
let http: string;
let slow: readonly Dawdler[];
let slowSince: number;

beforeAll(async () => {
  server = await startServer({ database: `${folder.path}/numberpool.db` });
  ({ profileId } = await makePool(server, { number: { segments_per_second: 10_000 } }));
  http = new URL(server.url).host;
  slow = startDawdlers();
  slowSince = Date.now();
});

afterAll(async () => {
  for (const { connection } of slow) connection.destroy();
  expect(await server.stop()).toBe(0);
  folder.remove();
});

/**
 * Checks that the program serves a normal send on both ports, on new connections, in bounded
 * memory.
 */
afterEach(async () => {
  const client = createGrpcClient(server.grpc, API_KEY);
  const body = { messaging_profile_id: profileId, to: TO, text: "Still here" };
  const [overGrpc, overJson] = await Promise.all([
    client.call(sendMessage, { messagingProfileId: profileId, to: TO, text: "Still here" }),
    server.json("POST", "/v2/messages/number_pool", body, { connection: "close" }),
  ]);
  client.close();
  expect(overGrpc.message.data?.text).toBe("Still here");
  expect(overJson.status).toBe(200);
  expect(server.process.exitCode).toBeNull();
  expect(server.stderr()).not.toMatch(/failed unexpectedly|"level":[56]0/);
  expect(residentMegabytes(server) ?? 0).toBeLessThan(MAX_MEGABYTES);
});

const pause = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds));

/** A slow peer. */
type Dawdler = { readonly name: string; readonly connection: RawConnection };

/** They are opened first and checked last, so that they run beside all other tests. */
function startDawdlers(): readonly Dawdler[] {
  const dawdle = (name: string, address: string, first: Uint8Array | string, drip?: string | Uint8Array): Dawdler => {
    const connection = openRaw(address);
    if (first.length > 0) void connection.write(first);
    const dripping = setInterval(() => {
      if (connection.isClosed()) clearInterval(dripping);
      else if (drip !== undefined) connection.socket.write(drip);
    }, 1_000);
    return { name, connection };
  };
  const head = (path: string, type: string) =>
    [`POST ${path} HTTP/1.1`, `host: ${http}`, `authorization: Bearer ${API_KEY}`, `content-type: ${type}`].join(
      "\r\n",
    );
  const open = frame(FRAME.HEADERS, END_HEADERS, 1, headerBlock(grpcHeaders(SEND)));
  return [
    dawdle("says nothing on the HTTP port", http, ""),
    dawdle("sends its headers one by one", http, `GET /healthz HTTP/1.1\r\nhost: ${http}\r\n`, "x-a: b\r\n"),
    dawdle(
      "sends its JSON body byte by byte",
      http,
      `${head("/v2/messages/number_pool", "application/json")}\r\ncontent-length: 1000\r\n\r\n{`,
      " ",
    ),
    dawdle(
      "sends chunks byte by byte",
      http,
      `${head(SEND, "application/json")}\r\ntransfer-encoding: chunked\r\n\r\n`,
      "1\r\n \r\n",
    ),
    dawdle("never sends the body of a gRPC call", server.grpc, Buffer.concat([HELLO, open])),
    dawdle(
      "sends the body of a gRPC call byte by byte",
      server.grpc,
      Buffer.concat([HELLO, open, frame(FRAME.DATA, 0, 1, Buffer.from([0, 0, 0, 3, 232]))]),
      frame(FRAME.DATA, 0, 1, Buffer.from([0x0a])),
    ),
  ];
}

function grpcHeaders(path: string, more: Readonly<Record<string, string>> = {}): Record<string, string> {
  return {
    ":method": "POST",
    ":scheme": "http",
    ":path": path,
    ":authority": "localhost",
    "content-type": "application/grpc",
    te: "trailers",
    authorization: `Bearer ${API_KEY}`,
    ...more,
  };
}

/** A whole unary call as frames. */
function callFrames(stream: number, headers: Readonly<Record<string, string>>, body: Uint8Array): Buffer {
  return Buffer.concat([
    frame(FRAME.HEADERS, END_HEADERS, stream, headerBlock(headers)),
    frame(FRAME.DATA, END_STREAM, stream, body),
  ]);
}

/** How many of these connections are still open, by the system's table. */
function openTo(server: TestServer, connections: readonly RawConnection[]): number {
  const hex = (port: number) => port.toString(16).toUpperCase().padStart(4, "0");
  const mine = new Set(connections.map(({ socket }) => hex(socket.localPort ?? 0)));
  const its = hex(Number(new URL(server.url).port));
  const rows = readFileSync("/proc/net/tcp", "utf8")
    .split("\n")
    .map((line) => line.trim().split(/\s+/));
  return rows.filter(([, local, remote, state]) => {
    const [here, there] = [local?.split(":")[1], remote?.split(":")[1]];
    return here === its && mine.has(there ?? "") && state === "01";
  }).length;
}

/** Connects to "127.0.0.1:…", and does not close when the other side does. */
function connectHalfOpen(address: string): Socket {
  const [host, port] = address.split(":") as [string, string];
  return connectSocket({ host, port: Number(port), allowHalfOpen: true });
}

const isGone = ({ type }: { type: number }) => type === FRAME.GOAWAY;

/** Waits until the connection is closed or gets GOAWAY; false when neither happens in time. */
async function isRidOf(connection: RawConnection, within = 10_000): Promise<boolean> {
  const end = Date.now() + within;
  while (!connection.isClosed() && !connection.frames().some(isGone)) {
    if (Date.now() > end) return false;
    await pause(20);
  }
  return true;
}

/** Waits for a condition, for as long as a response may take. */
async function until(isThere: () => boolean, within = 10_000): Promise<boolean> {
  const end = Date.now() + within;
  while (!isThere()) {
    if (Date.now() > end) return false;
    await pause(10);
  }
  return true;
}

describe("an invalid authority", () => {
  it.each([
    ["empty", "Host: "],
    ["half a bracket", "Host: ["],
    ["a port beyond all ports", "Host: localhost:99999999"],
    ["a space", "Host: a b"],
    ["two of them", "Host: a\r\nHost: b"],
    ["a user and a path", "Host: a@b/c"],
  ])("gets a response on the HTTP port, or a closed connection: %s", async (_name, host) => {
    for (const path of ["/v2/messages/number_pool", LIST, "/healthz", "/nowhere"]) {
      const connection = openRaw(http);
      const headers = [host, `Authorization: Bearer ${API_KEY}`, "Content-Type: application/json", "Content-Length: 2"];
      await connection.write(`POST ${path} HTTP/1.1\r\n${headers.join("\r\n")}\r\nConnection: close\r\n\r\n{}`);
      expect(await until(connection.isClosed)).toBe(true);
      expect(connection.received().toString()).toMatch(/^(HTTP\/1\.1 [24]\d\d |$)/);
    }
  });

  it("is required in HTTP/1.1, and optional in HTTP/1.0", async () => {
    const answers = ["1.1", "1.0"].map(async (version) => {
      const connection = openRaw(http);
      await connection.write(`GET /healthz HTTP/${version}\r\nConnection: close\r\n\r\n`);
      expect(await until(connection.isClosed)).toBe(true);
      return connection.received().toString().slice(0, 12);
    });
    expect(await Promise.all(answers)).toEqual(["HTTP/1.1 400", "HTTP/1.1 200"]);
  });

  it.each(["", "[", "localhost:99999999", "a@b/c", "\u00ff"])(
    "gets a response on the gRPC port: %j",
    async (authority) => {
      const connection = openRaw(server.grpc);
      const headers = grpcHeaders(LIST, { ":authority": authority });
      await connection.write(Buffer.concat([HELLO, callFrames(1, headers, enveloped(new Uint8Array()))]));
      const isAnswered = () => connection.frames().some(({ stream }) => stream === 1);
      expect(await until(() => isAnswered() || connection.isClosed() || connection.frames().some(isGone))).toBe(true);
      connection.destroy();
    },
  );
});

describe("another protocol", () => {
  it.each([
    ["HTTP/1.1", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"],
    ["TLS", Buffer.from(`160301006a010000660303${"00".repeat(98)}`, "hex")],
    ["zeros", Buffer.alloc(4_096)],
    ["a preface with a slip", "PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n"],
  ])("on the gRPC port closes the connection: %s", async (_name, bytes) => {
    const connection = openRaw(server.grpc);
    await connection.write(bytes);
    expect(await isRidOf(connection)).toBe(true);
    connection.destroy();
  });

  it.each([
    ["HTTP/2", HELLO],
    ["TLS", Buffer.from(`160301006a010000660303${"00".repeat(98)}`, "hex")],
    ["zeros", Buffer.alloc(4_096)],
  ])("on the HTTP port gets 400 and a closed connection: %s", async (_name, bytes) => {
    const connection = openRaw(http);
    await connection.write(bytes);
    expect(await until(connection.isClosed)).toBe(true);
    expect(connection.received().toString()).toMatch(/^HTTP\/1\.1 400 /);
  });
});

describe("a flood on one HTTP/2 session", () => {
  it("of streams is capped, and the excess refused", async () => {
    const connection = openRaw(server.grpc);
    await connection.write(HELLO);
    const block = headerBlock(grpcHeaders(SEND));
    for (let index = 0; index < 3_000; index += 1) {
      connection.socket.write(frame(FRAME.HEADERS, END_HEADERS, 2 * index + 1, block));
    }
    await until(() => connection.isClosed() || connection.frames().some(isGone), 3_000);
    const settings = connection.frames().find(({ type, flags }) => type === FRAME.SETTINGS && (flags & ACK) === 0);
    const entries = Array.from({ length: (settings?.payload.length ?? 0) / 6 }, (_, index) => [
      settings?.payload.readUInt16BE(index * 6),
      settings?.payload.readUInt32BE(index * 6 + 2),
    ]);
    expect(Object.fromEntries(entries)[3]).toBe(100);
    const refused = connection.frames().filter(({ type }) => type === FRAME.RST_STREAM);
    expect(refused.length > 0 || connection.isClosed() || connection.frames().some(isGone)).toBe(true);
    connection.destroy();
  });

  it("of streams reset at once ends the session", async () => {
    const connection = openRaw(server.grpc);
    await connection.write(HELLO);
    const block = headerBlock(grpcHeaders(LIST));
    for (let index = 0; index < 5_000 && !connection.isClosed(); index += 1) {
      const stream = 2 * index + 1;
      connection.socket.write(
        Buffer.concat([
          frame(FRAME.HEADERS, END_HEADERS, stream, block),
          frame(FRAME.RST_STREAM, 0, stream, uint32(8)),
        ]),
      );
      if (index % 500 === 0) await pause(1);
    }
    expect(await isRidOf(connection)).toBe(true);
    connection.destroy();
  });

  it("of continuations ends the session", async () => {
    const connection = openRaw(server.grpc);
    await connection.write(HELLO);
    await connection.write(frame(FRAME.HEADERS, 0, 1, headerBlock(grpcHeaders(LIST))));
    const more = frame(FRAME.CONTINUATION, 0, 1, headerBlock({ "x-more": "y".repeat(16_000) }));
    for (let count = 0; count < 2_000 && !connection.isClosed(); count += 1) await connection.write(more);
    expect(await isRidOf(connection)).toBe(true);
    connection.destroy();
  });

  it("of empty continuations ends the session", async () => {
    const connection = openRaw(server.grpc);
    await connection.write(HELLO);
    await connection.write(frame(FRAME.HEADERS, 0, 1, headerBlock(grpcHeaders(LIST))));
    const more = Buffer.concat(Array<Buffer>(1_000).fill(frame(FRAME.CONTINUATION, 0, 1)));
    for (let count = 0; count < 100 && !connection.isClosed(); count += 1) await connection.write(more);
    expect(await isRidOf(connection)).toBe(true);
    connection.destroy();
  });

  it.each([
    ["pings", frame(FRAME.PING, 0, 0, Buffer.alloc(8))],
    ["settings", frame(FRAME.SETTINGS, 0, 0, Buffer.from("000300000064", "hex"))],
  ])("of %s with unread responses ends the session or stops the reading", async (_name, one) => {
    const connection = openRaw(server.grpc, { reads: false });
    await connection.write(HELLO);
    const many = Buffer.concat(Array<Buffer>(1_000).fill(one));
    let isStuck = false;
    for (let count = 0; count < 300 && !connection.isClosed() && !isStuck; count += 1) {
      isStuck = await Promise.race([connection.write(many).then(() => false), pause(2_000).then(() => true)]);
    }
    // A peer that does not read sees the end only when it reads.
    connection.socket.resume();
    expect(isStuck || (await isRidOf(connection, 5_000))).toBe(true);
    connection.destroy();
  });

  it.each([
    ["pings", frame(FRAME.PING, 0, 0, Buffer.alloc(8))],
    ["settings", frame(FRAME.SETTINGS, 0, 0, Buffer.from("000300000064", "hex"))],
    ["priorities", frame(2, 0, 1, Buffer.alloc(5))],
    ["empty data", frame(FRAME.DATA, 0, 1)],
    ["frames of no known type", frame(0x55, 0, 0, Buffer.alloc(20))],
  ])("of %s with responses that are read leaves others unaffected", async (_name, one) => {
    const connection = openRaw(server.grpc);
    await connection.write(
      Buffer.concat([HELLO, frame(FRAME.HEADERS, END_HEADERS, 1, headerBlock(grpcHeaders(SEND)))]),
    );
    const many = Buffer.concat(Array<Buffer>(1_000).fill(one));
    let isOver = false;
    const flooding = (async () => {
      for (let count = 0; count < 100 && !connection.isClosed(); count += 1) await connection.write(many);
      isOver = true;
    })();
    const waits: number[] = [];
    while (!isOver) {
      const since = Date.now();
      expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
      waits.push(Date.now() - since);
      await pause(10);
    }
    await flooding;
    expect(Math.max(0, ...waits)).toBeLessThan(3_000);
    connection.destroy();
  });

  it("of window updates beyond every window ends each session", async () => {
    for (let round = 0; round < 200; round += 1) {
      const connection = openRaw(server.grpc);
      const update = frame(FRAME.WINDOW_UPDATE, 0, 0, uint32(2 ** 31 - 1));
      await connection.write(Buffer.concat([HELLO, update, update]));
      expect(await isRidOf(connection)).toBe(true);
      connection.destroy();
    }
  });

  it("of settings in one frame ends the session or is counted", async () => {
    const connection = openRaw(server.grpc);
    const entries = Buffer.concat(Array<Buffer>(2_700).fill(Buffer.from("000300000064", "hex")));
    await connection.write(Buffer.concat([HELLO, frame(FRAME.SETTINGS, 0, 0, entries.subarray(0, 16_380))]));
    expect(await isRidOf(connection, 3_000)).toBe(true);
    connection.destroy();
  });
});

describe("a peer that never reads", () => {
  it("over HTTP/1.1 makes the server stop reading", async () => {
    const connection = openRaw(http, { reads: false });
    const many = `GET /openapi.json HTTP/1.1\r\nhost: ${http}\r\n\r\n`.repeat(500);
    let isStuck = false;
    for (let count = 0; count < 200 && !isStuck; count += 1) {
      isStuck = await Promise.race([connection.write(many).then(() => false), pause(1_500).then(() => true)]);
    }
    expect(isStuck || connection.isClosed()).toBe(true);
    expect(residentMegabytes(server) ?? 0).toBeLessThan(MAX_MEGABYTES);
    connection.destroy();
  });

  it("over HTTP/2 makes the server buffer its responses in bounded memory", async () => {
    for (let index = 0; index < 60; index += 1) {
      await server.json("POST", "/v2/messaging_profiles", { name: `${index} ${"x".repeat(240)}` });
    }
    const connections = Array.from({ length: 5 }, () => openRaw(server.grpc));
    for (const connection of connections) {
      // No window for data at all.
      const settings = frame(FRAME.SETTINGS, 0, 0, Buffer.from("000400000000", "hex"));
      const calls = Array.from({ length: 100 }, (_, index) =>
        callFrames(2 * index + 1, grpcHeaders(LIST), enveloped(Buffer.from("120310fa01", "hex"))),
      );
      await connection.write(Buffer.concat([HELLO, settings, ...calls]));
    }
    await pause(2_000);
    expect(residentMegabytes(server) ?? 0).toBeLessThan(MAX_MEGABYTES);
    for (const connection of connections) connection.destroy();
  });
});

describe("a body", () => {
  /** A unary call with any bytes and headers; gives its gRPC code. */
  function call(path: string, body: Uint8Array, headers: Readonly<Record<string, string>> = {}): Promise<string> {
    return new Promise((resolve, reject) => {
      const session = connect(`http://${server.grpc}`);
      const stream = session.request(grpcHeaders(path, headers));
      const late = setTimeout(() => stream.close(), 10_000);
      const note = (received: IncomingHttpHeaders) => {
        if (received["grpc-status"] !== undefined) resolve(String(received["grpc-status"]));
      };
      stream.on("response", note);
      stream.on("trailers", note);
      stream.on("error", () => undefined);
      session.on("error", reject);
      stream.on("close", () => {
        clearTimeout(late);
        session.close();
        resolve("none");
      });
      stream.resume();
      stream.end(body);
    });
  }

  /** Calls through grpc-js with custom headers. */
  function refusalOf(bytes: Buffer, headers: Readonly<Record<string, string>>): Promise<GrpcRefusal> {
    const client = new Client(server.grpc, credentials.createInsecure());
    const metadata = new Metadata();
    metadata.set("authorization", `Bearer ${API_KEY}`);
    for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
    const asIs = (each: Buffer) => each;
    return new Promise((resolve, reject) => {
      const deadline = { deadline: Date.now() + 20_000 };
      client.makeUnaryRequest(SEND, asIs, asIs, bytes, metadata, deadline, (error: ServiceError | null) => {
        client.close();
        if (error === null) reject(new Error("the call was not refused"));
        else resolve(new GrpcRefusal(error));
      });
    });
  }

  it("of gzip that expands a thousandfold is RESOURCE_EXHAUSTED before it expands", async () => {
    const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024));
    expect(bomb.length).toBeLessThan(70_000);
    const before = residentMegabytes(server) ?? 0;
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => call(SEND, enveloped(bomb, 1), { "grpc-encoding": "gzip" })),
    );
    expect(new Set(answers)).toEqual(new Set(["8"]));
    expect((residentMegabytes(server) ?? 0) - before).toBeLessThan(150);
  });

  it.each([
    ["gzip that is none", enveloped(Buffer.from("no gzip"), 1), { "grpc-encoding": "gzip" }],
    ["gzip that is cut", enveloped(gzipSync(Buffer.alloc(1_000)).subarray(0, 15), 1), { "grpc-encoding": "gzip" }],
    ["of an unknown encoding", enveloped(Buffer.from("x"), 1), { "grpc-encoding": "zebra" }],
    ["flagged as compressed without an encoding", enveloped(Buffer.from("x"), 1), {}],
    ["of two messages", Buffer.concat([enveloped(Buffer.alloc(0)), enveloped(Buffer.alloc(0))]), {}],
    ["of no message", Buffer.alloc(0), {}],
  ] as const)("%s is refused", async (_name, body, headers) => {
    expect(await call(SEND, body, headers)).toMatch(/^[1-9]/);
  });

  it("that announces 4 GiB is refused at once, without reserving memory", async () => {
    const announced = Buffer.from([0, 0xff, 0xff, 0xff, 0xff, 1]);
    const before = residentMegabytes(server) ?? 0;
    const answers = await Promise.all(Array.from({ length: 20 }, () => call(SEND, announced)));
    expect(new Set(answers)).toEqual(new Set(["8"]));
    const web = ["application/grpc-web+proto", "application/connect+proto", "application/grpc+proto"].map((type) =>
      fetch(server.url + SEND, {
        method: "POST",
        headers: { authorization: `Bearer ${API_KEY}`, "content-type": type },
        body: announced,
      }),
    );
    for (const { status } of await Promise.all(web)) expect(status).toBeLessThan(500);
    for (const path of ["/v2/messages/number_pool", SEND]) {
      const connection = openRaw(http);
      const head = [`POST ${path} HTTP/1.1`, `host: ${http}`, `authorization: Bearer ${API_KEY}`];
      await connection.write(
        `${head.join("\r\n")}\r\ncontent-type: application/json\r\ncontent-length: 4294967296\r\n\r\n{`,
      );
      expect(await until(() => connection.received().length > 0)).toBe(true);
      expect(connection.received().toString()).toMatch(/^HTTP\/1\.1 4(13|29) /);
      connection.destroy();
    }
    expect((residentMegabytes(server) ?? 0) - before).toBeLessThan(100);
  });

  it.each([
    ["truncated", Buffer.from("0a24", "hex")],
    ["of a wrong wire type", Buffer.from("08ff", "hex")],
    ["of text that is no UTF-8", Buffer.from("1a02c0af", "hex")],
  ])("%s is INVALID_ARGUMENT", async (_name, bytes) => {
    const refusal = await refusalOf(bytes, {});
    expect(refusal.code).toBe(3);
    expect(refusal.info?.reason).toBe("MALFORMED_MESSAGE");
  });
});

describe("a deadline", () => {
  const ask = (timeout: string) =>
    new Promise<string>((resolve, reject) => {
      const session = connect(`http://${server.grpc}`);
      const stream = session.request(grpcHeaders(LIST, { "grpc-timeout": timeout }));
      const note = (received: IncomingHttpHeaders) => {
        if (received["grpc-status"] !== undefined) resolve(String(received["grpc-status"]));
      };
      stream.on("response", note);
      stream.on("trailers", note);
      stream.on("error", () => undefined);
      session.on("error", reject);
      stream.on("close", () => {
        session.close();
        resolve("none");
      });
      stream.resume();
      stream.end(enveloped(new Uint8Array()));
    });

  it("of eleven thousand years works like none", async () => {
    expect(await ask("99999999H")).toBe("0");
  });

  it.each(["0n", "0H", "1n"])("that has passed gives DEADLINE_EXCEEDED or the response: %s", async (timeout) => {
    expect(await ask(timeout)).toMatch(/^[04]$/);
  });

  it.each(["", "abc", "-1S", "1e9S", "999999999999S", "1", "NaNm"])(
    "that is malformed gets a response: %j",
    async (timeout) => {
      expect(await ask(timeout)).toMatch(/^\d+$/);
    },
  );

  it.each(["0", "99999999999999", "-1", "abc", "1e9", ""])("of Connect gets a response: %j", async (timeout) => {
    const response = await fetch(server.url + LIST, {
      method: "POST",
      headers: {
        authorization: `Bearer ${API_KEY}`,
        "content-type": "application/json",
        "connect-timeout-ms": timeout,
        "connect-protocol-version": "1",
      },
      body: "{}",
    });
    expect(response.status === 200 || JSON.parse(await response.text()).code !== "internal").toBe(true);
    expect(response.status).not.toBe(500);
  });
});

describe("metadata", () => {
  it.each([
    ["of one megabyte", { "x-large": "y".repeat(1_000_000) }],
    ["of a thousand entries", Object.fromEntries(Array.from({ length: 1_000 }, (_, index) => [`x-${index}`, "y"]))],
  ])("%s is refused on both ports", async (_name, headers) => {
    const connection = openRaw(server.grpc);
    await connection.write(HELLO);
    const block = headerBlock(grpcHeaders(LIST, headers as Record<string, string>));
    for (let at = 0; at < block.length && !connection.isClosed(); at += 16_000) {
      const flags = at + 16_000 >= block.length ? END_HEADERS : 0;
      await connection.write(
        frame(at === 0 ? FRAME.HEADERS : FRAME.CONTINUATION, flags, 1, block.subarray(at, at + 16_000)),
      );
    }
    await connection.write(frame(FRAME.DATA, END_STREAM, 1, enveloped(new Uint8Array())));
    const isAnswered = () => connection.frames().some(({ stream }) => stream === 1);
    expect(await until(() => isAnswered() || connection.isClosed() || connection.frames().some(isGone))).toBe(true);
    connection.destroy();
    const plain = openRaw(http);
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
    await plain.write(`GET /healthz HTTP/1.1\r\nhost: ${http}\r\nconnection: close\r\n${lines.join("\r\n")}\r\n\r\n`);
    expect(await until(plain.isClosed)).toBe(true);
    expect(plain.received().toString()).toMatch(/^(HTTP\/1\.1 [24]\d\d |$)/);
  });

  it.each([
    "/numberpool.v1.PoolSendService/Nothing",
    "/%00\u00ff",
    "/",
    "*",
    "/numberpool.v1.PoolSendService/SendMessage?x",
  ])("with an unknown path gets a response: %j", async (path) => {
    const connection = openRaw(server.grpc);
    await connection.write(Buffer.concat([HELLO, callFrames(1, grpcHeaders(path), enveloped(new Uint8Array()))]));
    const isAnswered = () => connection.frames().some(({ stream }) => stream === 1);
    expect(await until(() => isAnswered() || connection.isClosed() || connection.frames().some(isGone))).toBe(true);
    connection.destroy();
  });
});

describe("the server disconnects a slow peer, or ends its call, within 45 seconds: a peer that", () => {
  it.each([
    ...["says nothing on the HTTP port", "sends its headers one by one", "sends its JSON body byte by byte"],
    ...[
      "sends chunks byte by byte",
      "never sends the body of a gRPC call",
      "sends the body of a gRPC call byte by byte",
    ],
  ])("%s", { timeout: PATIENCE + 15_000 }, async (wanted) => {
    const { connection } = slow.find(({ name }) => name === wanted) as Dawdler;
    const isOfStream = ({ type, stream }: { type: number; stream: number }) =>
      stream === 1 && (type === FRAME.RST_STREAM || type === FRAME.HEADERS);
    const isEnded = () => /gRPC/.test(wanted) && connection.frames().some(isOfStream);
    // All began together, long before they are checked.
    const within = Math.max(1_000, slowSince + PATIENCE - Date.now());
    expect(await until(() => connection.isClosed() || isEnded(), within)).toBe(true);
  });
});

describe("an oversized request head", () => {
  it.each([
    ["path", `GET /${"a".repeat(17_000)} HTTP/1.1\r\nHost: a\r\n\r\n`, "HTTP/1.1 414"],
    ["query", `GET /healthz?${"a".repeat(17_000)} HTTP/1.1\r\nHost: a\r\n\r\n`, "HTTP/1.1 414"],
    ["header", `GET /healthz HTTP/1.1\r\nHost: a\r\nX-A: ${"a".repeat(17_000)}\r\n\r\n`, "HTTP/1.1 431"],
    ["sum", `GET /healthz HTTP/1.1\r\nHost: a\r\n${"X-A: b\r\n".repeat(2_500)}\r\n`, "HTTP/1.1 431"],
  ])("gets a response that names the oversized part: %s", async (_what, head, answer) => {
    const connection = openRaw(http);
    await connection.write(head);
    expect(await until(connection.isClosed)).toBe(true);
    expect(connection.received().toString().slice(0, 12)).toBe(answer);
    expect(connection.received().toString()).toContain("16 KiB");
  });
});

describe("clients that do not close after a 400", () => {
  it("stay connected for seconds only", async () => {
    const held = Array.from({ length: 100 }, () => {
      const socket = connectHalfOpen(http);
      socket.write("nonsense\r\n\r\n");
      return socket;
    });
    const closed = held.map((socket) => new Promise((resolve) => socket.on("error", () => {}).on("close", resolve)));
    // They keep writing, so that they notice a destroyed connection.
    const writing = setInterval(() => {
      for (const socket of held) if (socket.writable) socket.write("more");
    }, 200);
    await Promise.all(closed);
    clearInterval(writing);
  }, 10_000);
});

describe("unread pages", () => {
  it("leave others unaffected, in bounded memory, and end their connections", async () => {
    for (let index = 0; index < 250; index += 1) {
      await server.json("POST", "/v2/messaging_profiles", {
        name: `${index} ${"y".repeat(240)}`,
        whitelisted_destinations: ["*"],
      });
    }
    const before = residentMegabytes(server) ?? 0;
    const page = `GET /v2/messaging_profiles?page[size]=250 HTTP/1.1\r\nHost: ${http}\r\nAuthorization: Bearer ${API_KEY}\r\n\r\n`;
    const connections = Array.from({ length: 4 }, () => openRaw(http, { reads: false }));
    for (const connection of connections) void connection.write(page.repeat(600));
    const gone = () => openTo(server, connections) === 0;
    for (const since = performance.now(); !gone() && performance.now() - since < 25_000; await pause(100)) {
      const asked = performance.now();
      expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
      expect(performance.now() - asked).toBeLessThan(1_000);
      expect((residentMegabytes(server) ?? 0) - before).toBeLessThan(150);
    }
    expect(gone()).toBe(true);
    for (const connection of connections) connection.destroy();
  }, 40_000);
});

describe("two Authorization headers", () => {
  it.each([
    ["GET", "/v2/messaging_profiles", "application/json", "HTTP/1.1 401"],
    ["GET", "/v2/no_such_path", "application/json", "HTTP/1.1 404"],
    ["POST", LIST, "application/json", "HTTP/1.1 401"],
  ])("are refused: %s %s", async (verb, path, type, answer) => {
    for (const [first, second] of [
      [API_KEY, "another-key-of-more-than-24-characters"],
      [API_KEY, API_KEY],
    ]) {
      const connection = openRaw(http);
      const keys = `Authorization: Bearer ${first}\r\nauthorization: Bearer ${second}`;
      const length = verb === "POST" ? "Content-Length: 2\r\n" : "";
      await connection.write(
        `${verb} ${path} HTTP/1.1\r\nHost: ${http}\r\n${keys}\r\nContent-Type: ${type}\r\n${length}Connection: close\r\n\r\n${length && "{}"}`,
      );
      expect(await until(connection.isClosed)).toBe(true);
      expect(connection.received().toString().slice(0, 12)).toBe(answer);
    }
  });
});

describe("a query", () => {
  const hostile = `/v2/messaging_profiles?${"a&".repeat(7_900)}`;

  it("is not parsed before authentication", async () => {
    const connection = openRaw(http);
    const since = performance.now();
    await connection.write(`GET ${hostile} HTTP/1.1\r\nHost: ${http}\r\n\r\n`.repeat(20));
    const answers = () =>
      connection
        .received()
        .toString()
        .match(/HTTP\/1\.1 401 /g)?.length;
    expect(await until(() => answers() === 20)).toBe(true);
    // One alone took 0.4 s in quadratic time.
    expect(performance.now() - since).toBeLessThan(3_000);
    connection.destroy();
  });

  it("with too many parameters is refused with the limit", async () => {
    const { status, body } = await server.json("GET", hostile);
    expect(status).toBe(400);
    expect(body.errors[0].detail).toBe("The query has more than 100 parameters; send at most 100.");
    const allowed = await server.json("GET", "/v2/messaging_profiles?page[size]=20&page[number]=1");
    expect(allowed.status).toBe(200);
  });
});
