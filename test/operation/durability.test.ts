import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { startServer, type TestServer, temporaryFolder } from "../server.ts";
import { makePool, numbersAt, pause, ROOT, rowsOf, sendTo } from "./program.ts";
import { earlyAnswers, hasStrace, ifStrace, injecting, readTrace, tracing } from "./strace.ts";

let folder: ReturnType<typeof temporaryFolder>;
let database: string;
let trace: string;
let running: TestServer | undefined;

/** Starts a server that ends with the test. */
async function start(options: Omit<Parameters<typeof startServer>[0], "database"> = {}): Promise<TestServer> {
  running = await startServer({ database, ...options });
  return running;
}

beforeEach(() => {
  folder = temporaryFolder();
  database = `${folder.path}/pool.db`;
  trace = `${folder.path}/trace`;
});

afterEach(async () => {
  if (running?.process.exitCode === null && running.process.signalCode === null) await running.kill();
  running = undefined;
  folder.remove();
});

const recipient = (index: number) => `+1312556${String(index).padStart(4, "0")}`;

describe.skipIf(!hasStrace)(`A response and the disk${ifStrace}`, () => {
  it("responds to no send before its row is synced", { timeout: 60_000 }, async () => {
    const server = await start({ under: tracing(trace) });
    const profile = await makePool(server, numbersAt(1, 6));
    const ids: string[] = [];
    const send = async (index: number) => {
      const { status, body } = await sendTo(server, profile, recipient(index));
      expect(status).toBe(200);
      ids.push(body.data.id);
    };
    for (let index = 0; index < 100; index += 1) await send(index);
    for (let index = 100; index < 200; index += 20) {
      await Promise.all(Array.from({ length: 20 }, (_, each) => send(index + each)));
    }
    expect(await server.stop()).toBe(0);
    const calls = await readTrace(trace);
    expect(new Set(ids).size).toBe(200);
    expect(earlyAnswers(calls, ids)).toEqual([]);
  });

  it.each([
    { synchronous: "FULL", early: 0 },
    { synchronous: "NORMAL", early: 20 },
  ])("is judged correctly for a script that syncs $synchronous", async ({ synchronous, early }) => {
    const [command, ...args] = tracing(trace) as [string, ...string[]];
    const script = spawn(command, [...args, process.execPath, "--input-type=module", "-e", SCRIPT], {
      cwd: ROOT,
      env: { PATH: process.env.PATH, DATABASE: database, SYNCHRONOUS: synchronous },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const exited = once(script, "exit");
    const [port] = await once(createInterface(script.stdout), "line");
    const ids: string[] = [];
    for (let index = 0; index < 20; index += 1) ids.push(await (await fetch(`http://127.0.0.1:${port}`)).text());
    script.kill();
    await exited;
    expect(earlyAnswers(await readTrace(trace), ids)).toHaveLength(early);
  });
});

/** Stores an id for each request and responds with it. */
const SCRIPT = `
  import { randomUUID } from "node:crypto";
  import { createServer } from "node:http";
  import Database from "better-sqlite3";
  const db = new Database(process.env.DATABASE);
  db.pragma("journal_mode = WAL");
  db.exec("CREATE TABLE ids (id TEXT)");
  db.pragma("synchronous = " + process.env.SYNCHRONOUS);
  const insert = db.prepare("INSERT INTO ids VALUES (?)");
  const server = createServer((request, response) => {
    const id = randomUUID();
    insert.run(id);
    response.end(id);
  });
  server.listen(0, "127.0.0.1", () => console.log(server.address().port));
`;

/**
 * A request of the kill test with its response. Its texts are unique, so that its messages are
 * found on disk.
 */
type Request = {
  readonly key: string | undefined;
  readonly texts: readonly string[];
  ids?: readonly string[];
};

const KILLS = 20;

describe("kill -9 under load", () => {
  it(`loses no acknowledged message and doubles none, ${KILLS} times`, { timeout: 300_000 }, async () => {
    const ledger: Request[] = [];
    let profile = "";

    const newRequest = (): Request => {
      const name = `request ${ledger.length}`;
      const kind = randomInt(3);
      const texts = kind === 0 ? Array.from({ length: 5 }, (_, item) => `${name} item ${item}`) : [name];
      const request = { key: kind === 2 ? undefined : `key-${ledger.length}`, texts };
      ledger.push(request);
      return request;
    };

    const carryOut = async (server: TestServer, { key, texts }: Request) => {
      const messages = texts.map((text) => ({ messaging_profile_id: profile, to: recipient(randomInt(10_000)), text }));
      const headers: Record<string, string> = key === undefined ? {} : { "idempotency-key": key };
      const [path, body] = texts.length > 1 ? ["/batch", { messages }] : ["", messages[0]];
      return { path: `/v2/messages/number_pool${path}`, body, headers, server };
    };

    // A repeat must be identical, so the request keeps its body.
    const sent = new Map<Request, Awaited<ReturnType<typeof carryOut>>>();
    const send = async (server: TestServer, request: Request): Promise<{ replayed: boolean; ids: string[] }> => {
      const call = sent.get(request) ?? (await carryOut(server, request));
      sent.set(request, call);
      const { status, headers, body } = await server.json("POST", call.path, call.body, call.headers);
      if (status !== 200) throw new Error(`refused with ${status}: ${JSON.stringify(body)}`);
      const ids =
        request.texts.length > 1
          ? body.data.map((item: { message: { id: string } }) => item.message.id)
          : [body.data.id];
      return { replayed: headers.get("idempotent-replayed") === "true", ids };
    };

    let server = await start();
    profile = await makePool(server, numbersAt(200, 6));
    for (let kill = 0; kill < KILLS; kill += 1) {
      const before = ledger.length;
      const refusals: string[] = [];
      let isAlive = true;
      const worker = async () => {
        while (isAlive) {
          const request = newRequest();
          try {
            request.ids = (await send(server, request)).ids;
          } catch (error) {
            if (error instanceof Error && error.message.startsWith("refused")) refusals.push(error.message);
          }
        }
      };
      const workers = Array.from({ length: 12 }, worker);
      await pause(randomInt(30, 350));
      isAlive = false;
      await server.kill();
      await Promise.all(workers);
      expect(refusals).toEqual([]);

      server = await start();
      const round = ledger.slice(before);
      const known = round.flatMap(({ ids }) => ids ?? []);
      const found = await Promise.all(known.map(async (id) => (await server.json("GET", `/v2/messages/${id}`)).status));
      expect(found.filter((status) => status !== 200)).toEqual([]);
      for (const request of round.filter(({ key }) => key !== undefined)) {
        const repeated = await send(server, request);
        if (request.ids !== undefined) expect(repeated).toEqual({ replayed: true, ids: request.ids });
        request.ids ??= repeated.ids;
      }
    }
    await vi.waitFor(() => expect(rowsOf(database, WAITING)).toEqual([]), { timeout: 10_000, interval: 100 });
    expect(await server.stop()).toBe(0);

    expect(rowsOf(database, "PRAGMA integrity_check")).toEqual([{ integrity_check: "ok" }]);
    const stored = rowsOf<{ id: string; text: string; submits: number }>(
      database,
      "SELECT id, text, submits FROM messages",
    );
    const idsByText = Map.groupBy(stored, ({ text }) => text);
    const wrong = ledger.filter(({ key, texts, ids }) =>
      texts.some((text, index) => {
        const messages = idsByText.get(text) ?? [];
        if (ids !== undefined) return messages.length !== 1 || messages[0]?.id !== ids[index];
        return messages.length > (key === undefined ? 1 : 0);
      }),
    );
    expect(wrong).toEqual([]);
    expect(stored.filter(({ submits }) => submits > 1)).toEqual([]);
    expect(rowsOf(database, SUBMITTED_TWICE)).toEqual([]);

    // Without these the test would prove nothing.
    const keyless = ledger.filter(({ key }) => key === undefined);
    expect(ledger.filter(({ ids }) => ids !== undefined).length).toBeGreaterThan(100);
    expect(keyless.filter(({ ids }) => ids === undefined).length).toBeGreaterThan(0);
    expect(rowsOf(database, "SELECT 1 FROM messages WHERE status = 'delivery_unconfirmed'").length).toBeGreaterThan(0);
  });
});

const WAITING = "SELECT id FROM messages WHERE status IN ('queued', 'sending')";

/** Messages that were submitted twice, or after their outcome was final. */
const SUBMITTED_TWICE = `
  SELECT message_id FROM message_events WHERE kind IN ('accepted', 'refused', 'submit_unconfirmed')
  GROUP BY message_id HAVING count(*) > 1`;

describe.skipIf(!hasStrace)(`A disk that fails${ifStrace}`, { timeout: 60_000 }, () => {
  let profile: string;

  beforeEach(async () => {
    const server = await start();
    profile = await makePool(server, numbersAt(100, 3));
    expect(await server.stop()).toBe(0);
  });

  /** Sends until the server is gone, and returns the acknowledged ids. */
  async function sendWhileItLasts(server: TestServer): Promise<string[]> {
    const ids: string[] = [];
    const worker = async (first: number) => {
      for (let index = first; index < 2_000; index += 8) {
        const answer = await sendTo(server, profile, recipient(index)).catch(() => undefined);
        if (answer === undefined) return;
        if (answer.status === 200) ids.push(answer.body.data.id);
        else expect(answer.body.errors[0].code).toBe("10037");
      }
    };
    await Promise.all(Array.from({ length: 8 }, (_, each) => worker(each)));
    return ids;
  }

  const syncs = "fsync,fdatasync";
  it.each([
    { what: "a sync fails", fault: `${syncs}:error=EIO:when=12`, exit: [1, null] },
    { what: "a later sync fails", fault: `${syncs}:error=EIO:when=31`, exit: [1, null] },
    { what: "a write fails", fault: "pwrite64:error=EIO:when=200", exit: [1, null] },
    { what: "it is killed in the middle of a sync", fault: `${syncs}:signal=KILL:when=23`, exit: [null, "SIGKILL"] },
    { what: "it is killed in the middle of a commit", fault: "pwrite64:signal=KILL:when=333", exit: [null, "SIGKILL"] },
  ])("ends the program and loses no acknowledged message when $what", async ({ fault, exit }) => {
    const server = await start({ under: injecting(trace, `${database}-wal`, fault) });
    const exited = once(server.process, "exit");
    const ids = await sendWhileItLasts(server);
    expect(await exited).toEqual(exit);
    if (exit[0] === 1) expect(server.stderr()).toContain("disk_failed");

    const again = await start();
    const found = await Promise.all(ids.map(async (id) => (await again.json("GET", `/v2/messages/${id}`)).status));
    expect(found.filter((status) => status !== 200)).toEqual([]);
    expect((await sendTo(again, profile, recipient(9_000))).status).toBe(200);
    expect(await again.stop()).toBe(0);
    expect(rowsOf(database, "PRAGMA integrity_check")).toEqual([{ integrity_check: "ok" }]);
    expect(ids.length).toBeGreaterThan(0);
  });

  const FULL = "pwrite64:error=ENOSPC:when=100..160";

  it("refuses with 503 and 10037 while the disk is full, and accepts again afterwards", async () => {
    const server = await start({ under: injecting(trace, `${database}-wal`, FULL) });
    const accepted: string[] = [];
    const outcomes: string[] = [];
    for (let index = 0; index < 150; index += 1) {
      const { status, body } = await sendTo(server, profile, recipient(index), `text ${index}`);
      outcomes.push(status === 200 ? "accepted" : `${status} ${body.errors[0].code}`);
      if (status === 200) accepted.push(`text ${index}`);
    }
    const runs = outcomes.filter((outcome, index) => outcome !== outcomes[index - 1]);
    expect(runs).toEqual(["accepted", "503 10037", "accepted"]);
    expect(await server.stop()).toBe(0);
    const stored = rowsOf<{ text: string }>(database, "SELECT text FROM messages ORDER BY id").map(({ text }) => text);
    expect(stored).toEqual(accepted);
  });

  it("is not ready while the disk is full, and ready again afterwards", async () => {
    const server = await start({ under: injecting(trace, `${database}-wal`, FULL) });
    // A probe's outcome may be reported for a second.
    const becomes = (status: number) =>
      vi.waitFor(async () => expect((await server.json("GET", "/readyz")).status).toBe(status), { timeout: 3_000 });
    await becomes(200);
    let index = 0;
    const send = async () => (await sendTo(server, profile, recipient(index++))).status;
    while ((await send()) === 200) expect(index).toBeLessThan(100);
    await becomes(503);
    while ((await send()) !== 200) expect(index).toBeLessThan(200);
    await becomes(200);
  });
});
