import { existsSync } from "node:fs";
import type { Config } from "../config/config.ts";
import { isPostgres, openStore } from "../server/open-store.ts";
import { codeOf } from "../store/sqlite/open.ts";
import type { Store } from "../store/store.ts";

/**
 * Opens the configured database for `work`, and closes it in any case. Takes no lock: servers may
 * run on the same database, and notice changes within two seconds. Throws an error of one sentence
 * when the database cannot be used.
 */
export async function withStore<Result>(config: Config, work: (store: Store) => Promise<Result>): Promise<Result> {
  // After a disk error the work's own error ends the process.
  const open = () => openStore(config, { onLost: () => {} });
  const store = await (isPostgres(config) ? open() : withFileName(config.database, open));
  try {
    return await work(store);
  } finally {
    await store.close();
  }
}

/** The same for a database that must exist: only some commands may create a file. */
export function withExistingStore<Result>(config: Config, work: (store: Store) => Promise<Result>): Promise<Result> {
  if (!isPostgres(config)) existingSqliteFile(config);
  return withStore(config, work);
}

/**
 * The path of the configured SQLite file, which must exist. Throws an error of one sentence,
 * without secrets.
 */
export function existingSqliteFile(config: Config): string {
  const { database } = config;
  if (isPostgres(config))
    throw new Error("This command needs a SQLite file; for PostgreSQL use its own tools, such as pg_dump.");
  if (!existsSync(database)) throw new Error(`Database ${database} does not exist; choose another with --database.`);
  return database;
}

/** Runs `work` on a SQLite file, and adds the file's name to errors of SQLite, which lack it. */
export async function withFileName<Result>(database: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    // The driver throws a TypeError when the folder does not exist.
    if (codeOf(error) === "" && !(error instanceof TypeError)) throw error;
    throw new Error(`${database}: ${(error as Error).message}.`);
  }
}
