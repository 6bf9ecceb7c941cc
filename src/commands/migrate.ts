import { bringUpToDate } from "../store/sqlite/open.ts";
import { answer, type Command, JSON_OPTION } from "./command.ts";
import { aboutDatabase } from "./with-store.ts";

/** `numberpool migrate`: what `serve` does at its start, by itself. */
export const migrate: Command = {
  name: "migrate",
  summary: "Brings the database's schema up to date, and makes the database if there is none.",
  options: [JSON_OPTION],
  run: async (call) => {
    const { database } = call.config;
    const { from, to } = bring(database);
    const outcome =
      from === to
        ? `has schema ${to} already`
        : from === 0
          ? `is made with schema ${to}`
          : `went from schema ${from} to ${to}`;
    answer(call, `${database} ${outcome}.`, { database, from, to });
  },
};

function bring(database: string): { from: number; to: number } {
  try {
    return bringUpToDate(database);
  } catch (error) {
    throw aboutDatabase(database, error);
  }
}
