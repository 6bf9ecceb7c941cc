import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import { connect } from "../../src/store/postgres/connection.ts";
import { type Database, openDatabase } from "../../src/store/postgres/database.ts";
import { describeDatabase } from "../../src/store/postgres/describe-database.ts";
import { statement } from "../../src/store/postgres/statement.ts";
import { type CuttingProxy, cutConnections } from "./cutting-proxy.ts";
import { freshDatabase } from "./postgres-database.ts";

const UNAVAILABLE = { refusal: { reason: ErrorReason.UNAVAILABLE } };
const insert = statement("INSERT INTO words (word) VALUES ($1)");
const words = statement<{ word: string }>("SELECT word FROM words ORDER BY word");
const ownProcess = statement<{ pid: number }>("SELECT pg_backend_pid() AS pid");

let url: string;
let proxy: CuttingProxy;
let database: Database;
const opened: Database[] = [];
const open = async (at: string) => {
  const one = await openDatabase(at, { chance: Math.random });
  opened.push(one);
  return one;
};
const kept = async () => (await database.all(words)).map(({ word }) => word);

/** Runs SQL on a connection of its own. */
async function perform(at: string, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: at });
  await client.connect();
  await client.query(sql).finally(() => client.end());
}

beforeAll(async () => {
  url = await freshDatabase();
  await perform(
    url,
    `CREATE TABLE words (word text PRIMARY KEY);
     CREATE TABLE counters (id integer PRIMARY KEY, count bigint NOT NULL);
     INSERT INTO counters VALUES (1, 0), (2, 0);
     CREATE SEQUENCE tries;
     CREATE FUNCTION fail_until(first_good bigint, state text) RETURNS bigint LANGUAGE plpgsql AS $$
     DECLARE try bigint := nextval('tries');
     BEGIN
       IF try < first_good THEN RAISE EXCEPTION 'not yet' USING ERRCODE = state; END IF;
       RETURN try;
     END $$;`,
  );
  proxy = await cutConnections(url);
  database = await open(proxy.url);
});

afterAll(async () => {
  for (const each of opened) await each.close();
  await proxy?.close();
});

describe("A PostgreSQL database", () => {
  it("is described without credentials", () => {
    expect(describeDatabase("postgres://me:secret@db.example:5433/numberpool?password=other")).toBe(
      "postgres://db.example:5433/numberpool",
    );
    expect(describeDatabase("postgresql:///numberpool?host=/run/postgresql&user=me")).toBe(
      "postgres:///run/postgresql/numberpool",
    );
    for (const wrong of ["postgres://me:secret@:99999/x", "mysql://me:secret@host/x", "me:secret"]) {
      expect(() => describeDatabase(wrong)).toThrow(/^Not a database URL; (?!.*secret)/);
    }
    expect(database.name).toBe(describeDatabase(proxy.url));
  });

  it("gives numbers as numbers, and refuses those that are too large", async () => {
    const numbers = statement(
      "SELECT $1::bigint AS whole, $2::float8 AS real, sum(w) AS total FROM unnest($3::bigint[]) w",
    );
    expect(await database.get(numbers, 1_700_000_000_000, 0.1, [1, 2])).toEqual({
      whole: 1_700_000_000_000,
      real: 0.1,
      total: 3,
    });
    await expect(database.get(statement("SELECT 9007199254740993::bigint AS n"))).rejects.toThrow(RangeError);
  });

  it("prepares a text once for a connection", async () => {
    const prepared = statement<{ n: number }>(
      "SELECT count(*) AS n FROM pg_prepared_statements WHERE statement LIKE $1",
    );
    const [first, second] = await database.read(async (session) => [
      await session.get(prepared, "%pg_prepared_statements WHERE statement LIKE%"),
      await session.get(prepared, "%pg_prepared_statements WHERE statement LIKE%"),
    ]);
    expect([first?.n, second?.n]).toEqual([1, 1]);
  });

  it("sends BEGIN with the first statement, and COMMIT with those that were not awaited", async () => {
    await database.get(ownProcess);
    proxy.roundTrips.length = 0;
    proxy.roundTrips.push("");
    await database.transact(async (session) => {
      await session.all(words);
      void session.run(insert, "one round trip");
      void session.run(insert, "the same round trip");
    });
    const roundTrips = proxy.roundTrips.filter((trip) => trip !== "");
    expect(roundTrips).toHaveLength(2);
    expect(roundTrips[0]).toMatch(/BEGIN.*SELECT word/s);
    expect(roundTrips[1]).toMatch(/one round trip.*the same round trip.*COMMIT/s);
    expect(await kept()).toEqual(["one round trip", "the same round trip"]);
    await perform(url, "DELETE FROM words");
  });

  it("rolls a transaction back when its work throws, and keeps the connection", async () => {
    const before = await database.get(ownProcess);
    const thrown = new Error("a policy says no");
    const work = database.transact(async (session) => {
      void session.run(insert, "taken back");
      throw thrown;
    });
    await expect(work).rejects.toBe(thrown);
    expect(await kept()).toEqual([]);
    await expect(database.get(statement("SELECT 1 / 0"))).rejects.toMatchObject({ code: "22012" });
    expect(await database.get(ownProcess)).toEqual(before);
  });

  it("fails a transaction of which a statement failed, whether it was awaited or not", async () => {
    const unwatched = database.transact(async (session) => {
      void session.run(insert, "twice");
      void session.run(insert, "twice");
    });
    await expect(unwatched).rejects.toMatchObject({ code: "23505" });
    const swallowed = database.transact(async (session) => {
      await session.run(insert, "twice");
      await session.run(insert, "twice").catch(() => {});
      return "done";
    });
    await expect(swallowed).rejects.toMatchObject({ code: "23505" });
    const unread = database.transact(async (session) => {
      void session.run(insert, "unread");
      void session.get(statement("SELECT 9007199254740993::bigint AS n")).catch(() => {});
      await session.all(words);
    });
    await expect(unread).rejects.toThrow(RangeError);
    expect(await kept()).toEqual([]);
  });

  it("reads one snapshot, whatever is written meanwhile", async () => {
    const [before, after] = await database.read(async (session) => {
      const first = await session.all(words);
      await database.run(insert, "meanwhile");
      return [first, await session.all(words)];
    });
    expect([before, after]).toEqual([[], []]);
    expect(await kept()).toEqual(["meanwhile"]);
    await perform(url, "DELETE FROM words");
  });

  it("refuses statements of a transaction that has ended", async () => {
    let escaped: Parameters<Parameters<Database["transact"]>[0]>[0] | undefined;
    await database.transact(async (session) => {
      escaped = session;
    });
    await expect(escaped?.all(words)).rejects.toThrow(TypeError);
  });
});

describe("A transaction that conflicts with another", () => {
  const attempt = statement("SELECT fail_until($1, $2)");

  it.each(["40001", "40P01"])("is repeated (%s)", async (state) => {
    await perform(url, "ALTER SEQUENCE tries RESTART");
    let runs = 0;
    await database.transact(async (session) => {
      runs++;
      await session.get(attempt, 3, state);
    });
    expect(runs).toBe(3);
  });

  it("fails after some attempts", async () => {
    let runs = 0;
    const work = async (session: Parameters<Parameters<Database["transact"]>[0]>[0]) => {
      runs++;
      await session.get(attempt, 1_000_000, "40001");
    };
    await expect(database.transact(work)).rejects.toMatchObject(UNAVAILABLE);
    expect(runs).toBe(4);
  });

  it("succeeds after a real deadlock", async () => {
    const add = statement("UPDATE counters SET count = count + 1 WHERE id = $1");
    const both = (ids: readonly [number, number]) =>
      database.transact(async (session) => {
        await session.run(add, ids[0]);
        await new Promise((resolve) => setTimeout(resolve, 100));
        await session.run(add, ids[1]);
      });
    await Promise.all([both([1, 2]), both([2, 1])]);
    const counts = await database.all(statement("SELECT count FROM counters ORDER BY id"));
    expect(counts).toEqual([{ count: 2 }, { count: 2 }]);
  });

  it("is repeated when a newer program changed a table under its statements", async () => {
    await perform(url, "CREATE TABLE changing (a integer); INSERT INTO changing VALUES (1)");
    const every = statement("SELECT * FROM changing");
    expect(await database.transact((session) => session.all(every))).toEqual([{ a: 1 }]);
    await perform(url, "ALTER TABLE changing ADD COLUMN b integer");
    expect(await database.transact((session) => session.all(every))).toEqual([{ a: 1, b: null }]);
    await perform(url, "ALTER TABLE changing ADD COLUMN c integer");
    expect(await database.all(every)).toEqual([{ a: 1, b: null, c: null }]);
  });
});

describe("A connection that is lost", () => {
  it.each([
    ["before COMMIT arrived", "before", []],
    ["when COMMIT was carried out", "after", ["after"]],
  ] as const)("%s leaves the outcome open, and nothing is tried again", async (_name, when, expected) => {
    let runs = 0;
    proxy.cutAt("COMMIT\0", when);
    const work = database.transact(async (session) => {
      runs++;
      await session.run(insert, when);
    });
    await expect(work).rejects.toMatchObject(UNAVAILABLE);
    expect(runs).toBe(1);
    await expect.poll(kept).toEqual(expected);
    await perform(url, "DELETE FROM words");
  });

  it("in the middle rolls the transaction back", async () => {
    proxy.cutAt("lost word", "after");
    const work = database.transact(async (session) => {
      await session.run(insert, "first word");
      await session.run(insert, "lost word");
    });
    await expect(work).rejects.toMatchObject(UNAVAILABLE);
    proxy.cutAt("lost read", "after");
    await expect(database.get(statement("SELECT $1::text"), "lost read")).rejects.toMatchObject(UNAVAILABLE);
    expect(await kept()).toEqual([]);
  });

  it("because the server ended it is UNAVAILABLE, and the next call gets another", async () => {
    const work = database.transact(async (session) => {
      const { pid = 0 } = (await session.get(ownProcess)) ?? {};
      await perform(url, `SELECT pg_terminate_backend(${pid})`);
      await session.run(insert, "gone");
    });
    await expect(work).rejects.toMatchObject(UNAVAILABLE);
    expect(await kept()).toEqual([]);
    // Idle ones as well.
    await perform(
      url,
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
    await expect.poll(() => kept().catch(() => "not yet")).toEqual([]);
  });
});

describe("A server that must not be used is refused in one sentence without the password:", () => {
  const refusal = async (at: string) => {
    const error = await open(at).then(
      () => undefined,
      (thrown: Error) => thrown,
    );
    const alone = await connect(at).then(
      (client) => client.end(),
      (thrown: Error) => thrown.message,
    );
    expect(alone).toBe(error?.message);
    const password = new URL(at).password || "no password";
    expect(`${error?.stack} ${JSON.stringify(error)}`).not.toContain(password);
    return error?.message;
  };
  const withSetting = async (name: string, value: string) => {
    const at = await freshDatabase();
    await perform(at, `ALTER DATABASE "${new URL(at).pathname.slice(1)}" SET ${name} = ${value}`);
    return at;
  };

  it.each([
    ["synchronous_commit", "off", /synchronous_commit is off, .*; turn it on .*\.$/],
    ["default_transaction_read_only", "on", /refuses writes, .*; name the primary\.$/],
  ])("%s = %s", async (name, value, message) => {
    const at = await withSetting(name, value);
    expect(await refusal(at)).toMatch(message);
    expect(await refusal(at)).toMatch(new RegExp(`^${describeDatabase(at)}: `));
  });

  it("but not settings that are as safe", async () => {
    const at = await withSetting("synchronous_commit", "local");
    await (await openDatabase(at, { chance: Math.random })).close();
  });

  it("a wrong encoding", async () => {
    const at = await freshDatabase();
    const other = new URL(at);
    other.pathname += "_latin1";
    const name = other.pathname.slice(1);
    await perform(at, `CREATE DATABASE ${name} ENCODING LATIN1 LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`);
    expect(await refusal(other.href)).toMatch(/its encoding is LATIN1; create a database with UTF8\.$/);
    await perform(at, `DROP DATABASE ${name} WITH (FORCE)`);
  });

  it("no server, no such database, a wrong password", async () => {
    const nobody = new URL(url);
    nobody.port = "1";
    expect(await refusal(nobody.href)).toMatch(/^postgres:\/\/[^ ]+: .*ECONNREFUSED.*\.$/);
    const nowhere = new URL(url);
    nowhere.pathname = "numberpool_nowhere";
    expect(await refusal(nowhere.href)).toMatch(/: database "numberpool_nowhere" does not exist\.$/);
    const stranger = new URL(url);
    stranger.password = "not-the-password";
    // A server named by the variable may accept any password.
    if (!process.env.NUMBERPOOL_TEST_POSTGRES) {
      expect(await refusal(stranger.href)).toMatch(/: password authentication failed for user "postgres"\.$/);
    }
  });

  it("and when its settings change later, new connections are refused too", async () => {
    const at = await freshDatabase();
    const one = await open(at);
    await one.get(ownProcess);
    await perform(at, `ALTER DATABASE "${new URL(at).pathname.slice(1)}" SET synchronous_commit = off`);
    const several = Promise.all([1, 2].map(() => one.get(statement("SELECT pg_sleep(0.05)"))));
    await expect(several).rejects.toMatchObject(UNAVAILABLE);
  });
});
