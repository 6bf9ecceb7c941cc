import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Client } from "pg";
import { connect, naming } from "./connection.ts";
import { describeDatabase } from "./describe-database.ts";

const MIGRATIONS = join(import.meta.dirname, "migrations");
/**
 * The lock that migrating processes take in turn: a number that nothing else uses, the bytes of
 * "number".
 */
const LOCK = 0x6e75_6d62_6572;

type Migration = { readonly version: number; readonly name: string; readonly text: string; readonly checksum: string };

/**
 * Migrates a database and gives its schema before, 0 for an empty database, and after. Applies new
 * numbered files in order, each in a transaction of its own; there is no way back, and concurrent
 * processes take turns. Throws one sentence when a migration fails, or when the database needs a
 * newer program.
 */
export async function migrate(
  url: string,
  folder = MIGRATIONS,
): Promise<{ readonly from: number; readonly to: number }> {
  const name = describeDatabase(url);
  const migrations = readMigrations(folder);
  const client = await connect(url);
  try {
    const from = await versionOf(client);
    // A process without a migration to apply does not wait for one that has.
    if (from < migrations.length) {
      await client.query(`SELECT pg_advisory_lock(${LOCK})`);
      await client.query(
        `CREATE TABLE IF NOT EXISTS schema_migrations (
           version integer PRIMARY KEY,
           name text NOT NULL,
           checksum text NOT NULL, -- SHA-256 of the file
           applied_at timestamptz NOT NULL DEFAULT now()
         )`,
      );
      // Another process may have migrated meanwhile.
      const done = await versionOf(client);
      for (const migration of migrations.slice(done)) await apply(client, migration);
    }
    await check(client, migrations);
    return { from, to: await versionOf(client) };
  } catch (error) {
    throw naming(name, error);
  } finally {
    // The end of the connection releases the lock.
    await client.end();
  }
}

function readMigrations(folder: string): Migration[] {
  return readdirSync(folder)
    .sort()
    .map((file, index) => {
      const [, number, name = ""] = /^(\d{4})-([a-z0-9-]+)\.sql$/.exec(file) ?? [];
      if (Number(number) !== index + 1)
        throw new Error(`${file} is not migration ${index + 1}; number migrations without gaps.`);
      const text = readFileSync(join(folder, file), "utf8");
      return { version: index + 1, name, text, checksum: createHash("sha256").update(text).digest("hex") };
    });
}

async function versionOf(client: Client): Promise<number> {
  const { rows: tables } = await client.query("SELECT to_regclass('schema_migrations') IS NOT NULL AS is_there");
  if (!tables[0].is_there) return 0;
  const { rows } = await client.query("SELECT coalesce(max(version), 0) AS version FROM schema_migrations");
  return rows[0].version;
}

async function apply(client: Client, { version, name, text, checksum }: Migration): Promise<void> {
  try {
    await client.query("BEGIN");
    await client.query(text);
    await client.query("INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)", [
      ...[version, name, checksum],
    ]);
    await client.query("COMMIT");
  } catch (error) {
    await client.query("ROLLBACK").catch(() => {});
    throw new Error(`migration ${version} failed: ${(error as Error).message}`, { cause: error });
  }
}

/**
 * Refuses a schema that this program cannot use: newer than it supports, or made by other
 * migrations.
 */
async function check(client: Client, migrations: readonly Migration[]): Promise<void> {
  const { rows: applied } = await client.query("SELECT version, checksum FROM schema_migrations ORDER BY version");
  const newest = migrations.length;
  const done = applied.at(-1)?.version ?? 0;
  if (done > newest) {
    const { rows } = await client.query("SELECT minimum_program_version FROM schema_compatibility");
    if (rows[0].minimum_program_version > newest) {
      throw new Error(`its schema ${done} needs a newer Numberpool; this one supports schema ${newest}`);
    }
  }
  const changed = applied.find(({ version, checksum }) => {
    const known = migrations[version - 1];
    return known !== undefined && known.checksum !== checksum;
  });
  if (changed !== undefined)
    throw new Error(`its schema ${changed.version} was made by another migration than this program has`);
}
