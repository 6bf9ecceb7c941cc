import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { rowsOf } from "../../operation/program.ts";
import { temporaryFolder } from "../../server.ts";
import { jsonOf, numberpool } from "../numberpool.ts";

/** A temporary folder for databases and files of numbers. */
export function createNumberFiles() {
  const folder = temporaryFolder();
  let databases = 0;
  let files = 0;
  return {
    path: folder.path,
    remove: folder.remove,
    /** A new database with the default organization. */
    emptyDatabase: async (): Promise<string> => {
      databases += 1;
      const database = join(folder.path, `numbers-${databases}.db`);
      await jsonOf(database, "key", "create", "--organization", "default");
      return database;
    },
    /** A new file with this content. */
    fileOf: (content: string | Uint8Array): string => {
      files += 1;
      const path = join(folder.path, `numbers-${files}.csv`);
      writeFileSync(path, content);
      return path;
    },
  };
}

/** Runs an import. */
export const importing = (database: string, file: string, ...more: string[]) =>
  numberpool(database, "number", "import", file, ...more);

/** The phone numbers in a database, in the order of their registration. */
export const phoneNumbersIn = (database: string): string[] =>
  rowsOf<{ phone_number: string }>(database, "SELECT phone_number FROM phone_numbers ORDER BY sequence").map(
    (row) => row.phone_number,
  );

/** So many numbers, all different, of several area codes. */
export const manyNumbers = (count: number): string[] =>
  Array.from({ length: count }, (_, index) => `+1${212 + (index % 3)}${2_000_000 + index}`);
