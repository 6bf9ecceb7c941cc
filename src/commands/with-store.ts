import { existsSync } from "node:fs";
import type { Config } from "../config.ts";
import { codeOf } from "../store/sqlite/open.ts";
import type { Store } from "../store/store.ts";
import { isPostgres, openStore } from "./open-store.ts";

/**
 * Works on the configured database and closes it, whatever happens. It needs no lock: servers may run on the same database, and
 * notice what is changed within a second or two. Throws one sentence when the database cannot be used.
 */
export async function withStore<Result>(config: Config, work: (store: Store) => Promise<Result>): Promise<Result> {
  // After a failed disk there is nothing to save here: the work's own error ends the process.
  const open = () => openStore(config, { onLost: () => {} });
  const store = await (isPostgres(config) ? open() : naming(config.database, open));
  try {
    return await work(store);
  } finally {
    await store.close();
  }
}

/** The same on a database that must be there: only some commands may make a file. */
export function withKnownStore<Result>(config: Config, work: (store: Store) => Promise<Result>): Promise<Result> {
  if (!isPostgres(config)) knownSqliteFile(config);
  return withStore(config, work);
}

/** The path of the configured SQLite file, which must be there. Throws one sentence, without secrets. */
export function knownSqliteFile(config: Config): string {
  const { database } = config;
  if (isPostgres(config))
    throw new Error("This works on SQLite files; for PostgreSQL use its own tools, such as pg_dump.");
  if (!existsSync(database)) throw new Error(`There is no database ${database}; name another one with --database.`);
  return database;
}

/** Does work on a SQLite file. What SQLite throws names no file, and gets its name here. */
export async function naming<Result>(database: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    // The driver throws a TypeError when the folder is missing.
    if (codeOf(error) === "" && !(error instanceof TypeError)) throw error;
    throw new Error(`${database}: ${(error as Error).message}.`);
  }
}
