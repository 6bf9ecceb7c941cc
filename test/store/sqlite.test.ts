import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, rmSync, symlinkSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import Database from "better-sqlite3";
import { afterAll, describe, expect, it } from "vitest";
import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import { holdExclusively, openConnection } from "../../src/store/sqlite/open.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import { storeMessage, storeNumber, storeProfile } from "./contract/records.ts";
import { storeContract } from "./contract.ts";
import { openInFolder } from "./sqlite-folder.ts";

storeContract("SQLite", async () => openInFolder());

const PROCESS = fileURLToPath(new URL("sqlite-process.ts", import.meta.url));
/** Processes take their time to start, and some of these wait for five seconds on purpose. */
const OTHER_PROCESSES = { timeout: 30_000 };
const folders: string[] = [];
const children: ChildProcess[] = [];

afterAll(() => {
  for (const child of children) child.kill("SIGKILL");
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** A database file that is not there yet, in a folder of its own. */
function freshPath(): string {
  const folder = mkdtempSync(join(tmpdir(), "numberpool-sqlite-"));
  folders.push(folder);
  return join(folder, "numberpool.db");
}

/** How another process's work went; `after` in milliseconds. */
type Outcome = {
  readonly done: boolean;
  readonly after: number;
  readonly message?: string;
  readonly reason?: ErrorReason;
};

/** Another process that is ready to work on a file, and does so whenever it is told to begin. */
async function startProcess(work: "hold" | "open" | "probe", path: string) {
  const child = spawn(process.execPath, [PROCESS, work, path], { stdio: ["pipe", "pipe", "inherit"] });
  children.push(child);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const said = async () => JSON.parse((await lines.next()).value ?? '"it ended without a word"');
  expect(await said()).toEqual({ ready: true });
  return {
    begin: async (): Promise<Outcome> => {
      child.stdin.write("begin\n");
      return said();
    },
    kill: async () => {
      child.kill("SIGKILL");
      await once(child, "exit");
    },
  };
}

describe("A SQLite file", () => {
  const settingsOf = (path: string) => {
    const db = openConnection(path);
    const settings = ["journal_mode", "synchronous", "foreign_keys"].map((name) => db.pragma(name, { simple: true }));
    db.close();
    return settings;
  };

  it("is written ahead and synced at every commit, from the first open on and after every other", () => {
    const path = freshPath();
    expect(settingsOf(path)).toEqual(["wal", 2, 1]);
    expect(settingsOf(path)).toEqual(["wal", 2, 1]);
    const careless = new Database(path);
    careless.pragma("journal_mode = DELETE");
    careless.pragma("synchronous = OFF");
    careless.close();
    expect(settingsOf(path)).toEqual(["wal", 2, 1]);
  });

  it("is synced by every connection, also beside others that are open", () => {
    const path = freshPath();
    const first = openConnection(path);
    expect(settingsOf(path)).toEqual(["wal", 2, 1]);
    expect(first.pragma("synchronous", { simple: true })).toBe(2);
    first.close();
  });

  it("that is migrated already is left as it is", async () => {
    const path = freshPath();
    const shapeOf = () => {
      const db = openConnection(path);
      const tables = db.prepare("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name").all();
      const version = db.pragma("user_version", { simple: true });
      const needed = db.prepare("SELECT * FROM schema_compatibility").all();
      db.close();
      return { tables, version, needed };
    };
    const fresh = shapeOf();
    const store = openSqliteStore(path, { onLost: () => {} });
    const profile = await storeProfile(store);
    await store.close();
    expect(shapeOf()).toEqual(fresh);
    const again = openSqliteStore(path, { onLost: () => {} });
    expect(await again.getProfile(profile.organizationId, profile.id)).toEqual(profile);
    await again.close();
  });

  it("of a newer program that this one cannot live with is refused in one sentence, and left alone", () => {
    const path = freshPath();
    openConnection(path).close();
    const newer = new Database(path);
    newer.pragma("user_version = 1000");
    newer.exec("UPDATE schema_compatibility SET minimum_program_version = 1000");
    let message = "";
    try {
      openSqliteStore(path, { onLost: () => {} });
    } catch (error) {
      message = (error as Error).message;
    }
    expect(message.replace(path, "The file")).toMatch(/^The file [^.\n]*schema 1000[^.\n]*newer Numberpool[^.\n]*\.$/);
    expect(newer.pragma("user_version", { simple: true })).toBe(1_000);
    expect(newer.prepare("SELECT minimum_program_version FROM schema_compatibility").pluck().get()).toBe(1_000);
    newer.close();
  });

  it("of a newer program that this one can live with is used, and keeps its version", async () => {
    const path = freshPath();
    openConnection(path).close();
    const newer = new Database(path);
    newer.pragma("user_version = 1000");
    newer.close();
    const store = openSqliteStore(path, { onLost: () => {} });
    await storeProfile(store);
    await store.close();
    const after = openConnection(path);
    expect(after.pragma("user_version", { simple: true })).toBe(1_000);
    after.close();
  });

  it("that is none is refused", () => {
    const path = freshPath();
    writeFileSync(path, "phone_number,carrier\n".repeat(500));
    expect(() => openSqliteStore(path, { onLost: () => {} })).toThrow("not a database");
  });

  it("that turns out damaged is reported as lost, once, and everything is refused from then on", async () => {
    const path = freshPath();
    const before = openSqliteStore(path, { onLost: () => {} });
    const profile = await storeProfile(before);
    const message = await storeMessage(before, await storeNumber(before, profile));
    await before.close();
    spoil(path, "messages_by_id");

    const lost: unknown[] = [];
    const store = openSqliteStore(path, { onLost: (error) => lost.push(error) });
    const unavailable = { refusal: { reason: ErrorReason.UNAVAILABLE } };
    expect(await store.getProfile(profile.organizationId, profile.id)).toEqual(profile);
    const reading = () => store.getMessage(message.organizationId, message.id);
    await expect(reading()).rejects.toMatchObject(unavailable);
    expect(lost).toHaveLength(1);
    await expect(reading()).rejects.toMatchObject(unavailable);
    await expect(store.getProfile(profile.organizationId, profile.id)).rejects.toMatchObject(unavailable);
    await expect(store.probe()).rejects.toMatchObject(unavailable);
    await expect(store.listOrganizations()).rejects.toMatchObject(unavailable);
    expect(lost).toHaveLength(1);
    await store.close();
  });
});

describe.concurrent("A SQLite file that several want", OTHER_PROCESSES, () => {
  it("can be made by two processes at once", async () => {
    const path = freshPath();
    const processes = await Promise.all([startProcess("open", path), startProcess("open", path)]);
    const outcomes = await Promise.all(processes.map((each) => each.begin()));
    expect(outcomes).toMatchObject([{ done: true }, { done: true }]);
    const db = openConnection(path);
    expect(db.prepare("SELECT count(*) FROM schema_compatibility").pluck().get()).toBe(1);
    db.close();
  });

  it("is waited for by a process that finds another about to make it", async () => {
    const path = freshPath();
    const opening = await startProcess("open", path);
    const maker = new Database(path);
    maker.exec("BEGIN IMMEDIATE");
    const outcome = opening.begin();
    await sleep(300);
    maker.exec("COMMIT");
    maker.close();
    expect(await outcome).toMatchObject({ done: true });
  });

  it("refuses writes as UNAVAILABLE while another holds it for long, and takes them afterwards", async () => {
    const path = freshPath();
    const writing = await startProcess("probe", path);
    const other = new Database(path);
    other.exec("BEGIN IMMEDIATE");
    const { done, reason, after } = await writing.begin();
    expect({ done, reason }).toEqual({ done: false, reason: ErrorReason.UNAVAILABLE });
    expect(after).toBeLessThan(8_000);
    other.exec("ROLLBACK");
    expect(await writing.begin()).toMatchObject({ done: true });
    other.close();
  });

  it("waits for a write of another that is soon done", async () => {
    const path = freshPath();
    const writing = await startProcess("probe", path);
    const other = new Database(path);
    other.exec("BEGIN IMMEDIATE");
    const outcome = writing.begin();
    await sleep(300);
    other.exec("COMMIT");
    other.close();
    expect(await outcome).toMatchObject({ done: true });
  });
});

describe.concurrent("Holding a SQLite file for one serving process", OTHER_PROCESSES, () => {
  it.each([
    ["the same path", (path: string) => path],
    [
      "a path through a linked folder",
      (path: string) => {
        symlinkSync(join(path, ".."), `${path}-folder`);
        return join(`${path}-folder`, "numberpool.db");
      },
    ],
    [
      "a link to the file",
      (path: string) => {
        symlinkSync(path, `${path}-link`);
        return `${path}-link`;
      },
    ],
  ])("a second is refused after about five seconds, by %s", async (_, pathFrom) => {
    const path = freshPath();
    openConnection(path).close();
    const otherPath = pathFrom(path);
    const [first, second] = await Promise.all([startProcess("hold", path), startProcess("hold", otherPath)]);
    expect(await first.begin()).toMatchObject({ done: true });
    const { done, after, message } = await second.begin();
    expect({ done, message: message?.replace(otherPath, "The file") }).toEqual({
      done: false,
      message: expect.stringMatching(/^The file [^.\n]*served by another process[^.\n]*\.$/),
    });
    expect(after).toBeGreaterThan(4_500);
    expect(after).toBeLessThan(8_000);
  });

  it("is let go by its release", async () => {
    const path = freshPath();
    const release = holdExclusively(path);
    release();
    const next = await startProcess("hold", path);
    const outcome = await next.begin();
    expect(outcome).toMatchObject({ done: true });
    expect(outcome.after).toBeLessThan(1_000);
  });

  it("is let go when its process dies, to one that waits for it and to a later one", async () => {
    const path = freshPath();
    const [first, waiting, later] = await Promise.all(Array.from({ length: 3 }, () => startProcess("hold", path)));
    expect(await first?.begin()).toMatchObject({ done: true });
    const waited = waiting?.begin();
    await sleep(700);
    await first?.kill();
    expect(await waited).toMatchObject({ done: true });
    expect((await waited)?.after).toBeGreaterThan(500);
    await waiting?.kill();
    const outcome = await later?.begin();
    expect(outcome).toMatchObject({ done: true });
    expect(outcome?.after).toBeLessThan(1_000);
  });

  it("does not keep others from opening the file beside it", async () => {
    const path = freshPath();
    const serving = await startProcess("hold", path);
    expect(await serving.begin()).toMatchObject({ done: true });
    const beside = await startProcess("open", path);
    expect(await beside.begin()).toMatchObject({ done: true });
  });
});

/** Overwrites the first page of an index, so that the file opens and its use fails. */
function spoil(path: string, index: string): void {
  const db = new Database(path);
  const page = db.prepare("SELECT rootpage FROM sqlite_schema WHERE name = ?").pluck().get(index) as number;
  const size = db.pragma("page_size", { simple: true }) as number;
  db.pragma("journal_mode = DELETE");
  db.close();
  const file = openSync(path, "r+");
  writeSync(file, Buffer.alloc(size, 0xff), 0, size, (page - 1) * size);
  closeSync(file);
}
