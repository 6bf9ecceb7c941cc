import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import { type Database, openDatabase } from "../../src/store/postgres/database.ts";
import { statement } from "../../src/store/postgres/statement.ts";
import { type PostgresServer, startPostgres } from "./postgres-server.ts";

const UNAVAILABLE = { refusal: { reason: ErrorReason.UNAVAILABLE } };
const insert = statement("INSERT INTO words (word) VALUES ($1)");
const words = statement<{ word: string }>("SELECT word FROM words ORDER BY word");

describe.skipIf(process.env.NUMBERPOOL_TEST_POSTGRES)("When the PostgreSQL server is lost", () => {
  let server: PostgresServer;
  let url: string;
  let database: Database;
  const kept = async () => (await database.all(words)).map(({ word }) => word);
  const perform = async (sql: string, at = url) => {
    const client = new pg.Client({ connectionString: at });
    await client.connect();
    return client.query(sql).finally(() => client.end());
  };

  beforeAll(async () => {
    server = await startPostgres();
    url = await server.createDatabase();
    await perform("CREATE TABLE words (word text PRIMARY KEY)");
    database = await openDatabase(url, { chance: Math.random });
  });
  afterAll(async () => {
    await database?.close();
    await server?.stop();
  });

  it.each(["restart", "kill"] as const)(
    "(%s) what is under way is UNAVAILABLE and lost, what was said is kept",
    async (how) => {
      await database.run(insert, `${how}: said`);
      let leave = () => {};
      const gone = new Promise<void>((resolve) => {
        leave = resolve;
      });
      let hasBegun = () => {};
      const begun = new Promise<void>((resolve) => {
        hasBegun = resolve;
      });
      const work = database.transact(async (session) => {
        await session.run(insert, `${how}: under way`);
        hasBegun();
        await gone;
      });
      const refused = expect(work).rejects.toMatchObject(UNAVAILABLE);
      await begun;
      const going = server[how]();
      if (how === "kill") {
        await going;
        await expect.poll(() => database.all(words).catch((error) => error)).toMatchObject(UNAVAILABLE);
      }
      await going;
      leave();
      await refused;
      if (how === "kill") await server.restart();
      // The pool discards the earlier connections and opens new ones.
      await expect.poll(() => kept().catch(() => [])).toContain(`${how}: said`);
      expect(await kept()).not.toContain(`${how}: under way`);
    },
  );

  it("a commit that did not reach the standbys, because the wait for them was canceled, is not reported as done", async () => {
    await perform("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    await perform("SELECT pg_reload_conf()");
    const waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    const work = database.transact((session) => session.run(insert, "on one disk"));
    const refused = expect(work).rejects.toMatchObject(UNAVAILABLE);
    await expect.poll(async () => (await perform(waiting)).rows).toHaveLength(1);
    await perform(`SELECT pg_cancel_backend(pid) FROM (${waiting}) AS w`);
    await refused;
    await perform("ALTER SYSTEM RESET synchronous_standby_names");
    await perform("SELECT pg_reload_conf()");
    expect(await kept()).toContain("on one disk");
  });

  it("fsync off is refused", async () => {
    await perform("ALTER SYSTEM SET fsync = off");
    await perform("SELECT pg_reload_conf()");
    await expect
      .poll(() =>
        openDatabase(url, { chance: Math.random }).then(
          (opened) => opened.close(),
          (error) => error.message,
        ),
      )
      .toMatch(/fsync is off, so the server may lose acknowledged commits; turn it on\.$/);
  });
});
