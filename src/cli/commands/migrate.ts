import type { Config } from "../../config/config.ts";
import { isPostgres } from "../../server/open-store.ts";
import { answer, type Command, JSON_OPTION } from "../command.ts";
import { withFileName } from "../with-store.ts";

/** `numberpool migrate`: migrates the database, as `serve` does at its start. */
export const migrate: Command = {
  name: "migrate",
  summary: "Migrates the database to the current schema; a SQLite file is created if it does not exist.",
  options: [JSON_OPTION],
  run: async (call) => {
    const { database, from, to } = await migrateDatabase(call.config);
    const outcome =
      from === to
        ? `already has schema ${to}`
        : from === 0
          ? `was created with schema ${to}`
          : `was migrated from schema ${from} to ${to}`;
    answer(call, `${database} ${outcome}.`, { database, from, to });
  },
};

/**
 * Migrates. Gives the database's name without credentials, its former schema (0: new), and its
 * present one.
 */
async function migrateDatabase(config: Config) {
  if (isPostgres(config)) {
    const { migrate } = await import("../../store/postgres/migrate.ts");
    const { describeDatabase } = await import("../../store/postgres/describe-database.ts");
    return { database: describeDatabase(config.database), ...(await migrate(config.database)) };
  }
  const { database } = config;
  const { bringUpToDate } = await import("../../store/sqlite/open.ts");
  return { database, ...(await withFileName(database, async () => bringUpToDate(database))) };
}
