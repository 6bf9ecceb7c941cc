import type { Row } from "../codecs/row.ts";
import type { Counted } from "../pages.ts";
import type { Session } from "./session.ts";
import { type Statement, statement, type Value } from "./statement.ts";

/** The conditions of a WHERE clause, and their values. */
export type Conditions = { readonly text: string; readonly values: readonly Value[] };

const made = new Map<string, Statement<Row>>();

/** Joins the conditions that have a value; each ? becomes a parameter, from $`first` on. */
export function conditions(all: readonly (readonly [string, Value])[], first = 1): Conditions {
  const given = all.filter(([, value]) => value !== undefined);
  return {
    text: given.map(([text], index) => text.replace("?", () => `$${index + first}`)).join(" AND "),
    values: given.map(([, value]) => value),
  };
}

/** The statement of a text that depends on filters; each text is prepared once. */
export function statementFor(text: string): Statement<Row> {
  const known = made.get(text) ?? statement<Row>(text);
  made.set(text, known);
  return known;
}

/** A page of a list and the count of all its rows; needs one snapshot of the database. */
export async function counted<Record>(
  session: Session,
  columns: string,
  source: string,
  where: Conditions,
  order: string,
  page: { readonly offset: number; readonly limit: number },
  read: (row: Row) => Record,
): Promise<Counted<Record>> {
  const { text, values } = where;
  const [totals, rows] = await Promise.all([
    session.get(statementFor(`SELECT count(*) AS total FROM ${source} WHERE ${text}`), ...values),
    session.all(
      statementFor(
        `SELECT ${columns} FROM ${source} WHERE ${text} ORDER BY ${order}
         LIMIT $${values.length + 1} OFFSET $${values.length + 2}`,
      ),
      ...values,
      page.limit,
      page.offset,
    ),
  ]);
  return { rows: rows.map(read), total: totals?.total as number };
}
