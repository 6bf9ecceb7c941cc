import { connect, type IncomingHttpHeaders } from "node:http2";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Client, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ListProfilesRequestSchema, ListProfilesResponseSchema } from "../../gen/numberpool/v1/profile_service_pb.ts";
import { API_KEY, startServer, type TestServer, temporaryFolder } from "../server.ts";
import { enveloped, openGrpcWeb, reasonIn, reasonOfConnect } from "../transport/transports.ts";
import { GrpcRefusal } from "./grpc-client.ts";

const folder = temporaryFolder();
const SEND = "/numberpool.v1.PoolSendService/SendMessage";
const LIST = "/numberpool.v1.ProfileService/ListProfiles";
const AUTHORIZED = { authorization: `Bearer ${API_KEY}` };
let server: TestServer;
let client: Client;

beforeAll(async () => {
  server = await startServer({ database: `${folder.path}/numberpool.db` });
  client = new Client(server.grpc, credentials.createInsecure(), { "grpc.max_send_message_length": -1 });
});

afterAll(async () => {
  client.close();
  expect(await server.stop()).toBe(0);
  folder.remove();
});

/** Calls over gRPC with bytes; gives "OK" or the refusal. */
function call(path: string, bytes: Buffer, metadata: Record<string, string> = {}, deadline = 20_000) {
  const asIs = (value: Buffer) => value;
  const sent = new Metadata();
  for (const [name, value] of Object.entries({ ...AUTHORIZED, ...metadata })) sent.set(name, value);
  return new Promise<GrpcRefusal | "OK">((resolve) => {
    const options = { deadline: Date.now() + deadline };
    client.makeUnaryRequest(path, asIs, asIs, bytes, sent, options, (error: ServiceError | null) =>
      resolve(error === null ? "OK" : new GrpcRefusal(error)),
    );
  });
}

describe("over gRPC a refusal carries ErrorInfo", () => {
  it.each([
    ["of an unknown method", "/numberpool.v1.PoolSendService/Nothing", 0, 12, "NOT_IMPLEMENTED"],
    ["of an unknown service", "/numberpool.v1.Nothing/Nothing", 0, 12, "NOT_IMPLEMENTED"],
    ["of a send of more than 64 KiB", SEND, 70_000, 8, "REQUEST_TOO_LARGE"],
    ["of a message of more than 4 MiB", SEND, 4 * 1024 * 1024 + 1, 8, "REQUEST_TOO_LARGE"],
  ])("%s", async (_name, path, size, code, reason) => {
    const refusal = (await call(path, Buffer.alloc(size))) as GrpcRefusal;
    expect([refusal.code, refusal.info?.reason, refusal.info?.domain]).toEqual([code, reason, "numberpool"]);
  });
});

/**
 * Calls by HTTP/2 without a gRPC client, so that headers stay as given; gives the gRPC status and
 * its reason.
 */
function callRaw(path: string, headers: Record<string, string>, body: Buffer) {
  return new Promise<readonly [status: string, reason: string | undefined]>((resolve, reject) => {
    const session = connect(`http://${server.grpc}`);
    session.on("error", reject);
    const stream = session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc+proto",
      te: "trailers",
      ...AUTHORIZED,
      ...headers,
    });
    const note = (received: IncomingHttpHeaders) => {
      if (received["grpc-status"] === undefined) return;
      const details = Buffer.from(String(received["grpc-status-details-bin"] ?? ""), "base64");
      resolve([String(received["grpc-status"]), reasonIn(details)]);
      session.close();
    };
    stream.on("response", note);
    stream.on("trailers", note);
    stream.on("error", () => undefined);
    stream.resume();
    stream.end(body);
  });
}

describe("over gRPC the library's own refusals carry ErrorInfo", () => {
  const nothing = enveloped(Buffer.alloc(0));
  it.each([
    ["an unknown compression", { "grpc-encoding": "zebra" }, enveloped(Buffer.from("x"), 1), "12", "NOT_IMPLEMENTED"],
    ["gzip that is none", { "grpc-encoding": "gzip" }, enveloped(Buffer.from("x"), 1), "3", "MALFORMED_MESSAGE"],
    ["no request", {}, Buffer.alloc(0), "3", "MALFORMED_MESSAGE"],
    ["two requests", {}, Buffer.concat([nothing, nothing]), "3", "MALFORMED_MESSAGE"],
    ["a deadline that is none", { "grpc-timeout": "soon" }, nothing, "3", "BAD_REQUEST"],
    ["a deadline of twelve digits", { "grpc-timeout": "999999999999S" }, nothing, "3", "BAD_REQUEST"],
    ["a deadline that is over", { "grpc-timeout": "0m" }, nothing, "4", "TIMEOUT"],
  ])("%s", async (_name, headers: Record<string, string>, body, status, reason) => {
    expect(await callRaw(LIST, headers, body)).toEqual([status, reason]);
  });

  it("a deadline that passes while the request is on its way", async () => {
    const session = connect(`http://${server.grpc}`);
    const stream = session.request({
      ":method": "POST",
      ":path": LIST,
      "content-type": "application/grpc+proto",
      te: "trailers",
      "grpc-timeout": "100m",
      ...AUTHORIZED,
    });
    const received = await new Promise<IncomingHttpHeaders>((resolve) => {
      stream.on("response", (headers) => headers["grpc-status"] !== undefined && resolve(headers));
      stream.on("trailers", resolve);
      stream.resume();
    });
    expect(received["grpc-status"]).toBe("4");
    expect(reasonIn(Buffer.from(String(received["grpc-status-details-bin"]), "base64"))).toBe("TIMEOUT");
    session.destroy();
  });

  it.each(["61S", "3600S", "99999999S", "99999999M", "99999999H", "2147484S", "35792M"])(
    "and a deadline above the limit is capped: %s",
    async (timeout) => {
      expect(await callRaw(LIST, { "grpc-timeout": timeout }, nothing)).toEqual(["0", undefined]);
    },
  );
});

describe("over Connect a refusal carries ErrorInfo", () => {
  const JSON_TYPE = { "content-type": "application/json" };
  const WEB_TYPE = { "content-type": "application/grpc-web+proto" };
  const STREAM = "/numberpool.v1.PoolSendService/StreamMessages";
  const NOTHING = "/numberpool.v1.PoolSendService/Nothing";

  /** Calls by HTTP; gives the status, and the error's code and reason in any protocol. */
  async function ask(verb: string, path: string, headers: Record<string, string>, body?: Buffer | string) {
    const answer = await fetch(server.url + path, {
      method: verb,
      headers: { ...AUTHORIZED, ...headers },
      ...(body !== undefined && { body: typeof body === "string" ? body : new Uint8Array(body) }),
    });
    const bytes = Buffer.from(await answer.arrayBuffer());
    if (/^application\/grpc/.test(headers["content-type"] ?? "")) {
      const { trailers } = openGrpcWeb(bytes, answer.headers);
      const details = Buffer.from(trailers.get("grpc-status-details-bin") ?? "", "base64");
      return [answer.status, trailers.get("grpc-status"), reasonIn(details)];
    }
    const text = bytes.toString();
    return [answer.status, JSON.parse(text).code, reasonOfConnect(text)];
  }

  it.each([
    ["of an unknown method", "POST", NOTHING, JSON_TYPE, "{}", [501, "unimplemented", "NOT_IMPLEMENTED"]],
    [
      "of an unknown method in protobuf",
      ...["POST", NOTHING],
      { "content-type": "application/proto" },
      "x",
      [501, "unimplemented", "NOT_IMPLEMENTED"],
    ],
    ["of an unknown method of gRPC-Web", "POST", NOTHING, WEB_TYPE, "", [200, "12", "NOT_IMPLEMENTED"]],
    [
      "of an unknown compression",
      ...["POST", LIST],
      { ...JSON_TYPE, "content-encoding": "zebra" },
      "{}",
      [501, "unimplemented", "NOT_IMPLEMENTED"],
    ],
    [
      "of gzip",
      ...["POST", LIST],
      { ...JSON_TYPE, "content-encoding": "gzip" },
      "{}",
      [501, "unimplemented", "NOT_IMPLEMENTED"],
    ],
    [
      "of an unknown compression of gRPC-Web",
      ...["POST", LIST],
      { ...WEB_TYPE, "grpc-encoding": "zebra" },
      enveloped(Buffer.alloc(0), 1),
      [200, "12", "NOT_IMPLEMENTED"],
    ],
    [
      "of a message flagged as compressed without a compression",
      ...["POST", LIST],
      WEB_TYPE,
      enveloped(Buffer.from("x"), 1),
      [200, "3", "MALFORMED_MESSAGE"],
    ],
    [
      "of an unsupported content type",
      ...["POST", LIST],
      { "content-type": "text/plain" },
      "{}",
      [415, "invalid_argument", "UNSUPPORTED_MEDIA_TYPE"],
    ],
    [
      "of the type of a stream",
      ...["POST", LIST],
      { "content-type": "application/connect+json" },
      enveloped(Buffer.from("{}")),
      [415, "invalid_argument", "UNSUPPORTED_MEDIA_TYPE"],
    ],
    ["of no type", "POST", LIST, {}, undefined, [415, "invalid_argument", "UNSUPPORTED_MEDIA_TYPE"]],
    ["of a stream both ways", "POST", STREAM, JSON_TYPE, "{}", [505, "unimplemented", "NOT_IMPLEMENTED"]],
    ["of a stream both ways of gRPC-Web", "POST", STREAM, WEB_TYPE, "", [505, "12", "NOT_IMPLEMENTED"]],
    [
      "of a body of more than 64 KiB",
      ...["POST", SEND],
      JSON_TYPE,
      JSON.stringify({ text: "x".repeat(70_000) }),
      [429, "resource_exhausted", "REQUEST_TOO_LARGE"],
    ],
    ["of a send by GET", "GET", SEND, {}, undefined, [405, "unimplemented", "METHOD_NOT_ALLOWED"]],
    ["of a method by PUT", "PUT", LIST, JSON_TYPE, "{}", [405, "unimplemented", "METHOD_NOT_ALLOWED"]],
    [
      "of a malformed deadline",
      ...["POST", LIST],
      { ...JSON_TYPE, "connect-timeout-ms": "soon" },
      "{}",
      [400, "invalid_argument", "BAD_REQUEST"],
    ],
    [
      "of a malformed deadline of gRPC-Web",
      ...["POST", LIST],
      { ...WEB_TYPE, "grpc-timeout": "soon" },
      enveloped(Buffer.alloc(0)),
      [200, "3", "BAD_REQUEST"],
    ],
    [
      "of a deadline that has passed",
      ...["POST", LIST],
      { ...JSON_TYPE, "connect-timeout-ms": "0" },
      "{}",
      [504, "deadline_exceeded", "TIMEOUT"],
    ],
  ] as [string, string, string, Record<string, string>, string | Buffer | undefined, unknown[]][])(
    "%s",
    async (_name, verb, path, headers, body, expected) => {
      expect(await ask(verb, path, headers, body)).toEqual(expected);
    },
  );

  it.each([
    ["connect-timeout-ms", "60001", JSON_TYPE, "{}"],
    ["connect-timeout-ms", "9999999999", JSON_TYPE, "{}"],
    ["grpc-timeout", "99999999H", WEB_TYPE, enveloped(Buffer.alloc(0))],
    ["grpc-timeout", "61S", WEB_TYPE, enveloped(Buffer.alloc(0))],
  ] as const)("and a deadline longer than ours is capped: %s %s", async (header, timeout, type, body) => {
    const answer = await fetch(server.url + LIST, {
      method: "POST",
      headers: { ...AUTHORIZED, ...type, [header]: timeout },
      body: typeof body === "string" ? body : new Uint8Array(body),
    });
    const bytes = Buffer.from(await answer.arrayBuffer());
    expect(answer.status).toBe(200);
    if (header === "grpc-timeout") expect(openGrpcWeb(bytes, answer.headers).trailers.get("grpc-status")).toBe("0");
  });
});

describe("GET by Connect", () => {
  const get = async (path: string, query: Record<string, string>, verb = "GET") => {
    const answer = await fetch(`${server.url}${path}?${new URLSearchParams(query)}`, {
      method: verb,
      headers: AUTHORIZED,
    });
    const bytes = Buffer.from(await answer.arrayBuffer());
    return { status: answer.status, type: answer.headers.get("content-type"), bytes, text: bytes.toString() };
  };

  it("gives the response of POST, in both encodings", async () => {
    const posted = await server.json("POST", LIST, { page: { size: 3 } });
    const { status, type, text } = await get(LIST, { connect: "v1", encoding: "json", message: '{"page":{"size":3}}' });
    expect([status, type, JSON.parse(text)]).toEqual([200, "application/json", posted.body]);
    const page = Buffer.from(
      toBinary(ListProfilesRequestSchema, create(ListProfilesRequestSchema, { page: { size: 3 } })),
    );
    for (const message of [page.toString("base64url"), page.toString("base64")]) {
      const answer = await get(LIST, { encoding: "proto", base64: "1", message });
      expect([answer.status, answer.type]).toEqual([200, "application/proto"]);
      expect(fromBinary(ListProfilesResponseSchema, answer.bytes).meta?.pageSize).toBe(3);
    }
    expect((await get(LIST, { encoding: "json", message: "{}" }, "HEAD")).status).toBe(200);
    expect((await get(LIST, { encoding: "proto" })).status).toBe(200);
  });

  it.each([
    ["no encoding", {}, 415, "UNSUPPORTED_MEDIA_TYPE"],
    ["an unknown encoding", { encoding: "xml" }, 415, "UNSUPPORTED_MEDIA_TYPE"],
    ["a compression", { encoding: "json", compression: "gzip", message: "{}" }, 501, "NOT_IMPLEMENTED"],
    ["JSON that is none", { encoding: "json", message: "{" }, 400, "INVALID_JSON"],
    ["base64 that is none", { encoding: "json", base64: "1", message: "{}" }, 400, "MALFORMED_MESSAGE"],
    ["bytes that are no message", { encoding: "proto", base64: "1", message: "CiQ" }, 400, "MALFORMED_MESSAGE"],
    ["a value that is refused", { encoding: "json", message: '{"page":{"size":0}}' }, 400, "OUT_OF_RANGE"],
  ] as [string, Record<string, string>, number, string][])("refuses %s", async (_name, query, status, reason) => {
    const answer = await get(LIST, query);
    expect([answer.status, reasonOfConnect(answer.text)]).toEqual([status, reason]);
  });

  it("needs a key", async () => {
    const answer = await fetch(`${server.url}${LIST}?encoding=json&message={}`);
    expect([answer.status, reasonOfConnect(await answer.text())]).toEqual([401, "UNAUTHENTICATED"]);
  });
});

describe("reflection", () => {
  it("serves the types of a refusal's details", async () => {
    const files = ["google/rpc/error_details.proto", "google/rpc/status.proto"];
    const found = await Promise.all(files.map((name) => reflect(name)));
    for (const [index, protos] of found.entries()) {
      expect(protos.map(({ name }) => name)).toContain(files[index]);
    }
    const [details] = found;
    expect(details?.[0]?.messageType.map(({ name }) => name)).toEqual(
      expect.arrayContaining(["ErrorInfo", "BadRequest", "RetryInfo"]),
    );
  });

  it("finds them by their symbols", async () => {
    for (const symbol of [
      "google.rpc.ErrorInfo",
      "google.rpc.BadRequest",
      "google.rpc.RetryInfo",
      "google.rpc.Status",
    ]) {
      const protos = await reflect(symbol, 4);
      const file = protos.find(({ package: name }) => name === "google.rpc");
      expect([symbol, file?.messageType.map(({ name }) => `google.rpc.${name}`)]).toEqual([
        symbol,
        expect.arrayContaining([symbol]),
      ]);
    }
  });
});

/** Asks reflection for a file, or with field 4 for a symbol; gives the descriptors. */
function reflect(name: string, field = 3) {
  const asIs = (value: Buffer) => value;
  const path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
  const stream = client.makeBidiStreamRequest(path, asIs, asIs, { deadline: Date.now() + 10_000 });
  return new Promise<NonNullable<ReturnType<typeof descriptorsIn>>>((resolve, reject) => {
    stream.on("data", (bytes: Buffer) => {
      const found = descriptorsIn(bytes);
      if (found === undefined) reject(new Error(`reflection does not know ${name}`));
      else resolve(found);
    });
    stream.on("error", reject);
    stream.write(Buffer.concat([Buffer.from([(field << 3) | 2, name.length]), Buffer.from(name)]));
    stream.end();
  });
}

/** The file_descriptor_response (field 4) of a ServerReflectionResponse. */
function descriptorsIn(response: Buffer) {
  for (let at = 0; at < response.length; ) {
    const field = (response[at] as number) >> 3;
    const [length, start] = varint(response, at + 1);
    // FileDescriptorResponse and FileDescriptorSet hold the same field 1; the set's are files,
    // these are their bytes.
    if (field === 4) return fromBinary(FileDescriptorSetSchema, response.subarray(start, start + length)).file;
    at = start + length;
  }
  return undefined;
}

function varint(bytes: Buffer, from: number): readonly [value: number, next: number] {
  let value = 0;
  for (let at = from, shift = 0; ; at += 1, shift += 7) {
    value |= ((bytes[at] as number) & 0x7f) << shift;
    if ((bytes[at] as number) < 0x80) return [value, at + 1];
  }
}
