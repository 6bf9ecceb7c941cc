import { create } from "@bufbuild/protobuf";
import { PhoneNumberInputSchema } from "../../gen/numberpool/v1/phone_number_pb.ts";
import { Failure } from "../domain/failure.ts";
import type { Ids } from "../domain/ids.ts";
import { newNumber, type PhoneNumber } from "../domain/phone-number-record.ts";
import type { Store } from "../store/store.ts";
import { canonicalizeIdsOf } from "../transport/canonical-ids.ts";
import { decodeInto } from "../transport/json/decode.ts";
import type { CsvRecord } from "./csv.ts";
import type { NumberFile } from "./number-file.ts";

/** A checked row of the file: its phone number, or the reason why it is bad. */
export type CheckedRow = { readonly line: number } & ({ readonly number: PhoneNumber } | { readonly reason: string });

/** The context in which rows are checked. */
export type RowParts = {
  readonly store: Store;
  readonly organizationId: string;
  /** Whether another organization may have registered the same number. */
  readonly mayBeShared: boolean;
  /** The names of the configured carriers. */
  readonly carriers: readonly string[];
  readonly ids: Ids;
  /** The numbers' time of creation, milliseconds since 1970. */
  readonly at: number;
};

/** The rows of one lookup. */
const CHUNK_ROWS = 1_000;

/**
 * Checks every row as the API checks a registration, and that its number is neither registered nor
 * on an earlier line. Gives the rows in order, in chunks.
 */
export async function* checkRows({ columns, rows }: NumberFile, parts: RowParts): AsyncGenerator<CheckedRow[]> {
  const { store, organizationId } = parts;
  const lineOf = new Map<string, number>();
  const profiles = new Map<string, boolean>();
  const knowsProfile = async (id: string) => {
    const known = profiles.get(id) ?? (await store.getProfile(organizationId, id)) !== undefined;
    profiles.set(id, known);
    return known;
  };

  for (let from = 0; from < rows.length; from += CHUNK_ROWS) {
    const chunk = rows.slice(from, from + CHUNK_ROWS).map((row) => readRow(columns, row, parts));
    const phoneNumbers = chunk.flatMap((row) => ("number" in row ? [row.number.phoneNumber] : []));
    const found = await store.listNumbers(organizationId, { offset: 0, limit: CHUNK_ROWS, phoneNumbers });
    const registered = new Set(found.rows.map(({ number }) => number.phoneNumber));
    const taken = new Set(parts.mayBeShared ? [] : await store.listTaken(organizationId, phoneNumbers));
    const checked: CheckedRow[] = [];
    for (const row of chunk) {
      let reason: string | undefined;
      if ("number" in row) {
        const { phoneNumber, messagingProfileId } = row.number;
        const before = lineOf.get(phoneNumber);
        if (registered.has(phoneNumber)) reason = REGISTERED;
        else if (taken.has(phoneNumber)) reason = TAKEN;
        else if (before !== undefined) reason = `The phone number is already on line ${before}.`;
        else if (messagingProfileId !== undefined && !(await knowsProfile(messagingProfileId))) reason = NO_PROFILE;
        else lineOf.set(phoneNumber, row.line);
      }
      checked.push(reason === undefined ? row : { line: row.line, reason });
    }
    yield checked;
  }
}

/** The reason for a number that the organization already has. */
export const REGISTERED = "The phone number is already registered.";
/** The reason for a number that another organization has. */
export const TAKEN = "Another organization has registered the phone number; --allow-shared-numbers allows this.";
/** The reason for a messaging profile that does not exist. */
export const NO_PROFILE = "The organization has no messaging profile with this id.";

/** Decodes a row; an empty cell is an absent field. */
function readRow(columns: readonly string[], row: CsvRecord, parts: RowParts): CheckedRow {
  const { line } = row;
  if ("problem" in row) return { line, reason: `The row ${row.problem}.` };
  const { fields } = row;
  if (fields.length !== columns.length) {
    return { line, reason: `The row has ${fields.length} fields, the header ${columns.length}.` };
  }
  const values: Record<string, unknown> = {};
  for (const [index, column] of columns.entries()) {
    const cell = fields[index] as string;
    if (cell !== "") values[column] = column === "tags" ? cell.split(";").map((tag) => tag.trim()) : cell;
  }
  try {
    const input = create(PhoneNumberInputSchema);
    decodeInto(PhoneNumberInputSchema, input, values, "text");
    canonicalizeIdsOf(PhoneNumberInputSchema)?.(input);
    const { organizationId, ids, at } = parts;
    return { line, number: newNumber(input, { organizationId, id: ids(at), at }, parts.carriers) };
  } catch (error) {
    if (error instanceof Failure) return { line, reason: error.message };
    throw error;
  }
}
