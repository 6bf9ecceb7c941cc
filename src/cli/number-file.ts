import { readFileSync, statSync } from "node:fs";
import { PhoneNumberInputSchema } from "../../gen/numberpool/v1/phone_number_pb.ts";
import { refuseFormerNames } from "../transport/json/decode.ts";
import { type CsvRecord, readCsv } from "./csv.ts";

/** The columns of a file of numbers: the JSON names of the fields of PhoneNumberInput. */
export const COLUMNS = [
  "phone_number",
  "messaging_profile_id",
  "carrier",
  "line_type",
  "segments_per_second",
  "daily_segment_limit",
  "state",
  "tags",
] as const;

/** A file of numbers: its columns and its rows. */
export type NumberFile = { readonly columns: readonly string[]; readonly rows: readonly CsvRecord[] };

/** The largest file: all of its rows are in memory before the first one is written. */
const MAX_BYTES = 256 * 1024 * 1024;

/**
 * Reads a file of numbers and checks its header. Throws an error of one sentence when the file or
 * its header is wrong.
 */
export function readNumberFile(path: string): NumberFile {
  const [header, ...rows] = readCsv(readText(path));
  if (header === undefined) throw new Error(`${path} is empty; the first line must name the columns.`);
  if ("problem" in header) throw new Error(`${path}:${header.line}: the header ${header.problem}.`);
  const columns = header.fields.map((name) => name.trim());
  try {
    refuseFormerNames(PhoneNumberInputSchema, Object.fromEntries(columns.map((name) => [name, ""])));
  } catch (error) {
    throw new Error(`${path}:${header.line}: the column ${(error as Error).message}`);
  }
  const unknown = columns.filter((name) => !COLUMNS.some((known) => known === name));
  if (unknown.length > 0) {
    const names = unknown.map((name) => JSON.stringify(name)).join(", ");
    throw new Error(`${path}:${header.line}: unknown column ${names}; the columns are ${COLUMNS.join(", ")}.`);
  }
  const twice = columns.find((name, index) => columns.indexOf(name) !== index);
  if (twice !== undefined) throw new Error(`${path}:${header.line}: the header names ${twice} twice.`);
  if (!columns.includes("phone_number")) throw new Error(`${path}:${header.line}: the column phone_number is missing.`);
  return { columns, rows };
}

function readText(path: string): string {
  try {
    if (statSync(path).size > MAX_BYTES) throw new Error(`${path} is larger than 256 MiB; split it.`);
    // The decoder drops a byte order mark.
    return new TextDecoder("utf-8", { fatal: true }).decode(readFileSync(path));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ERR_ENCODING_INVALID_ENCODED_DATA") throw new Error(`${path} is not UTF-8.`);
    throw code === undefined ? error : new Error(`${path} cannot be read (${code}).`);
  }
}
