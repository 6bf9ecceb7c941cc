import { LIMITS } from "../domain/limits.ts";
import type { Continued } from "../store/pages.ts";

/** Where a page begins, and how many entries it may have. */
export type PageAsked = { readonly after: string | undefined; readonly limit: number };

/** What a row adds to a page: its own cursor, and about how many bytes its encoding has. */
export type RowMeasures<Row> = {
  readonly cursorOf: (row: Row) => string;
  readonly bytesOf: (row: Row) => number;
};

/** How long a call looks for entries, milliseconds. */
const PATIENCE = 2_000;

/**
 * Fills a page of a list by cursor, in steps between which other work has its turn: until the page is full, in entries or in bytes,
 * the list ends, or two seconds have passed. `step` looks at a bounded part of the list, and may find nothing in it.
 */
export async function fillPage<Row>(
  page: PageAsked,
  step: (page: PageAsked) => Promise<Continued<Row>>,
  { cursorOf, bytesOf }: RowMeasures<Row>,
): Promise<Continued<Row>> {
  const since = performance.now();
  const rows: Row[] = [];
  let bytes = 0;
  let { after } = page;
  for (;;) {
    const found = await step({ after, limit: page.limit - rows.length });
    for (const row of found.rows) {
      bytes += bytesOf(row);
      const last = rows.at(-1);
      if (last !== undefined && bytes > LIMITS.pageBytes) return { rows, next: cursorOf(last) };
      rows.push(row);
    }
    after = found.next;
    const isOver = after === undefined || rows.length >= page.limit || performance.now() - since > PATIENCE;
    if (isOver) return { rows, next: after };
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}
