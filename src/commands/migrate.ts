import { bringUpToDate } from "../store/sqlite/open.ts";
import { answer, type Command, JSON_OPTION } from "./command.ts";
import { naming, sqliteFile } from "./with-store.ts";

/** `numberpool migrate`: what `serve` does at its start, by itself. */
export const migrate: Command = {
  name: "migrate",
  summary: "Brings the database's schema up to date, and makes the database if there is none.",
  options: [JSON_OPTION],
  run: async (call) => {
    const database = sqliteFile(call.config);
    const { from, to } = naming(database, () => bringUpToDate(database));
    const outcome =
      from === to
        ? `has schema ${to} already`
        : from === 0
          ? `is made with schema ${to}`
          : `went from schema ${from} to ${to}`;
    answer(call, `${database} ${outcome}.`, { database, from, to });
  },
};
