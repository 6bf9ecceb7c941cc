import type { Value } from "./statement.ts";

/** The columns of rows that are passed as lists, with their PostgreSQL types. */
export type ColumnTypes = Readonly<Record<string, string>>;

/** The rows of `listsOf` as an item of FROM with this name; the first list is parameter $1. */
export function givenRows(name: string, types: ColumnTypes): string {
  const lists = Object.values(types).map((type, index) => `$${index + 1}::${type}[]`);
  return `unnest(${lists.join(", ")}) AS ${name} (${Object.keys(types).join(", ")})`;
}

/** Rows, each the values of the same columns in the same order, as one list for each column. */
export function listsOf(types: ColumnTypes, rows: readonly (readonly unknown[])[]): Value[] {
  return Object.keys(types).map((_, column) => rows.map((row) => row[column])) as Value[];
}

/** The names of columns, each after the name of its table. */
export function columnsOf(table: string, columns: readonly string[]): string {
  return columns.map((column) => `${table}.${column}`).join(", ");
}

/**
 * Compares rows as the database compares text byte by byte, so that two transactions lock them in
 * the same order.
 */
export function byText<Row>(textOf: (row: Row) => string): (one: Row, other: Row) => number {
  return (one, other) => {
    const [a, b] = [textOf(one), textOf(other)];
    return a < b ? -1 : a > b ? 1 : 0;
  };
}
