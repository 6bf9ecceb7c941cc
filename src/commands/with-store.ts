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
  const store = openStore(config.database);
  try {
    return await work(store);
  } finally {
    await store.close();
  }
}

/** Throws one sentence when there is no database yet: only some commands may make one. */
export function requireDatabase({ database }: Config): void {
  if (!existsSync(database)) throw new Error(`There is no database ${database}; name another one with --database.`);
}

/** What an error of the database says, as one sentence that names the file. */
export function aboutDatabase(path: string, error: unknown): Error {
  const text = error instanceof Error ? error.message : String(error);
  return codeOf(error) === "" && !(error instanceof TypeError) ? new Error(text) : new Error(`${path}: ${text}.`);
}

function openStore(path: string): Store {
  try {
    // After a failed disk there is nothing to save here: the work's own error ends the process.
    return openSqliteStore(path, { onLost: () => {} });
  } catch (error) {
    throw aboutDatabase(path, error);
  }
}
