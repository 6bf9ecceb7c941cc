import { readdirSync, readlinkSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ProfileService } from "../../gen/numberpool/v1/profile_service_pb.ts";
import { API_KEY, startServer, type TestServer, temporaryFolder } from "../server.ts";
import { createGrpcClient } from "../wire/grpc-client.ts";
import { pathOf } from "./contract.ts";
import { END_HEADERS, FRAME, frame, HELLO, headerBlock, openRaw, type RawConnection } from "./raw-http2.ts";

const { listProfiles } = ProfileService.method;
const folder = temporaryFolder();
const pause = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds));

/** Waits for a condition; false when it does not hold in time. */
async function comes(isThere: () => boolean | Promise<boolean>, within: number): Promise<boolean> {
  const end = performance.now() + within;
  while (!(await isThere())) {
    if (performance.now() > end) return false;
    await pause(50);
  }
  return true;
}

afterAll(() => folder.remove());

describe.concurrent("on the gRPC port", () => {
  let server: TestServer;

  beforeAll(async () => {
    server = await startServer({ database: `${folder.path}/slow.db` });
  });

  afterAll(async () => {
    expect(await server.stop()).toBe(0);
  });

  const headers = (path: string, more: Readonly<Record<string, string>>) =>
    headerBlock({
      ...{ ":method": "POST", ":scheme": "http", ":path": path, ":authority": "localhost" },
      ...{ "content-type": "application/grpc", te: "trailers", ...more },
    });
  const withKey = { authorization: `Bearer ${API_KEY}` };
  const call = (path: string, more = {}) => frame(FRAME.HEADERS, END_HEADERS, 1, headers(path, more));
  const REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

  it.each([
    ["says nothing", Buffer.alloc(0), 15_000],
    ["stops in its preface", HELLO.subarray(0, 12), 15_000],
    ["says its preface and no settings", HELLO.subarray(0, 24), 15_000],
    [
      "begins a header block and stops",
      Buffer.concat([HELLO, frame(FRAME.HEADERS, 0, 1, headers(pathOf(listProfiles), withKey))]),
      40_000,
    ],
  ])("a connection that %s is closed", { timeout: 60_000 }, async (_name, bytes, within) => {
    const connection = openRaw(server.grpc);
    if (bytes.length > 0) await connection.write(bytes);
    expect(await comes(connection.isClosed, within)).toBe(true);
  });

  it.each([
    ["that was refused and whose body never ends", call(pathOf(listProfiles)), 12_000],
    ["of reflection without a request", call(REFLECTION), 45_000],
  ])("a stream %s gets a status and a reset", { timeout: 60_000 }, async (_name, bytes, within) => {
    const connection = openRaw(server.grpc);
    await connection.write(Buffer.concat([HELLO, bytes]));
    const answering = answerPings(connection);
    const isReset = () => connection.frames().some(({ type, stream }) => type === FRAME.RST_STREAM && stream === 1);
    expect(await comes(isReset, within)).toBe(true);
    expect(connection.frames().some(({ type, stream }) => type === FRAME.HEADERS && stream === 1)).toBe(true);
    expect(connection.isClosed()).toBe(false);
    clearInterval(answering);
    connection.destroy();
  });
});

/** Answers pings, like a live peer. */
function answerPings(connection: RawConnection): NodeJS.Timeout {
  let answered = 0;
  return setInterval(() => {
    const pings = connection.frames().filter(({ type, flags }) => type === FRAME.PING && flags === 0);
    for (const { payload } of pings.slice(answered)) connection.socket.write(frame(FRAME.PING, 1, 0, payload));
    answered = pings.length;
  }, 100);
}

describe("with 256 descriptors, 400 idle connections", () => {
  let server: TestServer;

  beforeAll(async () => {
    const under = ["sh", "-c", 'ulimit -n 256 && exec "$@"', "sh"];
    server = await startServer({ database: `${folder.path}/few.db`, under });
  });

  afterAll(async () => {
    expect(await server.stop()).toBe(0);
  });

  const sockets = () => {
    const path = `/proc/${server.process.pid}/fd`;
    return readdirSync(path).filter((fd) => {
      try {
        return readlinkSync(`${path}/${fd}`).startsWith("socket:");
      } catch {
        return false;
      }
    }).length;
  };

  const overHttp = async () => {
    const answer = await server.json("GET", "/v2/messaging_profiles", undefined, { connection: "close" });
    const ready = await fetch(`${server.url}/readyz`, { headers: { connection: "close" } });
    expect([answer.status, ready.status]).toEqual([200, 200]);
  };
  const overGrpc = async () => {
    const client = createGrpcClient(server.grpc, API_KEY);
    expect((await client.call(listProfiles, {})).message.data).toEqual([]);
    client.close();
  };
  const metrics = async () => {
    const page = await fetch(`${server.metrics}/metrics`, { headers: { connection: "close" } });
    expect(page.status).toBe(200);
    await page.text();
  };

  it.each([
    ["gRPC", () => server.grpc, [overHttp, metrics]],
    ["HTTP", () => new URL(server.url).host, [overGrpc, metrics]],
    ["metrics", () => new URL(server.metrics).host, [overHttp, overGrpc]],
  ] as const)("on the %s port leave the others as they were", { timeout: 30_000 }, async (_name, address, others) => {
    const before = sockets();
    const idle = Array.from({ length: 400 }, () => openRaw(address()));
    // Connections above the limit are closed at once.
    const held = () => idle.filter((connection) => !connection.isClosed()).length;
    expect(await comes(() => held() <= 64, 8_000)).toBe(true);
    expect(held()).toBeGreaterThan(0);
    expect(sockets() - before).toBeLessThanOrEqual(64);
    for (const serves of others) await serves();
    for (const connection of idle) connection.destroy();
    expect(await comes(() => sockets() <= before, 5_000)).toBe(true);
  });
});
