import { randomInt } from "node:crypto";
import type { Config } from "../config.ts";
import type { Store, StoreOptions } from "../store/store.ts";

/** True when the configured database is a PostgreSQL server. */
export function isPostgres({ database }: Pick<Config, "database">): boolean {
  return /^postgres(ql)?:\/\//.test(database);
}

/** Opens the configured database, made and migrated if need be. Throws one sentence, without secrets, when it cannot be used. */
export async function openStore(config: Pick<Config, "database">, options: StoreOptions): Promise<Store> {
  const { database } = config;
  // Only what is used is loaded: drivers are most of what a command loads.
  if (isPostgres(config)) {
    const { openPostgresStore } = await import("../store/postgres/postgres-store.ts");
    return openPostgresStore(database, { ...options, chance: () => randomInt(2 ** 32) / 2 ** 32 });
  }
  const { openSqliteStore } = await import("../store/sqlite/sqlite-store.ts");
  return openSqliteStore(database, options);
}
