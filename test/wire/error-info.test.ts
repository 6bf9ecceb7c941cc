import { connect, type IncomingHttpHeaders } from "node:http2";
import { fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Client, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { enveloped, reasonIn } from "../doors/doors.ts";
import { API_KEY, startServer, type TestServer, temporaryFolder } from "../server.ts";
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

/** Calls by HTTP/2 alone, so that headers are what they are; gives gRPC's status and the reason in its details. */
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
    const note = (told: IncomingHttpHeaders) => {
      if (told["grpc-status"] === undefined) return;
      const details = Buffer.from(String(told["grpc-status-details-bin"] ?? ""), "base64");
      resolve([String(told["grpc-status"]), reasonIn(details)]);
      session.close();
    };
    stream.on("response", note);
    stream.on("trailers", note);
    stream.on("error", () => undefined);
    stream.resume();
    stream.end(body);
  });
}

describe("over gRPC what the library refuses by itself carries ErrorInfo", () => {
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
    const told = await new Promise<IncomingHttpHeaders>((resolve) => {
      stream.on("response", (headers) => headers["grpc-status"] !== undefined && resolve(headers));
      stream.on("trailers", resolve);
      stream.resume();
    });
    expect(told["grpc-status"]).toBe("4");
    expect(reasonIn(Buffer.from(String(told["grpc-status-details-bin"]), "base64"))).toBe("TIMEOUT");
    session.destroy();
  });

  it.each(["61S", "3600S", "99999999S", "99999999M", "99999999H", "2147484S", "35792M"])(
    "and a deadline longer than ours is capped: %s",
    async (timeout) => {
      expect(await callRaw(LIST, { "grpc-timeout": timeout }, nothing)).toEqual(["0", undefined]);
    },
  );
});

describe("reflection", () => {
  it("serves what the details of a refusal are made of", async () => {
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

/** Asks reflection for a file, or with field 4 for a symbol; gives the descriptors of the answer. */
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
    // FileDescriptorResponse and FileDescriptorSet hold the same field 1; the set's are files, these are their bytes.
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
