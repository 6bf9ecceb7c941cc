import type { Row } from "../codecs/row.ts";
import type { Counted } from "../pages.ts";
import type { Connection } from "./open.ts";

/** The conditions of a WHERE clause, and their values. */
export type Conditions = { readonly text: string; readonly values: unknown[] };

/** Joins the conditions that have a value. */
export function conditions(all: readonly (readonly [string, unknown])[]): Conditions {
  const given = all.filter(([, value]) => value !== undefined);
  return { text: given.map(([text]) => text).join(" AND "), values: given.map(([, value]) => value) };
}

/** A mark for the value of each of these columns. */
export function marks(columns: readonly string[]): string {
  return columns.map(() => "?").join(", ");
}

/**
 * A page of a list and the count of all its rows. Prepared for every call, because the text depends
 * on the filters.
 */
export function counted<Item>(
  db: Connection,
  source: string,
  where: Conditions,
  order: string,
  page: { offset: number; limit: number },
  read: (row: Row) => Item,
): Counted<Item> {
  const total = db.prepare(`SELECT count(*) FROM ${source} WHERE ${where.text}`).pluck().get(where.values) as number;
  const rows = db
    .prepare(`SELECT * FROM ${source} WHERE ${where.text} ORDER BY ${order} LIMIT ? OFFSET ?`)
    .all(...where.values, page.limit, page.offset) as Row[];
  return { rows: rows.map(read), total };
}
