import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import Database from "better-sqlite3";
import { afterAll, describe, expect, it } from "vitest";
import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import { holdExclusively, openConnection } from "../../src/store/sqlite/open.ts";
import { freshPath } from "./sqlite-folder.ts";

const PROCESS = fileURLToPath(new URL("sqlite-process.ts", import.meta.url));
/** Processes start slowly, and some of these tests wait for five seconds on purpose. */
const OTHER_PROCESSES = { timeout: 30_000 };
const children: ChildProcess[] = [];

afterAll(() => {
  for (const child of children) child.kill("SIGKILL");
});

/** The outcome of another process's work; `after` in milliseconds. */
type Outcome = {
  readonly done: boolean;
  readonly after: number;
  readonly message?: string;
  readonly reason?: ErrorReason;
};

/** Another process that is ready to work on a file at each call. */
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

  it("is waited for by a process while another creates it", async () => {
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

  it("waits for a short write of another process", async () => {
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

  it("is unlocked by its release", async () => {
    const path = freshPath();
    const release = holdExclusively(path);
    release();
    const next = await startProcess("hold", path);
    const outcome = await next.begin();
    expect(outcome).toMatchObject({ done: true });
    expect(outcome.after).toBeLessThan(1_000);
  });

  it("is unlocked when its process dies, for a waiting process and for a later one", async () => {
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
