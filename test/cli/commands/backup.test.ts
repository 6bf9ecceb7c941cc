import { chmodSync, closeSync, openSync, readdirSync, statSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { copyVerified } from "../../../src/store/sqlite/copy.ts";
import { openConnection } from "../../../src/store/sqlite/open.ts";
import { openSqliteStore } from "../../../src/store/sqlite/sqlite-store.ts";
import { makePool, numbersAt, rowsOf, run, sendTo } from "../../operation/program.ts";
import { startServer, type TestServer, temporaryFolder } from "../../server.ts";
import { jsonOf, numberpool, ONE_SENTENCE } from "../numberpool.ts";

const folder = temporaryFolder();
const at = (name: string) => join(folder.path, name);
const filesLike = (name: string) => readdirSync(folder.path).filter((file) => file.startsWith(name));

afterAll(() => folder.remove());

/** A database with so many stored messages. */
function databaseOf(name: string, messages: number): string {
  const path = at(name);
  const db = openConnection(path);
  db.prepare(
    `WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number LIMIT ?)
     INSERT INTO messages (organization_id, id, direction, messaging_profile_id, "to", text, encoding, parts, num_chars,
       use_profile_webhooks, status, decision_pool_size, decision_eligible, decision_is_fallback, received_at, valid_until,
       wait_seconds)
     SELECT 'o', 'm' || n, 'outbound', 'p', '+13125550100', hex(randomblob(100)), 'gsm7', 1, 200, 0, 'delivered', 1, 1, 0, n, n, 0
     FROM number`,
  ).run(messages);
  db.close();
  return path;
}

/** Overwrites pages in the middle of a file. */
function spoil(path: string): void {
  const file = openSync(path, "r+");
  const size = 4096;
  const pages = Math.floor(statSync(path).size / size);
  for (let page = Math.floor(pages / 2); page < pages; page += 1)
    writeSync(file, Buffer.alloc(size, 0xff), 0, size, page * size);
  closeSync(file);
}

describe("A backup beside a running server", () => {
  let server: TestServer;
  let profile: string;

  beforeAll(async () => {
    server = await startServer({ database: at("served.db") });
    profile = await makePool(server, numbersAt(1_000, 5));
  });

  afterAll(() => server?.stop());

  it("under load contains every send acknowledged before it began, and a server starts on it", async () => {
    const acknowledged: string[] = [];
    let isOver = false;
    let numbers = 0;
    const sending = Promise.all(
      Array.from({ length: 4 }, async () => {
        while (!isOver) {
          const { status, body } = await sendTo(server, profile, "+13125550100");
          if (status === 200) acknowledged.push(body.data.id);
        }
      }),
    );
    const changing = (async () => {
      // Registering and removing numbers must not look like damage of the copy.
      for (; !isOver; numbers += 1) {
        const phone_number = `+1212556${1000 + numbers}`;
        await server.json("POST", "/v2/phone_numbers", { phone_number });
        if (numbers % 2 === 0) await server.json("DELETE", `/v2/phone_numbers/${phone_number}`);
      }
    })();
    await vi.waitFor(() => expect(acknowledged.length).toBeGreaterThan(50), { timeout: 10_000 });
    const before = [...acknowledged];
    const outcome = await jsonOf(server.database, "backup", at("copy.db"));
    const after = acknowledged.length;
    isOver = true;
    await Promise.all([sending, changing]);
    expect(after).toBeGreaterThan(before.length);
    expect(server.stderr()).toBe("");

    const stored = new Set(rowsOf<{ id: string }>(at("copy.db"), "SELECT id FROM messages").map(({ id }) => id));
    expect(before.filter((id) => !stored.has(id))).toEqual([]);
    const count = (table: string) => rowsOf<{ n: number }>(at("copy.db"), `SELECT count(*) AS n FROM ${table}`)[0]?.n;
    expect(outcome).toEqual({
      file: at("copy.db"),
      database: server.database,
      messages: count("messages"),
      numbers: count("phone_numbers"),
      bytes: statSync(at("copy.db")).size,
    });
    expect(filesLike("copy.db")).toEqual(["copy.db"]);

    const restored = await startServer({ database: at("copy.db") });
    expect((await restored.json("GET", `/v2/messages/${before[0]}`)).status).toBe(200);
    expect((await sendTo(restored, profile, "+13125550100")).status).toBe(200);
    expect(await restored.stop()).toBe(0);
  });
});

describe("A backup", () => {
  it("prints one line, is readable by its owner alone, and refuses to overwrite", async () => {
    const database = databaseOf("private.db", 1_234);
    chmodSync(database, 0o644);
    const first = await numberpool(database, "backup", at("private.copy"));
    expect([first.code, first.stderr]).toEqual([0, ""]);
    expect(first.stdout).toBe(
      `${at("private.copy")}: 1,234 messages and 0 numbers, ${(statSync(at("private.copy")).size / 1e6).toFixed(1)} MB, verified.\n`,
    );
    expect(statSync(at("private.copy")).mode & 0o777).toBe(0o600);
    const version = (path: string) => new Database(path, { readonly: true }).pragma("user_version", { simple: true });
    expect(version(at("private.copy"))).toBe(version(database));

    const { mtimeMs } = statSync(at("private.copy"));
    const second = await numberpool(database, "backup", at("private.copy"));
    expect([second.code, second.stdout]).toEqual([1, ""]);
    expect(second.stderr).toBe(`numberpool: ${at("private.copy")} exists; name a new file.\n`);
    expect(statSync(at("private.copy")).mtimeMs).toBe(mtimeMs);
  });

  it.each<[string, () => string, (file: string) => void, RegExp]>([
    [
      "of no database",
      () => at("none.db"),
      () => {},
      /Database .*none\.db does not exist; choose another with --database\.$/,
    ],
    [
      "of a file that is none",
      () => {
        writeFileSync(at("text.db"), "phone_number\n".repeat(1_000));
        return at("text.db");
      },
      () => {},
      /was not backed up: file is not a database\.$/,
    ],
    [
      "of another program's database",
      () => {
        new Database(at("other.db")).exec("CREATE TABLE t (x)").close();
        return at("other.db");
      },
      () => {},
      /was not backed up: no such table: messages\.$/,
    ],
    [
      "of a damaged database",
      () => {
        spoil(databaseOf("damaged.db", 2_000));
        return at("damaged.db");
      },
      () => {},
      /was not backed up: .*(malformed|damaged).*\.$/,
    ],
    [
      "beside one that is going on",
      () => databaseOf("twice.db", 1),
      (file) => writeFileSync(`${file}.partial`, "theirs"),
      /\.partial exists: another backup is writing it, or one was interrupted; in the second case remove the file\.$/,
    ],
  ])("%s is refused in one sentence and leaves nothing", async (_what, make, prepare, error) => {
    const database = make();
    const file = `${database}.copy`;
    prepare(file);
    const before = filesLike(file.slice(folder.path.length + 1));
    const { code, stdout, stderr } = await numberpool(database, "backup", file);
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(ONE_SENTENCE);
    expect(stderr.trimEnd()).toMatch(error);
    expect(filesLike(file.slice(folder.path.length + 1))).toEqual(before);
  });

  it("into a folder that does not exist is refused in one sentence", async () => {
    const { code, stderr } = await numberpool(databaseOf("away.db", 1), "backup", at("missing/copy.db"));
    expect([code, stderr]).toEqual([1, `numberpool: ${at("missing/copy.db")}.partial cannot be written (ENOENT).\n`]);
  });

  it.each([
    ["as soon as its file exists", 0],
    ["while it copies", 1],
  ])("that is interrupted %s removes its file, and ends as by the signal", async (_when, bytes) => {
    const database = databaseOf(`long-${bytes}.db`, 50_000);
    const copy = `long-${bytes}.copy`;
    const started = run(["backup", at(copy)], { NUMBERPOOL_DATABASE: database });
    const written = () => statSync(at(`${copy}.partial`), { throwIfNoEntry: false })?.size ?? -1;
    await vi.waitFor(() => expect(written()).toBeGreaterThanOrEqual(bytes), { timeout: 10_000, interval: 1 });
    started.process.kill("SIGTERM");
    expect(await started.exited).toMatchObject({ code: null, signal: "SIGTERM" });
    expect(started.stdout() + started.stderr()).toBe("");
    expect(filesLike(copy)).toEqual([]);
  });

  it.each([
    ["before it is copied", "before", 70],
    ["once it is copied", "after", 100],
  ] as const)("is verified although retention deletes messages %s", async (_when, moment, messages) => {
    const database = databaseOf(`retention-${moment}.db`, 100);
    const store = openSqliteStore(database, { onLost: () => {} });
    const forget = () => store.forgetMessages({ organizationId: "o", before: "n", after: undefined, limit: 30 });
    if (moment === "before") expect((await forget()).forgotten).toBe(30);
    let forgotten: ReturnType<typeof forget> | undefined;
    const copied = copyVerified(database, at(`retention-${moment}.copy`), 0, () => {
      forgotten = forget();
    });
    expect(copied.messages).toBe(messages);
    expect((await forgotten)?.forgotten).toBe(30);
    await store.close();
  });

  it("that lost rows is refused", () => {
    const database = databaseOf("counted.db", 100);
    const db = openConnection(database);
    db.exec("INSERT INTO organizations VALUES ('o', 'o', 0)");
    for (const id of ["a", "b"]) {
      db.prepare(
        `INSERT INTO phone_numbers (organization_id, id, phone_number, carrier, line_type, segments_per_second, state, country_code,
           tags, generation, created_at, updated_at) VALUES ('o', ?, ?, 'sandbox', 'long_code', 1, 'active', 'US', '[]', 0, 0, 0)`,
      ).run(id, `+${id}`);
    }
    db.close();
    const lose = (table: string) => () => {
      new Database(at(`${table}.copy`)).exec(`DELETE FROM ${table} WHERE rowid = 1`).close();
    };
    expect(() => copyVerified(database, at("messages.copy"), 0, lose("messages"))).toThrow(
      "The copy has 99 messages; the source had 100 before and 100 after, including deleted ones.",
    );
    expect(() => copyVerified(database, at("phone_numbers.copy"), 0, lose("phone_numbers"))).toThrow(
      "The copy has 1 of the 2 unchanged numbers.",
    );
    expect(copyVerified(database, at("good.copy"), 0, () => {})).toMatchObject({ messages: 100, numbers: 2 });
  });
});
