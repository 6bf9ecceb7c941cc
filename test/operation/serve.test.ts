import { spawn, spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { copyFileSync, existsSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { Agent, type IncomingMessage, request } from "node:http";
import { connect, createServer } from "node:net";
import { delimiter, join } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { SendMessageRequestSchema, SendMessageResponseSchema } from "../../gen/numberpool/v1/pool_send_service_pb.ts";
import { API_KEY, startServer, type TestServer, temporaryFolder } from "../server.ts";
import { type Exit, FREE_PORTS, makePool, numbersAt, PROGRAM, pause, type Run, rowsOf, run } from "./program.ts";

let folder: ReturnType<typeof temporaryFolder>;
let database: string;
let runs: { readonly process: Run["process"] }[] = [];

/** Runs `serve` on free ports; it ends with the test. */
function serve(args: readonly string[] = [], env: Record<string, string> = {}, other?: Parameters<typeof run>[2]): Run {
  const started = run(
    ["serve", ...args],
    { ...FREE_PORTS, NUMBERPOOL_DATABASE: database, NUMBERPOOL_LOG_LEVEL: "warn", ...env },
    other,
  );
  runs.push(started);
  return started;
}

async function start(env: Record<string, string> = {}): Promise<TestServer> {
  const server = await startServer({ database, env });
  runs.push(server);
  return server;
}

const isGone = ({ process }: { readonly process: Run["process"] }) =>
  process.exitCode !== null || process.signalCode !== null;

beforeEach(() => {
  folder = temporaryFolder();
  database = join(folder.path, "pool.db");
});

afterEach(async () => {
  for (const left of runs.filter((each) => !isGone(each))) {
    left.process.kill("SIGKILL");
    await once(left.process, "exit");
  }
  runs = [];
  folder.remove();
});

const linesOf = (text: string) => text.split("\n").filter((line) => line !== "");

async function refused(started: Run): Promise<Exit & { readonly lines: string[] }> {
  return { ...(await started.exited), lines: linesOf(started.stderr()) };
}

describe("The ready line", () => {
  it("is one line of JSON with the real addresses, and the only line on standard output", async () => {
    const started = serve([], { NUMBERPOOL_LOG_LEVEL: "trace" });
    const ready = await started.ready;
    expect(Object.keys(ready)).toEqual(["ready", "http", "grpc", "metrics", "database"]);
    const ports = [ready.http, ready.grpc, ready.metrics].map((at) => Number(/^127\.0\.0\.1:(\d+)$/.exec(at)?.[1]));
    expect(new Set(ports).size).toBe(3);
    for (const port of ports) expect(port).toBeGreaterThan(0);
    expect(ready.ready).toBe(true);
    expect(ready.database).toBe(database);
    expect((await fetch(`http://${ready.http}/readyz`)).status).toBe(200);
    expect(await (await fetch(`http://${ready.metrics}/metrics`)).text()).toContain("numberpool_calls_total");
    await new Promise<void>((resolve, reject) => {
      const client = new Client(ready.grpc, credentials.createInsecure());
      client.waitForReady(Date.now() + 5_000, (error) => (error ? reject(error) : resolve()));
    });
    started.process.kill("SIGTERM");
    expect((await started.exited).code).toBe(0);
    expect(started.stdout()).toBe(`${JSON.stringify(ready)}\n`);
  });

  it("is not printed when a port is in use; one sentence on standard error names the port", async () => {
    const taken = createServer().listen(0, "127.0.0.1");
    await once(taken, "listening");
    const { port } = taken.address() as { port: number };
    const names = ["NUMBERPOOL_HTTP_ADDRESS", "NUMBERPOOL_GRPC_ADDRESS", "NUMBERPOOL_METRICS_ADDRESS"];
    try {
      for (const name of names) {
        const started = serve(["--no-sample"], { [name]: `127.0.0.1:${port}` });
        const { code, lines } = await refused(started);
        expect([name, code, started.stdout()]).toEqual([name, 1, ""]);
        expect(lines).toEqual([expect.stringContaining(String(port))]);
      }
    } finally {
      taken.close();
    }
  });
});

const hasCurl = spawnSync("curl", ["--version"]).status === 0;

/**
 * The commands of the printed sample: each starts with `curl` and continues while a line ends with
 * a backslash.
 */
function commandsOf(text: string): string[] {
  return [...text.matchAll(/^ *curl (?:.*\\\n)*.*$/gm)].map((match) => match[0]);
}

async function shell(command: string): Promise<Record<string, Record<string, unknown>>> {
  const child = spawn("bash", ["-c", command], { stdio: ["ignore", "pipe", "ignore"] });
  let output = "";
  child.stdout.on("data", (chunk) => {
    output += chunk;
  });
  await once(child, "close");
  return JSON.parse(output);
}

describe("The sample", () => {
  it.skipIf(!hasCurl)(
    `is three commands that work as they are printed${hasCurl ? "" : " (skipped: curl is not installed)"}`,
    async () => {
      const started = serve();
      await started.ready;
      await vi.waitFor(() => expect(started.stderr()).toContain("/messages/ID"));
      const [turnOn, send, look] = commandsOf(started.stderr()) as [string, string, string];
      const profile = await shell(turnOn);
      expect(profile.data?.number_pool_settings).toMatchObject({ long_code_weight: 5, toll_free_weight: 1 });
      const sent = await shell(send);
      expect(sent.data).toMatchObject({
        from: { phone_number: "+13125550111" },
        to: [{ status: "queued" }],
        decision: { rule: "geomatch", pool_size: 6, eligible: 6 },
      });
      await vi.waitFor(
        async () => {
          const seen = await shell(look.replace("ID", String(sent.data?.id)));
          expect(seen.data?.to).toMatchObject([{ status: "delivered" }]);
        },
        { timeout: 3_000, interval: 100 },
      );
      started.process.kill("SIGTERM");
      await started.exited;

      const second = serve();
      await second.ready;
      second.process.kill("SIGTERM");
      await second.exited;
      expect(second.stderr()).toBe("");
    },
  );

  it("is omitted with --no-sample", async () => {
    const started = serve(["--no-sample"]);
    await started.ready;
    started.process.kill("SIGTERM");
    await started.exited;
    expect(started.stderr()).toBe("");
    expect(rowsOf(database, "SELECT id FROM messaging_profiles")).toEqual([]);
    expect(rowsOf(database, "SELECT id FROM api_keys")).toEqual([]);
  });

  it("is printed by the first successful start, when an earlier one found its port in use", async () => {
    const taken = createServer().listen(0, "127.0.0.1");
    await once(taken, "listening");
    const { port } = taken.address() as { port: number };
    const failed = serve([], { NUMBERPOOL_HTTP_ADDRESS: `127.0.0.1:${port}` });
    expect((await failed.exited).code).toBe(1);
    taken.close();
    const started = serve();
    await started.ready;
    await vi.waitFor(() => expect(commandsOf(started.stderr())).toHaveLength(3));
  });
});

describe("An installed key", () => {
  it("changes nothing when it is installed again", async () => {
    const keys = "SELECT * FROM api_keys";
    const before = await start();
    expect((await before.json("GET", "/v2/messaging_profiles")).status).toBe(200);
    expect(await before.stop()).toBe(0);
    const installed = rowsOf(database, keys);
    expect(installed).toHaveLength(1);

    const after = await start();
    expect((await after.json("GET", "/v2/messaging_profiles")).status).toBe(200);
    expect(await after.stop()).toBe(0);
    expect(rowsOf(database, keys)).toEqual(installed);
    expect(rowsOf(database, "SELECT name FROM organizations")).toEqual([{ name: "default" }]);
    for (const file of readdirSync(folder.path)) {
      const { stdout } = spawnSync("grep", ["-c", API_KEY, join(folder.path, file)], { encoding: "utf8" });
      expect([file, stdout.trim()]).toEqual([file, "0"]);
    }
  });
});

describe("A second serve on one file", () => {
  it("is refused in one sentence within six seconds, and works once the first is killed", async () => {
    const since = Date.now();
    const first = await start();
    const startTakes = Date.now() - since;
    const second = serve(["--no-sample"]);
    const { code, lines, milliseconds } = await refused(second);
    expect(code).toBe(1);
    expect(lines).toEqual([
      `numberpool: ${database} is served by another process; stop that one, or name another database.`,
    ]);
    expect(second.stdout()).toBe("");
    expect(milliseconds).toBeLessThan(6_000 + 2 * startTakes);
    expect((await first.json("GET", "/readyz")).status).toBe(200);

    await first.kill();
    const third = serve(["--no-sample"]);
    expect((await third.ready).database).toBe(database);
  });

  it("is refused through a symbolic link to the file too", async () => {
    await start();
    const elsewhere = join(folder.path, "link.db");
    symlinkSync(database, elsewhere);
    const second = serve(["--no-sample"], { NUMBERPOOL_DATABASE: elsewhere });
    const outcome = await Promise.race([second.exited.then(({ code }) => code), second.ready.then(() => "ready")]);
    expect(outcome).toBe(1);
  });

  it("waits for a first one that is about to end", async () => {
    const first = await start();
    const second = serve(["--no-sample"]);
    await pause(2_000);
    expect(await first.stop()).toBe(0);
    expect((await second.ready).database).toBe(database);
  });
});

/** The outcome of a request over HTTP: its status, or the error's code. */
type Outcome = { readonly text: string; readonly since: number; readonly outcome: number | string };

/** Sends over persistent connections until sends are refused, and returns every outcome. */
async function sendOverHttp(
  server: TestServer,
  profile: string,
  until: () => boolean,
  onAnswer: () => void,
): Promise<Outcome[]> {
  const agent = new Agent({ keepAlive: true });
  const outcomes: Outcome[] = [];
  const send = (text: string) =>
    new Promise<number | string>((resolve) => {
      const call = request(`${server.url}/v2/messages/number_pool`, {
        agent,
        method: "POST",
        headers: { authorization: `Bearer ${API_KEY}`, "content-type": "application/json" },
      });
      call.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
      call.on("response", (response: IncomingMessage) => {
        response.resume();
        response.on("end", () => resolve(response.statusCode as number));
        response.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
      });
      call.end(JSON.stringify({ messaging_profile_id: profile, to: "+13125562000", text }));
    });
  const worker = async () => {
    while (!until()) {
      const text = randomUUID();
      const since = Date.now();
      const outcome = await send(text);
      outcomes.push({ text, since, outcome });
      if (outcome === 200) onAnswer();
      if (outcome === "ECONNREFUSED") return;
    }
  };
  await Promise.all(Array.from({ length: 16 }, worker));
  agent.destroy();
  return outcomes;
}

/** The same over gRPC; a response counts as 200. */
async function sendOverGrpc(
  server: TestServer,
  profile: string,
  until: () => boolean,
  onAnswer: () => void,
): Promise<Outcome[]> {
  const client = new Client(server.grpc, credentials.createInsecure());
  const metadata = new Metadata();
  metadata.set("authorization", `Bearer ${API_KEY}`);
  const outcomes: Outcome[] = [];
  const send = (text: string) =>
    new Promise<number | string>((resolve) => {
      client.makeUnaryRequest(
        "/numberpool.v1.PoolSendService/SendMessage",
        (message) => Buffer.from(toBinary(SendMessageRequestSchema, message)),
        (bytes) => fromBinary(SendMessageResponseSchema, bytes),
        create(SendMessageRequestSchema, { messagingProfileId: profile, to: "+13125562001", text }),
        metadata,
        { deadline: Date.now() + 10_000 },
        (error) =>
          resolve(error === null ? 200 : error.details.includes("ECONNREFUSED") ? "ECONNREFUSED" : error.details),
      );
    });
  const worker = async () => {
    while (!until()) {
      const text = randomUUID();
      const since = Date.now();
      const outcome = await send(text);
      outcomes.push({ text, since, outcome });
      if (outcome === 200) onAnswer();
      if (outcome === "ECONNREFUSED") return;
    }
  };
  await Promise.all(Array.from({ length: 16 }, worker));
  client.close();
  return outcomes;
}

/** How a server ended, or that it did not within the timeout. */
function exitOf(server: TestServer, within: number): Promise<unknown> {
  return Promise.race([once(server.process, "exit"), pause(within).then(() => "still running")]);
}

describe("A stop", () => {
  it.each([
    { signal: "SIGTERM", transport: "HTTP", sendOver: sendOverHttp },
    { signal: "SIGINT", transport: "HTTP", sendOver: sendOverHttp },
    { signal: "SIGTERM", transport: "gRPC", sendOver: sendOverGrpc },
  ] as const)(
    "by $signal under load over $transport responds to every accepted request and ends with 0",
    { timeout: 60_000 },
    async ({ signal, sendOver }) => {
      const before = await start();
      const profile = await makePool(before, numbersAt(100, 6));
      expect(await before.stop()).toBe(0);
      for (let turn = 0; turn < 3; turn += 1) {
        const server = await start();
        let isOver = false;
        let answers = 0;
        const calls = sendOver(
          server,
          profile,
          () => isOver,
          () => {
            answers += 1;
          },
        );
        await vi.waitFor(() => expect(answers).toBeGreaterThan(100), { timeout: 10_000, interval: 5 });
        const signalled = Date.now();
        server.process.kill(signal);
        const exit = await exitOf(server, 30_000);
        isOver = true;
        const outcomes = await calls;
        const answered = outcomes.filter(({ outcome }) => outcome === 200);
        const failed = outcomes.filter(({ outcome }) => outcome !== 200);
        expect(answered.length).toBeGreaterThan(100);
        expect(failed.filter(({ since }) => since < signalled)).toEqual([]);
        const stored = new Set(rowsOf<{ text: string }>(database, "SELECT text FROM messages").map(({ text }) => text));
        expect(failed.filter(({ text }) => stored.has(text))).toEqual([]);
        expect(answered.filter(({ text }) => !stored.has(text))).toEqual([]);
        expect(exit).toEqual([0, null]);
        expect(server.stderr()).toBe("");
      }
    },
  );

  /** A send without its last byte, in flight until `finish`. */
  async function halfSend(server: TestServer, profile: string) {
    const body = JSON.stringify({ messaging_profile_id: profile, to: "+13125562002", text: "late" });
    const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
    let answer = "";
    socket.on("data", (chunk) => {
      answer += chunk;
    });
    socket.on("error", () => {});
    await once(socket, "connect");
    const head = [
      "POST /v2/messages/number_pool HTTP/1.1",
      "host: localhost",
      `authorization: Bearer ${API_KEY}`,
      "content-type: application/json",
      `content-length: ${body.length}`,
    ];
    socket.write(`${head.join("\r\n")}\r\n\r\n${body.slice(0, -1)}`);
    await pause(200);
    return {
      finish: async () => {
        socket.write(body.slice(-1));
        await vi.waitFor(() => expect(answer).toContain('"id":"'), { timeout: 5_000 });
        return answer;
      },
    };
  }

  it("waits for an incomplete request, and ignores a repeat of the same keypress", async () => {
    const server = await start();
    const profile = await makePool(server, numbersAt(10, 1));
    const late = await halfSend(server, profile);
    server.process.kill("SIGINT");
    await pause(100);
    server.process.kill("SIGINT");
    await pause(1_000);
    server.process.kill("SIGTERM");
    await pause(300);
    expect(isGone(server)).toBe(false);
    const exit = exitOf(server, 10_000);
    expect(await late.finish()).toContain("HTTP/1.1 200");
    expect(await exit).toEqual([0, null]);
    expect(rowsOf(database, "SELECT text FROM messages")).toEqual([{ text: "late" }]);
  });

  it("is immediate at a second signal more than two seconds after the first", async () => {
    const server = await start();
    const profile = await makePool(server, numbersAt(10, 1));
    await halfSend(server, profile);
    server.process.kill("SIGTERM");
    await pause(2_200);
    expect(isGone(server)).toBe(false);
    const exit = exitOf(server, 1_000);
    server.process.kill("SIGTERM");
    expect(await exit).toEqual([1, null]);
    const again = await start();
    expect((await again.json("GET", "/readyz")).status).toBe(200);
  });

  it("is orderly from the ready line on", async () => {
    for (let turn = 0; turn < 4; turn += 1) {
      const started = serve(["--no-sample"]);
      started.process.stdout?.once("data", () => started.process.kill("SIGTERM"));
      expect(await started.exited).toMatchObject({ code: 0, signal: null });
    }
  });

  it("is not delayed by a silent client", { timeout: 45_000 }, async () => {
    const server = await start();
    const silent = connect(Number(new URL(server.url).port), "127.0.0.1").on("error", () => {});
    await once(silent, "connect");
    await pause(200);
    expect(await server.stop()).toBe(0);
  });
});

/** A Node of this machine that is too old for the program. */
function findOldNode(): string | undefined {
  const folders = ["/usr/local/bin", "/usr/bin", ...(process.env.PATH ?? "").split(delimiter)];
  return folders
    .map((path) => join(path, "node"))
    .filter((file) => existsSync(file))
    .find((file) => {
      const { stdout } = spawnSync(file, ["--version"], { encoding: "utf8" });
      const [major = 0, minor = 0] = (/^v(\d+)\.(\d+)/.exec(stdout ?? "") ?? []).slice(1).map(Number);
      return major < 22 || (major === 22 && minor < 19);
    });
}

const oldNode = findOldNode();

describe.skipIf(oldNode === undefined)(
  `Started by an older Node${oldNode === undefined ? " (skipped: there is none on this machine)" : ""}`,
  () => {
    const node = oldNode as string;

    it.each(["SIGTERM", "SIGINT"] as const)("it continues on the packaged one, which gets %s", async (signal) => {
      const started = serve(["--no-sample"], { NUMBERPOOL_API_KEY: API_KEY }, { node });
      const ready = await started.ready;
      const answer = await fetch(`http://${ready.http}/v2/messaging_profiles`, {
        headers: { authorization: `Bearer ${API_KEY}` },
      });
      expect(answer.status).toBe(200);
      started.process.kill(signal);
      expect(await started.exited).toMatchObject({ code: 0, signal: null });
      expect(started.stdout()).toBe(`${JSON.stringify(ready)}\n`);
      expect(started.stderr()).toBe("");
    });

    it("it ends with the packaged one's exit code", async () => {
      const started = serve(["--no-sample"], { NUMBERPOOL_LOG_LEVEL: "loud" }, { node });
      const { code, lines } = await refused(started);
      expect(code).toBe(1);
      expect(lines).toHaveLength(1);
    });

    it("it ends in one sentence when the packaged one is missing", async () => {
      const file = join(folder.path, "numberpool.js");
      copyFileSync(PROGRAM, file);
      writeFileSync(join(folder.path, "package.json"), '{"type":"module"}');
      const started = serve([], {}, { node, file, cwd: folder.path });
      const { code, lines } = await refused(started);
      expect(code).toBe(1);
      expect(lines).toEqual([
        expect.stringMatching(/^Numberpool needs Node 22\.19 or later; this is \d+\.\d+\.\d+\. /),
      ]);
      expect(started.stdout()).toBe("");
      expect(existsSync(database)).toBe(false);
    });
  },
);
