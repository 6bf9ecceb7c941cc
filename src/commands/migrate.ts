import type { Config } from "../config.ts";
import { answer, type Command, JSON_OPTION } from "./command.ts";
import { isPostgres } from "./open-store.ts";
import { naming } from "./with-store.ts";

/** `numberpool migrate`: what `serve` does at its start, by itself. */
export const migrate: Command = {
  name: "migrate",
  summary: "Brings the database's schema up to date, and makes a SQLite file if there is none.",
  options: [JSON_OPTION],
  run: async (call) => {
    const { database, from, to } = await bringUpToDate(call.config);
    const outcome =
      from === to
        ? `has schema ${to} already`
        : from === 0
          ? `is made with schema ${to}`
          : `went from schema ${from} to ${to}`;
    answer(call, `${database} ${outcome}.`, { database, from, to });
  },
};

/** The database without credentials, the schema that it had, 0 for a new one, and the one that it has. */
async function bringUpToDate(config: Config) {
  if (isPostgres(config)) {
    const { migrate } = await import("../store/postgres/migrate.ts");
    const { describeDatabase } = await import("../store/postgres/describe-database.ts");
    return { database: describeDatabase(config.database), ...(await migrate(config.database)) };
  }
  const { database } = config;
  const { bringUpToDate } = await import("../store/sqlite/open.ts");
  return { database, ...(await naming(database, async () => bringUpToDate(database))) };
}
