import { randomInt } from "node:crypto";
import type { Config } from "../config/config.ts";
import type { Store, StoreOptions } from "../store/store.ts";

/** True when the configured database is a PostgreSQL server. */
export function isPostgres({ database }: Pick<Config, "database">): boolean {
  return /^postgres(ql)?:\/\//.test(database);
}

/**
 * Opens the configured database; creates and migrates it where needed. Throws an error of one
 * sentence, without secrets.
 */
export async function openStore(config: Pick<Config, "database">, options: StoreOptions): Promise<Store> {
  const { database } = config;
  // Loads only the driver in use: drivers are the largest part of a command's start.
  if (isPostgres(config)) {
    const { openPostgresStore } = await import("../store/postgres/postgres-store.ts");
    return openPostgresStore(database, { ...options, chance: () => randomInt(2 ** 32) / 2 ** 32 });
  }
  const { openSqliteStore } = await import("../store/sqlite/sqlite-store.ts");
  return openSqliteStore(database, options);
}
