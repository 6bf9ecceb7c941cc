import { existsSync } from "node:fs";
import type { Config } from "../config.ts";
import { codeOf } from "../store/sqlite/open.ts";
import { openSqliteStore } from "../store/sqlite/sqlite-store.ts";
import type { Store } from "../store/store.ts";

/**
 * Works on the configured database and closes it, whatever happens. It needs no lock: a server may run on the same file, and
 * notices what is changed within a second. Throws one sentence when the database cannot be used.
 */
export async function withStore<Result>(config: Config, work: (store: Store) => Promise<Result>): Promise<Result> {
  const path = sqliteFile(config);
  // After a failed disk there is nothing to save here: the work's own error ends the process.
  const store = naming(path, () => openSqliteStore(path, { onLost: () => {} }));
  try {
    return await work(store);
  } finally {
    await store.close();
  }
}

/** The configured database as the path of a SQLite file. Throws one sentence, without secrets, when it is another kind. */
export function sqliteFile({ database }: Config): string {
  if (/^\w+:\/\//.test(database)) throw new Error("The database must be the path of a SQLite file, not a URL.");
  return database;
}

/** The same of a file that must be there: only some commands may make one. */
export function knownSqliteFile(config: Config): string {
  const path = sqliteFile(config);
  if (!existsSync(path)) throw new Error(`There is no database ${path}; name another one with --database.`);
  return path;
}

/** Does work on a database file. What SQLite throws names no file, and gets its name here. */
export function naming<Result>(path: string, work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    // The driver throws a TypeError when the folder is missing.
    if (codeOf(error) === "" && !(error instanceof TypeError)) throw error;
    throw new Error(`${path}: ${(error as Error).message}.`);
  }
}
