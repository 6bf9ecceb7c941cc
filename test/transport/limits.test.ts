import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import {
  type ChannelCredentials,
  Client,
  credentials as channelCredentials,
  Metadata,
  type ServiceError,
} from "@grpc/grpc-js";
import Database from "better-sqlite3";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { PoolSendService } from "../../gen/numberpool/v1/pool_send_service_pb.ts";
import { ProfileService } from "../../gen/numberpool/v1/profile_service_pb.ts";
import { TRANSPORT_LIMITS } from "../../src/transport/limits.ts";
import { API_KEY, type JsonAnswer, startServer, type TestServer, temporaryFolder } from "../server.ts";
import { createGrpcClient, GrpcRefusal } from "../wire/grpc-client.ts";
import { makePool } from "../wire/pools.ts";
import { pathOf } from "./contract.ts";
import { executable, type MadeKey, makeKey } from "./program.ts";
import { END_HEADERS, END_STREAM, FRAME, frame, HELLO, headerBlock, openRaw, uint32 } from "./raw-http2.ts";
import { enveloped, reasonOfConnect } from "./transports.ts";

const { sendMessage } = PoolSendService.method;
const { listProfiles } = ProfileService.method;
const TO = "+13125569999";
const RESOURCE_EXHAUSTED = 8;
const UNIMPLEMENTED = 12;
const UNAVAILABLE = 14;

const folder = temporaryFolder();
const running: TestServer[] = [];
let databases = 0;

/** Starts a server for this file on a new database. */
async function start(options: Omit<Parameters<typeof startServer>[0], "database">): Promise<TestServer> {
  databases += 1;
  const server = await startServer({ ...options, database: join(folder.path, `${databases}.db`) });
  running.push(server);
  return server;
}

afterAll(async () => {
  for (const server of running) expect(await server.stop()).toBe(0);
  folder.remove();
});

const pause = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds));
const asIs = (bytes: Buffer) => bytes;

async function refusalOf(calling: Promise<unknown>): Promise<GrpcRefusal> {
  try {
    await calling;
  } catch (error) {
    if (error instanceof GrpcRefusal) return error;
    throw error;
  }
  throw new Error("the call was not refused");
}

describe("calls_per_second", () => {
  const RATE = 5;
  let server: TestServer;
  let keys: readonly MadeKey[];

  beforeAll(async () => {
    server = await start({ env: { NUMBERPOOL_CALLS_PER_SECOND: String(RATE) } });
    keys = await Promise.all([1, 2, 3, 4, 5].map(() => makeKey(server, "limited")));
    await pause(1_500);
  });

  const list = (key: MadeKey): Promise<JsonAnswer> =>
    server.json("GET", "/v2/messaging_profiles", undefined, { authorization: `Bearer ${key.token}` });

  it("admits a burst of one second, and refuses the rest with 429, the time to retry, and the limit", async () => {
    const [key, other] = keys as [MadeKey, MadeKey];
    const since = Date.now();
    const answers = await Promise.all(Array.from({ length: 20 }, () => list(key)));
    const took = (Date.now() - since) / 1_000;
    const passed = answers.filter(({ status }) => status === 200);
    expect(passed.length).toBeGreaterThanOrEqual(RATE);
    expect(passed.length).toBeLessThanOrEqual(RATE + Math.ceil(took * RATE));
    const refused = answers.filter(({ status }) => status === 429);
    expect(refused.length).toBe(20 - passed.length);
    for (const { headers, body } of refused) {
      expect(body.errors[0]).toMatchObject({ code: "10011", meta: { reason: "TOO_MANY_REQUESTS" } });
      expect(headers.get("retry-after")).toBe("1");
      expect(headers.get("x-ratelimit-limit")).toBe(String(RATE));
      expect(headers.get("x-ratelimit-remaining")).toBe("0");
      expect(headers.get("x-ratelimit-reset")).toBe("1");
    }
    expect((await list(other)).status).toBe(200);
    expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
    await pause(1_100);
    expect((await list(key)).status).toBe(200);
  });

  it("refuses RPCs with RESOURCE_EXHAUSTED and RetryInfo", async () => {
    const [, , key] = keys as [MadeKey, MadeKey, MadeKey];
    const client = createGrpcClient(server.grpc, key.token);
    const answers = await Promise.allSettled(Array.from({ length: 20 }, () => client.call(listProfiles, {})));
    client.close();
    const refused = answers.flatMap((answer) => (answer.status === "rejected" ? [answer.reason as GrpcRefusal] : []));
    expect(refused.length).toBeGreaterThan(0);
    expect(refused.length).toBeLessThanOrEqual(20 - RATE);
    for (const { code, info, retryAfterMs } of refused) {
      expect([code, info?.reason]).toEqual([RESOURCE_EXHAUSTED, "TOO_MANY_REQUESTS"]);
      expect(retryAfterMs).toBeGreaterThan(0);
      expect(retryAfterMs).toBeLessThanOrEqual(1_000);
    }
  });

  it("refuses Connect calls alike", async () => {
    const [, , , key] = keys as [MadeKey, MadeKey, MadeKey, MadeKey];
    const call = () =>
      fetch(server.url + pathOf(listProfiles), {
        method: "POST",
        headers: { authorization: `Bearer ${key.token}`, "content-type": "application/json" },
        body: "{}",
      });
    const answers = await Promise.all(Array.from({ length: 20 }, call));
    const refused = answers.filter(({ status }) => status !== 200);
    expect(refused.length).toBeGreaterThan(0);
    for (const answer of refused) {
      expect(answer.status).toBe(429);
      const text = await answer.text();
      expect(reasonOfConnect(text)).toBe("TOO_MANY_REQUESTS");
      const { code, details } = JSON.parse(text);
      expect(code).toBe("resource_exhausted");
      const retry = details.find(({ type }: { type: string }) => type === "google.rpc.RetryInfo");
      const { retryDelay } = fromBinary(RetryInfoSchema, Buffer.from(retry.value, "base64"));
      expect(retryDelay && durationMs(retryDelay)).toBeGreaterThan(0);
    }
  });

  it("counts a key's calls in all transports together", async () => {
    const [, , , , key] = keys as [MadeKey, MadeKey, MadeKey, MadeKey, MadeKey];
    const client = createGrpcClient(server.grpc, key.token);
    const start = performance.now();
    const [byGrpc, byJson] = await Promise.all([
      Promise.allSettled(Array.from({ length: 2 * RATE }, () => client.call(listProfiles, {}))),
      Promise.all(Array.from({ length: 2 * RATE }, () => list(key))),
    ]);
    const took = (performance.now() - start) / 1_000;
    client.close();
    const passed = byGrpc.filter(({ status }) => status === "fulfilled").length;
    // Counted apart, each transport would have the whole rate.
    const all = passed + byJson.filter(({ status }) => status === 200).length;
    expect(all).toBeGreaterThanOrEqual(RATE);
    expect(all).toBeLessThanOrEqual(RATE + Math.ceil(took * RATE));
  });
});

describe("overload", () => {
  let server: TestServer;
  let profileId: string;

  beforeAll(async () => {
    server = await start({});
    ({ profileId } = await makePool(server, { long: 5, number: { segments_per_second: 10_000 } }));
  });

  it("gives UNAVAILABLE and 503 at once with the time to retry, and accepted calls finish", {
    timeout: 90_000,
  }, async () => {
    // Frames made beforehand, so that all calls arrive at once after the program was stopped.
    const connections = Array.from({ length: 50 }, () => openRaw(server.grpc));
    await Promise.all(connections.map((connection) => connection.write(HELLO)));
    const clients = Array.from({ length: 5 }, () => createGrpcClient(server.grpc, API_KEY));
    await Promise.all(clients.map((client) => client.call(listProfiles, {})));
    const plain = Array.from({ length: 20 }, () => openRaw(new URL(server.url).host));
    await Promise.all(plain.map((connection) => connection.write("")));
    await pause(500);

    server.process.kill("SIGSTOP");
    const flood = floodOf(95);
    await Promise.all(connections.map((connection) => connection.write(flood)));
    const text = { messagingProfileId: profileId, to: TO, text: "All at once" };
    const calls = clients.flatMap((client) =>
      Array.from({ length: 20 }, async () => {
        try {
          const { message } = await client.call(sendMessage, text);
          return { id: message.data?.id, refusal: undefined, at: Date.now() };
        } catch (error) {
          return { id: undefined, refusal: error as GrpcRefusal, at: Date.now() };
        }
      }),
    );
    const body = JSON.stringify({ messaging_profile_id: profileId, to: TO, text: "All at once" });
    const head = `POST /v2/messages/number_pool HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${API_KEY}`;
    const whole = `${head}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
    await Promise.all(plain.map((connection) => connection.write(whole)));
    await pause(1_500);
    server.process.kill("SIGCONT");

    const answers = await Promise.all(calls);
    const ended = () =>
      connections.flatMap((connection) =>
        connection.frames().filter(({ type, flags }) => type === FRAME.HEADERS && (flags & END_STREAM) !== 0),
      );
    while (ended().length < 50 * 95) await pause(50);
    const finishedAt = Date.now();
    while (plain.some((connection) => !connection.received().toString().includes("\r\n\r\n"))) await pause(50);
    const acceptedOfFlood = connections.flatMap((each) =>
      each.frames().filter(({ type }) => type === FRAME.DATA),
    ).length;
    const statuses = plain.map((connection) => connection.received().toString());
    for (const connection of [...connections, ...plain]) connection.destroy();
    for (const client of clients) client.close();

    const accepted = answers.filter(({ id }) => id !== undefined);
    const refused = answers.filter(({ refusal }) => refusal !== undefined);
    expect(acceptedOfFlood).toBeGreaterThanOrEqual(TRANSPORT_LIMITS.inFlight);
    expect(acceptedOfFlood).toBeLessThan(50 * 95);
    expect(refused.length).toBeGreaterThan(0);
    for (const { refusal, at } of refused) {
      expect([refusal?.code, refusal?.info?.reason, refusal?.retryAfterMs]).toEqual([
        UNAVAILABLE,
        "UNAVAILABLE",
        1_000,
      ]);
      expect(at).toBeLessThanOrEqual(finishedAt);
    }
    const acceptedByJson = statuses.filter((answer) => answer.startsWith("HTTP/1.1 200 "));
    for (const answer of statuses) {
      if (acceptedByJson.includes(answer)) continue;
      expect(answer).toMatch(/^HTTP\/1\.1 503 /);
      expect(answer).toMatch(/\r\nretry-after: 1\r\n/);
      expect(answer).toContain('"code":"10037"');
    }
    expect(stored()).toBe(acceptedOfFlood + accepted.length + acceptedByJson.length);
    expect((await server.json("POST", "/v2/messages/number_pool", JSON.parse(body))).status).toBe(200);
  });

  /** This many sends as frames of one connection. */
  function floodOf(count: number): Buffer {
    const request = create(sendMessage.input, { messagingProfileId: profileId, to: TO, text: "All at once" });
    const bytes = enveloped(toBinary(sendMessage.input, request));
    const block = headerBlock({
      ...{ ":method": "POST", ":scheme": "http", ":path": pathOf(sendMessage), ":authority": "localhost" },
      ...{ "content-type": "application/grpc", te: "trailers", authorization: `Bearer ${API_KEY}` },
    });
    const frames = Array.from({ length: count }, (_, index) => [
      frame(FRAME.HEADERS, END_HEADERS, 2 * index + 1, block),
      frame(FRAME.DATA, END_STREAM, 2 * index + 1, bytes),
    ]);
    // Room for all responses.
    return Buffer.concat([frame(FRAME.WINDOW_UPDATE, 0, 0, uint32(2 ** 28)), ...frames.flat()]);
  }

  function stored(): number {
    const database = new Database(server.database, { readonly: true });
    try {
      return database.prepare('SELECT count(*) FROM messages WHERE "to" = ?').pluck().get(TO) as number;
    } finally {
      database.close();
    }
  }
});

describe("plaintext on addresses other than loopback", () => {
  const OPEN = { NUMBERPOOL_HTTP_ADDRESS: "0.0.0.0:0", NUMBERPOOL_GRPC_ADDRESS: "0.0.0.0:0" };

  it.each(["NUMBERPOOL_HTTP_ADDRESS", "NUMBERPOOL_GRPC_ADDRESS"] as const)("is refused: %s", async (name) => {
    await expect(start({ env: { [name]: "0.0.0.0:0" } })).rejects.toThrow(/ended with 1: .*allow_plaintext/s);
  });

  it("is served if allowed, without reflection", async () => {
    const server = await start({ env: OPEN, args: ["--allow-plaintext"] });
    const http = server.url.replace("0.0.0.0", "127.0.0.1");
    const grpc = server.grpc.replace("0.0.0.0", "127.0.0.1");
    expect((await fetch(`${http}/healthz`)).status).toBe(200);
    const client = createGrpcClient(grpc, API_KEY);
    expect((await client.call(listProfiles, {})).message.data).toEqual([]);
    const path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    const refusal = await refusalOf(client.callBytes(path, new Uint8Array()));
    client.close();
    expect(refusal.code).toBe(UNIMPLEMENTED);
  });
});

const openssl = executable("openssl");

describe.skipIf(openssl === undefined)("TLS (needs openssl)", () => {
  const at = (name: string) => join(folder.path, name);
  const run = (...args: string[]) => execFileSync(openssl as string, args, { stdio: ["ignore", "ignore", "pipe"] });
  const NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

  function makeAuthority(name: string): void {
    const files = ["-keyout", at(`${name}.key`), "-out", at(`${name}.pem`)];
    run("req", "-x509", ...NEW_KEY, ...files, "-days", "2", "-subj", `/CN=${name}`);
  }

  function makeCertificate(name: string, authority: string): void {
    writeFileSync(at(`${name}.ext`), "subjectAltName=IP:127.0.0.1,DNS:localhost\n");
    run("req", ...NEW_KEY, "-keyout", at(`${name}.key`), "-out", at(`${name}.csr`), "-subj", `/CN=${name}`);
    run(
      ...["x509", "-req", "-in", at(`${name}.csr`), "-CA", at(`${authority}.pem`), "-CAkey", at(`${authority}.key`)],
      ...["-CAcreateserial", "-days", "2", "-out", at(`${name}.pem`), "-extfile", at(`${name}.ext`)],
    );
  }

  /** The key and the certificate of a client, by file name. */
  const shown = (name: string | undefined) =>
    name === undefined ? undefined : { key: read(`${name}.key`), cert: read(`${name}.pem`) };
  const read = (name: string) => readFileSync(at(name));

  beforeAll(() => {
    makeAuthority("authority");
    makeAuthority("stranger");
    makeCertificate("server", "authority");
    makeCertificate("client", "authority");
    makeCertificate("forged", "stranger");
  });

  /** The status of a JSON call over TLS; rejects without a connection. */
  function overHttps(server: TestServer, client: string | undefined, authority = "authority"): Promise<number> {
    const { port } = new URL(server.url);
    return new Promise((resolve, reject) => {
      const options = {
        host: "127.0.0.1",
        port,
        path: "/v2/messaging_profiles",
        agent: false,
        servername: "localhost",
        ca: read(`${authority}.pem`),
      };
      const asking = request(
        { ...options, ...shown(client), headers: { authorization: `Bearer ${API_KEY}` } },
        (response) => {
          response.resume();
          resolve(response.statusCode ?? 0);
        },
      );
      asking.on("error", reject);
      asking.end();
    });
  }

  /** The code of a gRPC call over TLS: 0, or UNAVAILABLE without a connection. */
  function overGrpc(server: TestServer, channel: ChannelCredentials): Promise<number> {
    const client = new Client(server.grpc, channel, { "grpc.ssl_target_name_override": "localhost" });
    const metadata = new Metadata();
    metadata.set("authorization", `Bearer ${API_KEY}`);
    const deadline = { deadline: Date.now() + 10_000 };
    return new Promise((resolve) => {
      const done = (error: ServiceError | null) => {
        client.close();
        resolve(error?.code ?? 0);
      };
      client.makeUnaryRequest(pathOf(listProfiles), asIs, asIs, Buffer.alloc(0), metadata, deadline, done);
    });
  }

  const secure = (client: string | undefined, authority = "authority") => {
    const own = shown(client);
    return channelCredentials.createSsl(read(`${authority}.pem`), own?.key ?? null, own?.cert ?? null);
  };

  it("is required on both ports", async () => {
    const server = await start({ args: ["--tls-certificate", at("server.pem"), "--tls-key", at("server.key")] });
    expect(await overHttps(server, undefined)).toBe(200);
    expect(await overGrpc(server, secure(undefined))).toBe(0);
    await expect(overHttps(server, undefined, "stranger")).rejects.toThrow(/certificate/);
    expect(await overGrpc(server, secure(undefined, "stranger"))).toBe(UNAVAILABLE);
    await expect(fetch(`${server.url}/healthz`)).rejects.toThrow();
    expect(await overGrpc(server, channelCredentials.createInsecure())).toBe(UNAVAILABLE);
    expect(await overHttps(server, undefined)).toBe(200);
  });

  it("requires a client certificate on both ports if a client authority is configured", async () => {
    const server = await start({
      args: [
        ...["--tls-certificate", at("server.pem"), "--tls-key", at("server.key")],
        ...["--tls-client-authority", at("authority.pem")],
      ],
    });
    expect(await overHttps(server, "client")).toBe(200);
    expect(await overGrpc(server, secure("client"))).toBe(0);
    for (const name of [undefined, "forged"]) {
      await expect(overHttps(server, name)).rejects.toThrow();
      expect(await overGrpc(server, secure(name))).toBe(UNAVAILABLE);
    }
    expect(await overHttps(server, "client")).toBe(200);
  });

  it("destroys connections with a silent handshake, and stops at once despite them", async () => {
    const server = await start({ args: ["--tls-certificate", at("server.pem"), "--tls-key", at("server.key")] });
    const descriptors = () => readdirSync(`/proc/${server.process.pid}/fd`).length;
    const openSilent = () =>
      Array.from({ length: 100 }, () => connect({ port: Number(new URL(server.url).port), allowHalfOpen: true }));
    const ignore = (sockets: Socket[]) => {
      for (const socket of sockets) socket.on("error", () => {});
    };
    expect(await overHttps(server, undefined)).toBe(200);
    const before = descriptors();
    const silent = openSilent();
    ignore(silent);
    await vi.waitFor(() => expect(descriptors()).toBeGreaterThanOrEqual(before + 80), { timeout: 4_000 });
    await vi.waitFor(() => expect(descriptors()).toBeLessThan(before + 20), { timeout: 15_000, interval: 200 });
    expect(await overHttps(server, undefined)).toBe(200);
    const later = openSilent();
    ignore(later);
    await vi.waitFor(() => expect(descriptors()).toBeGreaterThanOrEqual(before + 80), { timeout: 4_000 });
    const since = performance.now();
    expect(await server.stop()).toBe(0);
    expect(performance.now() - since).toBeLessThan(4_000);
    for (const socket of [...silent, ...later]) socket.destroy();
  }, 40_000);

  it("allows a public address without further settings", async () => {
    const server = await start({
      env: { NUMBERPOOL_HTTP_ADDRESS: "0.0.0.0:0", NUMBERPOOL_GRPC_ADDRESS: "0.0.0.0:0" },
      args: ["--tls-certificate", at("server.pem"), "--tls-key", at("server.key")],
    });
    expect(await overHttps(server, undefined)).toBe(200);
  });
});
