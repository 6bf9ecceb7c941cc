import { connect } from "node:net";
import type { DescMethod } from "@bufbuild/protobuf";
import { Client, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { API_KEY, startServer, type TestServer, temporaryFolder } from "../server.ts";
import { makePool, register } from "../wire/pools.ts";
import { CATALOGUE, httpRequestOf, type JsonObject, METHODS, methodOf, pathOf } from "./contract.ts";
import { jsonOf, type Known, wireOf } from "./generate.ts";
import { BOUNDED_HEAP, residentMegabytes } from "./program.ts";
import { enveloped, openGrpcWeb, reasonIn, reasonOfConnect } from "./transports.ts";

/** Requests for each transport; each port gets a tenth as many connections. */
const COUNT = Number(process.env.NUMBERPOOL_TEST_FUZZ ?? 2_000);
const SEED = Number(process.env.NUMBERPOOL_TEST_FUZZ_SEED ?? 20_261_101);
/** Concurrent requests. */
const AT_ONCE = 50;
const MAX_MEGABYTES = 400;
const TIMEOUT = 30_000 + COUNT * 60;

const UNARY = METHODS.filter(({ methodKind }) => methodKind === "unary");

/** Requests of RPCs, as bytes, that broke something once, or nearly did. */
const FOUND_BYTES: readonly (readonly [title: string, method: string, hex: string])[] = [
  ["nothing", "SendMessage", ""],
  ["one byte of a tag", "SendMessage", "8a"],
  ["a string longer than the message", "SendMessage", "0affffffff0f"],
  ["a string that is not UTF-8", "SendMessage", "1203eda080"],
  ["a group that never ends", "SendMessage", "7b"],
  ["field number zero", "SendMessage", "0000"],
  ["an enum value that there is none of", "SendMessage", "20e307"],
  ["a rate that is not a number", "RegisterNumber", "0a09290100000000f8ff7f"],
  ["a weight without end", "CreateProfile", "0a0b3a0909000000000000f07f"],
  ["a time far beyond any calendar", "ListOptOuts", "12100a0e08ffffffffffffffff7f10ffffff0f"],
];

/** The same as bodies of the JSON transport. */
const FOUND_BODIES: readonly (readonly [title: string, verb: string, path: string, body: string])[] = [
  ["NaN", "POST", "/v2/phone_numbers", '{"phone_number":"+12125550100","segments_per_second":NaN}'],
  [
    "a number beyond all numbers",
    "POST",
    "/v2/phone_numbers",
    '{"phone_number":"+12125550100","segments_per_second":1e999}',
  ],
  ["a key of every object", "POST", "/v2/messages/number_pool", '{"__proto__":{"to":"+13125550100"},"constructor":1}'],
  ["lists in lists", "POST", "/v2/messages/number_pool/batch", `{"messages":${"[".repeat(9_000)}${"]".repeat(9_000)}}`],
  [
    "half a surrogate pair",
    "POST",
    "/v2/messages/number_pool",
    '{"messaging_profile_id":"\\ud800","to":"+1","text":"\\udfff"}',
  ],
  ["a path that is no UTF-8", "GET", "/v2/messages/%ED%A0%80", ""],
  ["a path with a NUL", "GET", "/v2/phone_numbers/%00", ""],
  ["a path with half an escape", "GET", "/v2/messages/%", ""],
  ["a filter in a filter in a filter", "GET", "/v2/phone_numbers?filter[phone_number][eq][eq][eq]=1", ""],
  ["a filter of every object", "GET", "/v2/phone_numbers?filter[__proto__]=1&filter[constructor][prototype]=2", ""],
  ["a page of another list", "GET", "/v2/messages?page[after]=AAAA", ""],
];

const folder = temporaryFolder();
let server: TestServer;
let known: Known;
let profileId: string;
let grpc: Client;

beforeAll(async () => {
  server = await startServer({ database: `${folder.path}/numberpool.db`, env: { NODE_OPTIONS: BOUNDED_HEAP } });
  grpc = new Client(server.grpc, credentials.createInsecure());
  ({ profileId } = await makePool(server, { long: 2 }));
  known = await makeKnown();
});

afterAll(async () => {
  grpc.close();
  expect(await server.stop()).toBe(0);
  folder.remove();
});

/** Pools that requests may name, change and delete. */
async function makeKnown(): Promise<Known> {
  const profiles: string[] = [];
  const ids: string[] = [];
  const numbers: string[] = [];
  const messages: string[] = [];
  for (let index = 0; index < 12; index += 1) {
    const settings = { long_code_weight: 1, toll_free_weight: 1, sticky_sender: true, geomatch: true };
    const pool = await makePool(server, { long: 1, profile: { number_pool_settings: settings } });
    profiles.push(pool.profileId);
    numbers.push(...pool.numbers);
    ids.push(
      (await register(server, { phone_number: `+1800557${1_000 + index}`, messaging_profile_id: pool.profileId })).id,
    );
    const send = { messaging_profile_id: pool.profileId, to: "+13125550100", text: "Hi" };
    messages.push((await server.json("POST", "/v2/messages/number_pool", send)).body.data.id);
  }
  const recipients = ["+13125550100", "+13125550101", "+13125550106", "+18005550100", "+442071838750"];
  return {
    id: [...profiles, ...ids, ...numbers, ...messages],
    messaging_profile_id: profiles,
    phone_number: [...numbers, "+12125559901", "+12125559902"],
    to: recipients,
    from: [...numbers, ...recipients],
    text: ["Hello", "Good afternoon", "¡Hola!", "😀"],
    carrier: ["sandbox"],
    eq: [...numbers, "Wire"],
    contains: ["555", "Wire"],
    whitelisted_destinations: ["US", "CA"],
    request_id: ["one", "two"],
    paths: ["name", "number_pool_settings", "number_pool_settings.geomatch", "segments_per_second", "tags"],
    name: ["Wire"],
  };
}

/** The difference of a response from the catalogue; undefined: none. */
function complaintOf(reason: string | undefined, status: number, transport: "rpc" | "http"): string | undefined {
  const form = reason === undefined ? undefined : CATALOGUE.get(reason);
  if (form === undefined) return `the reason ${reason} with ${status} is not in the catalogue`;
  const expected = transport === "rpc" ? form.rpcCode : form.httpStatus;
  if (status !== expected) return `${reason} is given as ${status} and not as ${expected}`;
  return reason === "INTERNAL" || reason === "UNAVAILABLE" ? `${reason} is our fault` : undefined;
}

/** Calls an RPC with any bytes, and gives the response's difference from the catalogue. */
type Attempt = (method: DescMethod, bytes: Uint8Array) => Promise<string | undefined>;

const asIs = (bytes: Buffer) => bytes;

const overGrpc: Attempt = (method, bytes) =>
  new Promise((resolve) => {
    const metadata = new Metadata();
    metadata.set("authorization", `Bearer ${API_KEY}`);
    const deadline = { deadline: Date.now() + 20_000 };
    grpc.makeUnaryRequest(pathOf(method), asIs, asIs, Buffer.from(bytes), metadata, deadline, (error) => {
      resolve(error === null ? undefined : ofGrpc(error));
    });
  });

function ofGrpc(error: ServiceError): string | undefined {
  const details = error.metadata.get("grpc-status-details-bin")[0];
  return complaintOf(Buffer.isBuffer(details) ? reasonIn(details) : undefined, error.code, "rpc");
}

function post(path: string, type: string, body: Uint8Array | string): Promise<Response> {
  const headers = { authorization: `Bearer ${API_KEY}`, "content-type": type };
  return fetch(server.url + path, { method: "POST", headers, body: Buffer.from(body) });
}

const overConnect: Attempt = async (method, bytes) => ofConnect(await post(pathOf(method), "application/proto", bytes));

/** Connect has its own HTTP statuses, and gRPC's codes. */
async function ofConnect(response: Response): Promise<string | undefined> {
  const body = await response.text();
  if (response.status === 200) return undefined;
  const { code } = JSON.parse(body);
  const reason = reasonOfConnect(body);
  const form = CATALOGUE.get(reason ?? "");
  if (form === undefined) return `${response.status} ${body} is not in the catalogue`;
  if (CODES[form.rpcCode] !== code) return `${reason} is given as ${code}`;
  return complaintOf(reason, form.rpcCode, "rpc");
}

const CODES: Readonly<Record<number, string>> = {
  3: "invalid_argument",
  5: "not_found",
  6: "already_exists",
  8: "resource_exhausted",
  9: "failed_precondition",
  12: "unimplemented",
};

const overGrpcWeb: Attempt = async (method, bytes) => {
  const response = await post(pathOf(method), "application/grpc-web+proto", enveloped(bytes));
  if (response.status !== 200) return `${response.status} ${await response.text()}`;
  const { trailers } = openGrpcWeb(Buffer.from(await response.arrayBuffer()), response.headers);
  const status = Number(trailers.get("grpc-status"));
  if (status === 0) return undefined;
  return complaintOf(reasonIn(Buffer.from(trailers.get("grpc-status-details-bin") ?? "", "base64")), status, "rpc");
};

async function overJson(method: DescMethod, request: JsonObject): Promise<string | undefined> {
  const { verb, path, body } = httpRequestOf(method, request);
  // Cut anywhere, also inside escapes; longer ones have their own test.
  return ofJson(verb, path.slice(0, 12_000), body === undefined ? undefined : JSON.stringify(body));
}

async function ofJson(verb: string, path: string, body: string | undefined): Promise<string | undefined> {
  const response = await fetch(server.url + path, {
    method: verb,
    headers: { authorization: `Bearer ${API_KEY}`, ...(body && { "content-type": "application/json" }) },
    ...(body && { body }),
  });
  const text = await response.text();
  const answer = JSON.parse(text);
  if (response.status === 200) return undefined;
  if (!Array.isArray(answer.errors) || answer.errors.length === 0) return `${response.status} ${text} has no errors`;
  const [{ code, title, detail, meta }] = answer.errors;
  const complaint = complaintOf(meta?.reason, response.status, "http");
  if (complaint !== undefined) return complaint;
  const form = CATALOGUE.get(meta.reason);
  if (form?.code !== code || form?.title !== title) return `${meta.reason} is given as ${code} ${title}`;
  return typeof detail === "string" && detail !== "" ? undefined : "the refusal has no detail";
}

/** The process is the same, serves a normal send, and logged no unexpected error. */
async function expectHealthy(): Promise<void> {
  const send = { messaging_profile_id: profileId, to: "+13125559999", text: "Still here" };
  const { status } = await server.json("POST", "/v2/messages/number_pool", send);
  expect(status).toBe(200);
  expect(server.process.exitCode).toBeNull();
  expect(server.stderr()).not.toMatch(/failed unexpectedly|"level":[56]0/);
  expect(residentMegabytes(server) ?? 0).toBeLessThan(MAX_MEGABYTES);
}

/** Tries this many cases, some at once, and gives the first few with a wrong response. */
async function tryAll<Case>(
  one: fc.Arbitrary<Case>,
  count: number,
  attempt: (each: Case) => Promise<string | undefined>,
  show: (each: Case) => string,
) {
  const cases = fc.sample(one, { numRuns: count, seed: SEED });
  const complaints: string[] = [];
  for (let at = 0; at < cases.length && complaints.length < 3; at += AT_ONCE) {
    const some = cases.slice(at, at + AT_ONCE);
    const found = await Promise.all(some.map(attempt));
    found.forEach((complaint, index) => {
      if (complaint !== undefined) complaints.push(`${show(some[index] as Case).slice(0, 200)}: ${complaint}`);
    });
  }
  expect(complaints.slice(0, 3)).toEqual([]);
  await expectHealthy();
}

type Bytes = readonly [method: DescMethod, bytes: Uint8Array];
type Request = readonly [method: DescMethod, request: JsonObject];

const anyBytes = () =>
  fc.oneof(...UNARY.map((method) => wireOf(method.input, known).map((bytes): Bytes => [method, bytes])));
const anyJson = () =>
  fc.oneof(...UNARY.map((method) => jsonOf(method.input, known).map((json): Request => [method, json])));
const showBytes = ([method, bytes]: Bytes) => `${method.name} ${Buffer.from(bytes).toString("hex")}`;
const showJson = ([method, request]: Request) => `${method.name} ${JSON.stringify(request)}`;

describe("every request gets a response of the catalogue", () => {
  const transports: readonly (readonly [string, Attempt])[] = [
    ["gRPC", overGrpc],
    ["Connect", overConnect],
    ["gRPC-Web", overGrpcWeb],
  ];

  it.each(FOUND_BYTES)("%s, found before", async (_title, name, hex) => {
    const bytes = Buffer.from(hex, "hex");
    for (const [transport, attempt] of transports)
      expect([transport, await attempt(methodOf(name), bytes)]).toEqual([transport, undefined]);
    await expectHealthy();
  });

  it.each(FOUND_BODIES)("%s, found before", async (_title, verb, path, body) => {
    expect(await ofJson(verb, path, body === "" ? undefined : body)).toBeUndefined();
    await expectHealthy();
  });

  it.each(transports)("%s with more bytes than the RPC accepts", async (_name, attempt) => {
    expect(await attempt(methodOf("SendMessage"), Buffer.alloc(65 * 1024))).toBeUndefined();
    expect(await attempt(methodOf("SendMessages"), Buffer.alloc(4 * 1024 * 1024 + 100))).toBeUndefined();
    await expectHealthy();
  });

  it.each(transports)("%s with any bytes of any RPC", { timeout: TIMEOUT }, async (_name, attempt) => {
    await tryAll(anyBytes(), COUNT, ([method, bytes]) => attempt(method, bytes), showBytes);
  });

  it("Connect with any JSON of any RPC", { timeout: TIMEOUT }, async () => {
    const attempt = async ([method, request]: Request) =>
      ofConnect(await post(pathOf(method), "application/json", JSON.stringify(request)));
    await tryAll(anyJson(), COUNT, attempt, showJson);
  });

  it("JSON with any request of any route", { timeout: TIMEOUT }, async () => {
    await tryAll(anyJson(), COUNT, ([method, request]) => overJson(method, request), showJson);
  });

  it("a stream with any bytes, before and after valid requests", { timeout: TIMEOUT }, async () => {
    const method = methodOf("StreamMessages");
    const streams = fc.array(wireOf(method.input, known), { maxLength: 10 });
    const attempt = (messages: readonly Uint8Array[]): Promise<string | undefined> =>
      new Promise((resolve) => {
        const metadata = new Metadata();
        metadata.set("authorization", `Bearer ${API_KEY}`);
        const deadline = { deadline: Date.now() + 5_000 };
        const call = grpc.makeBidiStreamRequest(pathOf(method), asIs, asIs, metadata, deadline);
        call.on("data", () => undefined);
        call.on("end", () => resolve(undefined));
        call.on("error", (error: ServiceError) => resolve(ofGrpc(error)));
        for (const bytes of messages) call.write(Buffer.from(bytes));
        call.end();
      });
    const show = (messages: readonly Uint8Array[]) =>
      messages.map((each) => Buffer.from(each).toString("hex")).join(" ");
    await tryAll(streams, COUNT / 10, attempt, show);
  });
});

describe("the program survives any bytes", () => {
  const anything = fc.uint8Array({ maxLength: 2_000 });

  const http1 = fc
    .tuple(
      fc.constantFrom(
        "POST /v2/messages/number_pool HTTP/1.1",
        "GET / HTTP/1.0",
        "PRI * HTTP/2.0",
        "POST http://[ HTTP/1.1",
      ),
      fc.array(
        fc.constantFrom(
          ...["Host: a", "Host:", "Host: [", "Content-Length: 5", "Content-Length: -1", "Transfer-Encoding: chunked"],
          ...[
            "Content-Type: application/json",
            `Authorization: Bearer ${API_KEY}`,
            "Expect: 100-continue",
            "Upgrade: h2c",
          ],
          ...[
            "Connection: upgrade",
            "\0: a",
            ": a",
            "a",
            `a: ${"b".repeat(17_000)}`,
            "Transfer-Encoding: gzip, chunked",
          ],
        ),
        { maxLength: 8 },
      ),
      fc.uint8Array({ maxLength: 200 }),
    )
    .map(([line, headers, body]) =>
      Buffer.concat([Buffer.from(`${[line, ...headers].join("\r\n")}\r\n\r\n`, "latin1"), body]),
    );

  const frame = fc
    .tuple(fc.nat(12), fc.nat(255), fc.oneof(fc.nat(9), fc.nat(2 ** 31 - 1)), fc.uint8Array({ maxLength: 100 }))
    .map(([type, flags, stream, payload]) => {
      const header = Buffer.alloc(9);
      header.writeUIntBE(payload.length, 0, 3);
      header[3] = type;
      header[4] = flags;
      header.writeUInt32BE(stream, 5);
      return Buffer.concat([header, payload]);
    });
  const http2 = fc
    .array(frame, { maxLength: 20 })
    .map((frames) =>
      Buffer.concat([
        Buffer.from(`PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${"\0".repeat(3)}\u0004${"\0".repeat(5)}`),
        ...frames,
      ]),
    );

  /** Writes, waits for the other side to end or for a moment, and disconnects. */
  const write = (address: string, bytes: Uint8Array): Promise<void> =>
    new Promise((resolve) => {
      const [host, port] = address.split(":") as [string, string];
      const socket = connect(Number(port), host);
      const moment = setTimeout(() => socket.destroy(), 100);
      socket.on("error", () => undefined);
      socket.on("data", () => undefined);
      socket.on("close", () => {
        clearTimeout(moment);
        resolve();
      });
      socket.write(bytes);
    });

  it.each([
    ["HTTP", () => new URL(server.url).host, fc.oneof(anything, http1, http2)],
    ["gRPC", () => server.grpc, fc.oneof(anything, http1, http2, http2)],
  ] as const)("on the %s port", { timeout: TIMEOUT }, async (_name, address, bytes) => {
    const attempt = async (each: Uint8Array) => {
      await write(address(), each);
      return server.process.exitCode === null ? undefined : "the program ended";
    };
    await tryAll(bytes, COUNT / 10, attempt, (each) => Buffer.from(each).toString("hex"));
  });
});
