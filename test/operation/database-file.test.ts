import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import Database from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { openConnection } from "../../src/store/sqlite/open.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import { ONE_SENTENCE } from "../cli/numberpool.ts";
import { API_KEY, startServer, type TestServer, temporaryFolder } from "../server.ts";
import { FREE_PORTS, makePool, numbersAt, PROGRAM, rowsOf, run, sendTo } from "./program.ts";

let folder: ReturnType<typeof temporaryFolder>;
let database: string;
let running: TestServer | undefined;

async function start(env: Record<string, string> = {}): Promise<TestServer> {
  running = await startServer({ database, env });
  return running;
}

beforeEach(() => {
  folder = temporaryFolder();
  database = join(folder.path, "pool.db");
});

afterEach(async () => {
  if (running?.process.exitCode === null && running.process.signalCode === null) await running.kill();
  running = undefined;
  folder.remove();
});

const logSize = () => statSync(`${database}-wal`).size;

/** Sends `count` messages and returns their ids. */
async function sendSome(server: TestServer, count: number): Promise<string[]> {
  const profile = await makePool(server, numbersAt(100, 1));
  const ids: string[] = [];
  for (let index = 0; index < count; index += 1) {
    ids.push((await sendTo(server, profile, "+13125562000", `text ${index}`)).body.data.id);
  }
  return ids;
}

const storedIn = (file: string) => new Set(rowsOf<{ id: string }>(file, "SELECT id FROM messages").map(({ id }) => id));

/** The log lines of a server with an event. */
const logged = (server: TestServer, event: string) =>
  server
    .stderr()
    .split("\n")
    .filter((line) => line.includes(`"${event}"`))
    .map((line) => JSON.parse(line));

describe("The write-ahead log", () => {
  it("is empty after a moment of idleness: the file holds everything", async () => {
    const server = await start();
    const ids = await sendSome(server, 20);
    await vi.waitFor(() => expect(logSize()).toBe(0), { timeout: 5_000 });
    await server.kill();
    copyFileSync(database, `${database}.alone`);
    expect(ids.filter((id) => !storedIn(`${database}.alone`).has(id))).toEqual([]);
  });

  it("is emptied every ten seconds under constant writes", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    try {
      const store = openSqliteStore(database, { onLost: () => {}, onMoved: () => {} });
      let emptied = 0;
      for (let half = 0; half < 50; half += 1) {
        await store.probe();
        vi.advanceTimersByTime(500);
        if (logSize() === 0) emptied += 1;
      }
      expect(emptied).toBe(2);
      await store.close();
    } finally {
      vi.useRealTimers();
    }
  });

  it("is left as it is, without delay, while another process reads", async () => {
    const store = openSqliteStore(database, { onLost: () => {}, onMoved: () => {} });
    const reader = new Database(database);
    reader.exec("BEGIN; SELECT count(*) FROM messages");
    reader.prepare("SELECT count(*) FROM messages").get();
    await store.probe();
    const since = performance.now();
    await store.close();
    expect(performance.now() - since).toBeLessThan(1_000);
    expect(logSize()).toBeGreaterThan(0);
    reader.exec("COMMIT");
    reader.close();
  });

  it("is reported at the start after a crash with what recovery restored", async () => {
    const first = await start();
    const ids = await sendSome(first, 20);
    await first.kill();
    const second = await start({ NUMBERPOOL_LOG_LEVEL: "info" });
    await vi.waitFor(() => expect(logged(second, "log_recovered")).toHaveLength(1));
    const [{ log_commits, log_pages }] = logged(second, "log_recovered");
    expect(log_commits).toBeGreaterThan(0);
    expect(log_pages).toBeGreaterThanOrEqual(log_commits);
    expect(await second.stop()).toBe(0);
    expect(existsSync(`${database}-wal`)).toBe(false);
    expect(ids.filter((id) => !storedIn(database).has(id))).toEqual([]);
    expect(rowsOf(database, "PRAGMA integrity_check")).toEqual([{ integrity_check: "ok" }]);

    const third = await start({ NUMBERPOOL_LOG_LEVEL: "info" });
    await vi.waitFor(() => expect(logged(third, "log_recovered")).toMatchObject([{ log_commits: 0, log_pages: 0 }]));
  });

  it("that is damaged is reported at the start with the extent of the loss, and saved", async () => {
    // Commits of one row each, none of them checkpointed into the file.
    const db = openConnection(database);
    db.exec("INSERT INTO organizations VALUES ('first', 'first', 0)");
    db.pragma("wal_checkpoint(TRUNCATE)");
    const insert = db.prepare("INSERT INTO organizations VALUES (?, ?, ?)");
    for (let index = 0; index < 100; index += 1) insert.run(`id ${index}`, `name ${index}`, index);
    const crashed = readFileSync(`${database}-wal`);
    const file = readFileSync(database);
    db.close();
    writeFileSync(database, file);
    const damaged = Buffer.from(crashed);
    const middle = Math.floor(damaged.length / 2);
    damaged.writeUInt8(damaged.readUInt8(middle) ^ 1, middle);
    writeFileSync(`${database}-wal`, damaged);

    const server = await start();
    await vi.waitFor(() => expect(logged(server, "log_damaged")).toHaveLength(1));
    const [{ log_commits, lost_commits, kept_as }] = logged(server, "log_damaged");
    // The damaged one cannot be counted.
    expect(log_commits + lost_commits).toBe(99);
    expect(log_commits).toBeGreaterThan(20);
    expect(lost_commits).toBeGreaterThan(20);
    expect(rowsOf(database, "SELECT id FROM organizations WHERE id LIKE 'id %'")).toHaveLength(log_commits);
    expect(kept_as).toBe(`${database}-wal.damaged`);
    expect(readFileSync(kept_as).equals(damaged)).toBe(true);
    expect(statSync(kept_as).mode & 0o777).toBe(0o600);
  });
});

describe("A database file under a running server", () => {
  it.each<[string, () => () => void]>([
    [
      "was deleted",
      () => {
        renameSync(database, `${database}.away`);
        return () => renameSync(`${database}.away`, database);
      },
    ],
    [
      "was replaced",
      () => {
        renameSync(database, `${database}.away`);
        copyFileSync(`${database}.away`, database);
        return () => renameSync(`${database}.away`, database);
      },
    ],
    [
      "lost its log",
      () => {
        renameSync(`${database}-wal`, `${database}.away`);
        return () => renameSync(`${database}.away`, `${database}-wal`);
      },
    ],
  ])("that %s makes the server unready, refuse sends and log it, until the file is back", async (_what, takeAway) => {
    const server = await start();
    const profile = await makePool(server, numbersAt(10, 1));
    const send = () => sendTo(server, profile, "+13125562000");
    const ready = async () => {
      const answer = await fetch(`${server.url}/readyz`);
      return { status: answer.status, body: await answer.json() };
    };
    expect((await ready()).status).toBe(200);
    const putBack = takeAway();
    await vi.waitFor(async () => expect((await send()).status).toBe(503), { timeout: 3_000 });
    expect((await send()).body.errors[0]).toMatchObject({
      code: "10037",
      detail: expect.stringMatching(/deleted or replaced/),
    });
    const why = expect.stringMatching(/deleted or replaced/);
    await vi.waitFor(async () => expect(await ready()).toEqual({ status: 503, body: { status: "not ready", why } }), {
      timeout: 3_000,
    });
    await vi.waitFor(() => expect(logged(server, "database_file_moved")).toMatchObject([{ database }]));
    putBack();
    await vi.waitFor(async () => expect((await send()).status).toBe(200), { timeout: 3_000 });
    await vi.waitFor(async () => expect((await ready()).status).toBe(200), { timeout: 3_000 });
    expect(await server.stop()).toBe(0);
    expect(rowsOf(database, "PRAGMA integrity_check")).toEqual([{ integrity_check: "ok" }]);
  });

  it("does not delay the server's end when it is gone", async () => {
    const server = await start();
    rmSync(database);
    await vi.waitFor(() => expect(logged(server, "database_file_moved")).toHaveLength(1), { timeout: 3_000 });
    expect(await server.stop()).toBe(0);
  });
});

describe("A server is refused before the ready line", () => {
  const serve = (path: string) =>
    run(["serve", "--no-sample"], { ...FREE_PORTS, NUMBERPOOL_DATABASE: path, NUMBERPOOL_LOG_LEVEL: "warn" });

  it("on a hard link to a served file", async () => {
    const server = await start();
    mkdirSync(join(folder.path, "elsewhere"));
    const link = join(folder.path, "elsewhere", "link.db");
    linkSync(database, link);
    const second = serve(link);
    expect((await second.exited).code).toBe(1);
    expect([second.stdout(), second.stderr()]).toEqual(["", expect.stringMatching(ONE_SENTENCE)]);
    expect(second.stderr()).toContain(`${link} has 2 names (hard links)`);
    expect((await server.json("GET", "/readyz")).status).toBe(200);
  });

  it("on a file that it may not write", async () => {
    const first = await start();
    expect(await first.stop()).toBe(0);
    chmodSync(database, 0o444);
    const isRoot = process.getuid?.() === 0;
    const unprivileged = isRoot ? { uid: 65_534, gid: 65_534 } : {};
    if (isRoot) {
      // Root can write any file.
      for (const file of [folder.path, database, `${database}.lock`]) chownSync(file, 65_534, 65_534);
    }
    const child = spawn(process.execPath, [PROGRAM, "serve", "--no-sample"], {
      ...unprivileged,
      env: { PATH: process.env.PATH, ...FREE_PORTS, NUMBERPOOL_DATABASE: database, NUMBERPOOL_API_KEY: API_KEY },
    });
    let printed = "";
    child.stdout.on("data", (chunk) => {
      printed += chunk;
    });
    let stderr = "";
    child.stderr.on("data", (chunk) => {
      stderr += chunk;
    });
    expect(await once(child, "close")).toEqual([1, null]);
    expect(printed).toBe("");
    expect(stderr).toContain(`numberpool: ${database} cannot be written: it is read-only.\n`);
  });
});

describe("A file that a server makes", () => {
  it("is readable only by its owner", async () => {
    const server = await start();
    await sendSome(server, 1);
    const modes = ["", "-wal", "-shm", ".lock"].map((ending) => statSync(`${database}${ending}`).mode & 0o777);
    expect(modes).toEqual([0o600, 0o600, 0o600, 0o600]);
  });
});

describe("An unread standard error", () => {
  it("delays neither calls nor the end, and reports the number of lost lines once it is read", async () => {
    const isRead = [false, true];
    for (const is of isRead) {
      const child = spawn(process.execPath, [PROGRAM, "serve", "--no-sample"], {
        stdio: ["ignore", "pipe", "pipe"],
        env: { PATH: process.env.PATH, ...FREE_PORTS, NUMBERPOOL_DATABASE: database, NUMBERPOOL_API_KEY: API_KEY },
      });
      try {
        const [line] = await once(createInterface(child.stdout), "line");
        const url = `http://${JSON.parse(line).http}/v2/phone_numbers`;
        const headers = { authorization: `Bearer ${API_KEY}` };
        // Each adds a line to the log; a pipe holds some hundreds.
        const call = async () => {
          const answer = await fetch(url, { headers, signal: AbortSignal.timeout(10_000) });
          expect(answer.status).toBe(200);
          await answer.arrayBuffer();
        };
        for (let turn = 0; turn < (is ? 26 : 14); turn += 1) await Promise.all(Array.from({ length: 100 }, call));
        let text = "";
        if (is) {
          child.stderr.on("data", (chunk) => {
            text += chunk;
          });
          await vi.waitFor(
            async () => {
              await call();
              expect(text).toContain("log_lines_dropped");
            },
            { timeout: 5_000, interval: 100 },
          );
        }
        const exited = once(child, "exit");
        child.kill("SIGTERM");
        expect(await exited).toEqual([0, null]);
        if (!is) continue;
        const dropped = text.split("\n").filter((each) => each.includes("log_lines_dropped"));
        expect(dropped.map((each) => JSON.parse(each).lines)).toEqual([expect.any(Number)]);
        expect(JSON.parse(dropped[0] as string).lines).toBeGreaterThan(0);
      } finally {
        child.kill("SIGKILL");
      }
    }
  }, 60_000);
});
