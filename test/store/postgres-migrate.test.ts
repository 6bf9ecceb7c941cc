import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { connect } from "../../src/store/postgres/connection.ts";
import { describeDatabase } from "../../src/store/postgres/describe-database.ts";
import { migrate } from "../../src/store/postgres/migrate.ts";
import { temporaryFolder } from "../server.ts";
import { freshDatabase } from "./postgres-database.ts";

const temporary = temporaryFolder();
afterAll(() => temporary.remove());

const FIRST = `CREATE TABLE schema_compatibility (minimum_program_version integer NOT NULL);
  INSERT INTO schema_compatibility VALUES (1);
  CREATE TABLE words (word text PRIMARY KEY);`;
// Slow, so that concurrent processes meet in it.
const SECOND = "SELECT pg_sleep(0.2); INSERT INTO words VALUES ('second');";

let folders = 0;
/** A folder that holds these migrations, numbered from 1. */
function folderOf(...texts: readonly string[]): string {
  const folder = join(temporary.path, String(++folders));
  mkdirSync(folder);
  texts.forEach((text, index) => {
    writeFileSync(join(folder, `000${index + 1}-step.sql`), text);
  });
  return folder;
}

async function rowsOf(url: string, sql: string): Promise<unknown[]> {
  const client = await connect(url);
  const { rows } = await client.query(sql).finally(() => client.end());
  return rows;
}

describe("Migrations on PostgreSQL", () => {
  it("are applied once and in order by concurrent processes", async () => {
    const url = await freshDatabase();
    const folder = folderOf(FIRST, SECOND);
    const outcomes = await Promise.all([1, 2, 3].map(() => migrate(url, folder)));
    expect(outcomes).toContainEqual({ from: 0, to: 2 });
    expect(outcomes.map(({ to }) => to)).toEqual([2, 2, 2]);
    expect(await rowsOf(url, "SELECT * FROM words")).toEqual([{ word: "second" }]);
    const record = "SELECT version, name, length(checksum) AS length FROM schema_migrations ORDER BY version";
    expect(await rowsOf(url, record)).toEqual([
      { version: 1, name: "step", length: 64 },
      { version: 2, name: "step", length: 64 },
    ]);
    expect(await migrate(url, folder)).toEqual({ from: 2, to: 2 });
    expect(await migrate(url, folderOf(FIRST, SECOND, "DROP TABLE words"))).toEqual({ from: 2, to: 3 });
  });

  it("that fail leave the schema unchanged, and can be retried", async () => {
    const url = await freshDatabase();
    const broken = "INSERT INTO words VALUES ('half'); SELECT broken;";
    await expect(migrate(url, folderOf(FIRST, broken))).rejects.toThrow(
      `${describeDatabase(url)}: migration 2 failed: column "broken" does not exist.`,
    );
    expect(await rowsOf(url, "SELECT * FROM words")).toEqual([]);
    expect(await migrate(url, folderOf(FIRST, SECOND))).toEqual({ from: 1, to: 2 });
  });

  it("of a newer program are accepted, unless they require that program", async () => {
    const url = await freshDatabase();
    const [older, newer] = [folderOf(FIRST), folderOf(FIRST, SECOND)];
    await migrate(url, newer);
    expect(await migrate(url, older)).toEqual({ from: 2, to: 2 });
    await rowsOf(url, "UPDATE schema_compatibility SET minimum_program_version = 2");
    await expect(migrate(url, older)).rejects.toThrow(
      `${describeDatabase(url)}: its schema 2 needs a newer Numberpool; this one supports schema 1.`,
    );
    expect(await migrate(url, newer)).toEqual({ from: 2, to: 2 });
  });

  it("that were changed after they were applied are refused", async () => {
    const url = await freshDatabase();
    await migrate(url, folderOf(FIRST));
    await expect(migrate(url, folderOf(`${FIRST} -- changed`))).rejects.toThrow("was made by another migration");
  });

  it("are numbered without gaps", async () => {
    const url = await freshDatabase();
    const folder = folderOf(FIRST);
    writeFileSync(join(folder, "0003-gap.sql"), "");
    await expect(migrate(url, folder)).rejects.toThrow("0003-gap.sql is not migration 2");
  });
});
