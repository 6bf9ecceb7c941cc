import { once } from "node:events";
import { connect } from "node:http2";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { Client, type ClientDuplexStream, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import Database from "better-sqlite3";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import {
  PoolSendService,
  type SendMessageRequestSchema,
  type StreamMessagesRequestSchema,
  type StreamMessagesResponse,
} from "../../gen/numberpool/v1/pool_send_service_pb.ts";
import { either } from "../either.ts";
import { API_KEY, startServer, type TestServer, temporaryFolder } from "../server.ts";
import { GrpcRefusal } from "../wire/grpc-client.ts";
import { makePool, until } from "../wire/pools.ts";
import { pathOf } from "./contract.ts";
import { residentMegabytes } from "./program.ts";
import { END_HEADERS, END_STREAM, FRAME, frame, HELLO, headerBlock, openRaw, uint32 } from "./raw-http2.ts";
import { enveloped, openGrpcWeb, reasonOfConnect } from "./transports.ts";

const { streamMessages, watchMessages } = PoolSendService.method;
const TO = "+13125569999";
const CANCELLED = 1;
const DEADLINE_EXCEEDED = 4;
const INTERNAL = 13;

const folder = temporaryFolder();
let server: TestServer;
let profileId: string;
let client: Client;

beforeAll(async () => {
  server = await startServer({ database: `${folder.path}/numberpool.db` });
  ({ profileId } = await makePool(server, { long: 3, number: { segments_per_second: 10_000 } }));
  client = new Client(server.grpc, credentials.createInsecure());
});

afterAll(async () => {
  client.close();
  expect(await server.stop()).toBe(0);
  folder.remove();
});

/** An open stream of sends. */
type Stream = {
  readonly call: ClientDuplexStream<Buffer, Buffer>;
  /** Writes a request; false when the other side should read first. */
  readonly write: (fields: MessageInitShape<typeof SendMessageRequestSchema>) => boolean;
  readonly answers: StreamMessagesResponse[];
  /** Resolves when the stream ends: with its error, or undefined. */
  readonly ended: Promise<GrpcRefusal | undefined>;
};

const asIs = (bytes: Buffer) => bytes;

/** Opens a stream; with `reads` false it reads only once a listener for data is added. */
function open({ reads = true, over = client }: { reads?: boolean; over?: Client } = {}): Stream {
  const metadata = new Metadata();
  metadata.set("authorization", `Bearer ${API_KEY}`);
  const deadline = { deadline: Date.now() + 60_000 };
  const call = over.makeBidiStreamRequest(pathOf(streamMessages), asIs, asIs, metadata, deadline);
  const answers: StreamMessagesResponse[] = [];
  const take = (bytes: Buffer) => answers.push(fromBinary(streamMessages.output, bytes));
  if (reads) call.on("data", take);
  const ended = new Promise<GrpcRefusal | undefined>((resolve) => {
    call.on("error", (error: ServiceError) => resolve(new GrpcRefusal(error)));
    call.on("end", () => resolve(undefined));
  });
  const write = (fields: MessageInitShape<typeof SendMessageRequestSchema>) => {
    const request: MessageInitShape<typeof StreamMessagesRequestSchema> = {
      message: { messagingProfileId: profileId, to: TO, ...fields },
    };
    return call.write(Buffer.from(toBinary(streamMessages.input, create(streamMessages.input, request))));
  };
  return { call, write, answers, ended };
}

function storedTo(to: string): number {
  const database = new Database(server.database, { readonly: true });
  try {
    return database.prepare('SELECT count(*) FROM messages WHERE "to" = ?').pluck().get(to) as number;
  } finally {
    database.close();
  }
}

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function expectServing(): Promise<void> {
  const stream = open();
  stream.write({ text: "Still here" });
  stream.call.end();
  expect(await stream.ended).toBeUndefined();
  expect(either(stream.answers[0]).message?.text).toBe("Still here");
}

describe("a stream of sends", () => {
  it("answers a send without waiting for the next one", async () => {
    const stream = open();
    for (let count = 1; count <= 3; count += 1) {
      stream.write({ text: `Number ${count}` });
      await until(
        async () => stream.answers.length,
        (length) => length === count,
      );
      await pause(50);
    }
    stream.call.end();
    expect(await stream.ended).toBeUndefined();
    expect(stream.answers.map((each) => either(each).message?.text)).toEqual(["Number 1", "Number 2", "Number 3"]);
  });

  it("answers in order, although a refusal is known before an acceptance", async () => {
    const stream = open();
    const texts = Array.from({ length: 1_000 }, (_, index) => (index % 2 === 1 ? "" : `Text ${index}`));
    for (const text of texts) stream.write({ text });
    stream.call.end();
    expect(await stream.ended).toBeUndefined();
    expect(stream.answers.map((each) => either(each).message?.text ?? "")).toEqual(texts);
    expect(stream.answers.flatMap((each) => either(each).error?.code ?? [])).toEqual(Array(500).fill("40316"));
  });

  it("continues after every kind of refusal", async () => {
    const stream = open();
    const refused: MessageInitShape<typeof SendMessageRequestSchema>[] = [
      { messagingProfileId: "01900000-0000-7000-8000-000000000000", text: "Hi" },
      { to: "nobody", text: "Hi" },
      { text: "" },
      { text: "x".repeat(1_531) },
      { text: "Hi", encoding: 99 as never },
      { text: "Hi", mediaUrls: ["https://example.com/a.png"] },
      { text: "Hi", requestId: "not visible" },
    ];
    for (const fields of refused) stream.write(fields);
    stream.write({ text: "And one that is fine" });
    stream.call.end();
    expect(await stream.ended).toBeUndefined();
    const codes = stream.answers.map((each) => either(each).error?.code ?? either(each).message?.text);
    expect(codes).toEqual([...["10005", "40310", "40316", "40302", "10032", "10038", "10015"], "And one that is fine"]);
  });

  it("ends after the last answer once the client ends, and at once without requests", async () => {
    const stream = open();
    for (let count = 0; count < 100; count += 1) stream.write({ text: "One of a hundred" });
    stream.call.end();
    expect(await stream.ended).toBeUndefined();
    expect(stream.answers).toHaveLength(100);
    const empty = open();
    empty.call.end();
    expect(await empty.ended).toBeUndefined();
    expect(empty.answers).toEqual([]);
  });

  it("ends soon with MALFORMED_MESSAGE for bytes that are not a request", { timeout: 20_000 }, async () => {
    const stream = open();
    stream.write({ text: "Before" });
    stream.call.write(Buffer.from([0x0a, 0x7f]));
    const hangsUp = setTimeout(() => stream.call.cancel(), 5_000);
    const refusal = await stream.ended;
    clearTimeout(hangsUp);
    expect([refusal?.code, refusal?.info?.reason]).toEqual([3, "MALFORMED_MESSAGE"]);
    await expectServing();
  });

  it("has room for 64 outstanding sends, and makes a client wait that does not read", {
    timeout: 60_000,
  }, async () => {
    // grpc-js reads without demand; a bare session does not.
    const session = connect(`http://${server.grpc}`);
    const headers = {
      ":method": "POST",
      ":path": pathOf(streamMessages),
      "content-type": "application/grpc",
      te: "trailers",
      authorization: `Bearer ${API_KEY}`,
    };
    const stream = session.request(headers);
    const to = "+13125569001";
    const text = "A text of nine parts. ".repeat(70).slice(0, 1_300);
    const request = create(streamMessages.input, { message: { messagingProfileId: profileId, to, text } });
    const bytes = enveloped(toBinary(streamMessages.input, request));
    const megabytesBefore = residentMegabytes(server) ?? 0;
    let written = 0;
    const writing = (async () => {
      for (; written < 5_000; written += 1) if (!stream.write(bytes)) await once(stream, "drain");
      stream.end();
    })();
    // Until the flow stops.
    for (let last = -1; last !== storedTo(to); ) {
      last = storedTo(to);
      await pause(1_000);
    }
    expect(storedTo(to)).toBeGreaterThanOrEqual(64);
    // The responses that flow control lets out, each larger than its request, the buffered ones,
    // and 64 more.
    expect(storedTo(to)).toBeLessThan(300);
    expect(written).toBeLessThan(1_000);
    expect((residentMegabytes(server) ?? 0) - megabytesBefore).toBeLessThan(60);
    const chunks: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    let status: unknown;
    stream.on("trailers", (trailers) => {
      status = trailers["grpc-status"];
    });
    await Promise.all([writing, once(stream, "end")]);
    session.close();
    const { messages } = openGrpcWeb(Buffer.concat(chunks), new Headers());
    const texts = messages.map((message) => either(fromBinary(streamMessages.output, message)).message?.text);
    expect([status, texts.length, new Set(texts)]).toEqual(["0", 5_000, new Set([text])]);
    expect(storedTo(to)).toBe(5_000);
  });

  it("that is cancelled midway affects no other, and accepts nothing afterwards", async () => {
    const to = "+13125569002";
    for (let round = 0; round < 20; round += 1) {
      const stream = open({ reads: round % 2 === 0 });
      for (let count = 0; count < 200; count += 1) stream.write({ to, text: "Perhaps" });
      await pause(round * 3);
      stream.call.cancel();
      expect((await stream.ended)?.code ?? CANCELLED).toBe(CANCELLED);
    }
    const client = new Client(server.grpc, credentials.createInsecure());
    const cut = open({ over: client });
    for (let count = 0; count < 200; count += 1) cut.write({ to, text: "Perhaps" });
    client.close();
    cut.call.cancel();
    await cut.ended;
    await pause(500);
    const stored = storedTo(to);
    await pause(500);
    expect(storedTo(to)).toBe(stored);
    expect(stored).toBeLessThanOrEqual(21 * 200);
    await expectServing();
    expect(server.stderr()).not.toMatch(/"level":[56]0/);
  });
});

describe("a client that ends its call", () => {
  const outcomes = async (code: string) => {
    const page = await (await fetch(`${server.metrics}/metrics`)).text();
    const line = `numberpool_calls_total{method="${pathOf(streamMessages)}",transport="grpc",code="${code}"} `;
    return Number(
      page
        .split("\n")
        .find((each) => each.startsWith(line))
        ?.slice(line.length) ?? 0,
    );
  };

  /** Waits until one more stream ends so, without another call counted as INTERNAL. */
  async function expectOneMore(code: string, leave: () => Promise<void>): Promise<void> {
    const before = [await outcomes(code), await outcomes("INTERNAL")] as const;
    await leave();
    await until(
      () => outcomes(code),
      (count) => count === before[0] + 1,
    );
    expect(await outcomes("INTERNAL")).toBe(before[1]);
    expect(server.stderr()).not.toMatch(/failed unexpectedly/);
  }

  it("by cancelling, with nothing outstanding, is CANCELLED", async () => {
    await expectOneMore("CANCELLED", async () => {
      // Raw frames: Node's client would end its requests before it resets the stream.
      const connection = openRaw(server.grpc);
      const headers = {
        ...{ ":method": "POST", ":scheme": "http", ":path": pathOf(streamMessages), ":authority": "localhost" },
        ...{ "content-type": "application/grpc", te: "trailers", authorization: `Bearer ${API_KEY}` },
      };
      const request = create(streamMessages.input, { message: { messagingProfileId: profileId, to: TO, text: "One" } });
      const body = enveloped(toBinary(streamMessages.input, request));
      await connection.write(
        Buffer.concat([
          HELLO,
          frame(FRAME.HEADERS, END_HEADERS, 1, headerBlock(headers)),
          frame(FRAME.DATA, 0, 1, body),
        ]),
      );
      await until(
        async () => connection.frames().some(({ type }) => type === FRAME.DATA),
        (isAnswered) => isAnswered,
      );
      await connection.write(frame(FRAME.RST_STREAM, 0, 1, uint32(8)));
      await connection.write(frame(FRAME.PING, 0, 0, Buffer.alloc(8)));
    });
  });

  it("by closing its connection, with outstanding sends that it does not read, is CANCELLED", async () => {
    await expectOneMore("CANCELLED", async () => {
      const to = "+13125569003";
      const session = connect(`http://${server.grpc}`);
      const stream = session.request({
        ":method": "POST",
        ":path": pathOf(streamMessages),
        "content-type": "application/grpc",
        te: "trailers",
        authorization: `Bearer ${API_KEY}`,
      });
      stream.on("error", () => undefined);
      const text = "A text of nine parts. ".repeat(70).slice(0, 1_300);
      const request = create(streamMessages.input, { message: { messagingProfileId: profileId, to, text } });
      for (let count = 0; count < 400; count += 1) stream.write(enveloped(toBinary(streamMessages.input, request)));
      // Until responses fill every window, so that the server waits for room: how many it accepts
      // before depends on how fast they arrive.
      let accepted = 0;
      await until(
        async () => {
          const before = accepted;
          await pause(500);
          accepted = storedTo(to);
          return accepted > 0 && accepted === before;
        },
        (isFull) => isFull,
      );
      expect(accepted).toBeLessThan(400);
      session.destroy();
    });
  });

  it("by its deadline is TIMEOUT", async () => {
    await expectOneMore("TIMEOUT", async () => {
      const session = connect(`http://${server.grpc}`);
      const stream = session.request({
        ":method": "POST",
        ":path": pathOf(streamMessages),
        "content-type": "application/grpc",
        te: "trailers",
        authorization: `Bearer ${API_KEY}`,
        "grpc-timeout": "100m",
      });
      const [headers] = await once(stream, "response");
      expect(headers["grpc-status"]).toBe(String(DEADLINE_EXCEEDED));
      session.destroy();
    });
  });
});

describe("a stream whose sends fail unexpectedly", () => {
  it("ends with INTERNAL after the first, and the second does not end the process", async () => {
    const database = new Database(server.database);
    database.exec(`CREATE TRIGGER fault BEFORE INSERT ON messages WHEN NEW.text LIKE 'Fault%'
      BEGIN SELECT RAISE(ABORT, 'a fault of the test'); END`);
    try {
      for (let round = 0; round < 5; round += 1) {
        const stream = open();
        for (let count = 0; count < 20; count += 1) stream.write({ text: `Fault ${count}` });
        expect((await stream.ended)?.code).toBe(INTERNAL);
      }
    } finally {
      database.exec("DROP TRIGGER fault");
      database.close();
    }
    await expectServing();
    expect(server.process.exitCode).toBeNull();
  });
});

describe("over HTTP/1.1", () => {
  const post = (path: string, type: string, body: Uint8Array) =>
    fetch(server.url + path, {
      method: "POST",
      headers: { authorization: `Bearer ${API_KEY}`, "content-type": type },
      body: Buffer.from(body),
    });

  it("Connect answers StreamMessages with 505", async () => {
    const { status } = await post(pathOf(streamMessages), "application/connect+proto", enveloped(new Uint8Array()));
    expect(status).toBe(505);
    await expectServing();
  });

  it("WatchMessages is refused as not supported on this port", async () => {
    const response = await post(pathOf(watchMessages), "application/connect+proto", enveloped(new Uint8Array()));
    expect(response.status).toBe(200);
    const body = Buffer.from(await response.arrayBuffer());
    expect(body[0]).toBe(2);
    const { error } = JSON.parse(body.subarray(5).toString());
    expect(error.code).toBe("unimplemented");
    expect(reasonOfConnect(JSON.stringify(error))).toBe("NOT_IMPLEMENTED");
  });
});

describe("a gRPC call with Authorization headers", () => {
  const PATH = "/numberpool.v1.ProfileService/ListProfiles";

  /** The types of the frames that answer a call with these Authorization headers. */
  const answered = async (...keys: string[]) => {
    const raw = openRaw(server.grpc);
    const headers = { ":method": "POST", ":scheme": "http", ":path": PATH, ":authority": "localhost" };
    const rest = { "content-type": "application/grpc", te: "trailers" };
    const blocks = [headers, rest, ...keys.map((key) => ({ authorization: `Bearer ${key}` }))].map(headerBlock);
    await raw.write(
      Buffer.concat([
        HELLO,
        frame(FRAME.HEADERS, END_HEADERS, 1, Buffer.concat(blocks)),
        frame(FRAME.DATA, END_STREAM, 1, Buffer.alloc(5)),
      ]),
    );
    const ended = () =>
      raw.frames().some(({ stream, flags, type }) => stream === 1 && type === FRAME.HEADERS && flags & END_STREAM);
    await vi.waitFor(() => expect(ended()).toBe(true), { timeout: 5_000 });
    const types = raw.frames().flatMap(({ stream, type }) => (stream === 1 ? [type] : []));
    raw.destroy();
    return types;
  };

  it("is answered with one, and refused with two, even if equal", async () => {
    expect(await answered(API_KEY)).toContain(FRAME.DATA);
    for (const keys of [
      [API_KEY, API_KEY],
      [API_KEY, "nobody"],
      ["nobody", API_KEY],
    ]) {
      expect(await answered(...keys)).not.toContain(FRAME.DATA);
    }
  });
});
