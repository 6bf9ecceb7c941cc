import { LIMITS } from "../domain/limits.ts";
import type { Continued } from "../store/pages.ts";

/** The cursor after which a page begins, and how many rows it may have. */
export type PageRange = { readonly after: string | undefined; readonly limit: number };

/** A row's cursor, and the approximate size of its encoding in bytes. */
export type RowMeasures<Row> = {
  readonly cursorOf: (row: Row) => string;
  readonly bytesOf: (row: Row) => number;
};

/** How long one call reads. */
const MAX_FILL_MS = 2_000;

/**
 * Fills a page of a list by cursor until it is full, in rows or in bytes, the list ends, or two
 * seconds pass. Other work runs between two steps. `step` reads a bounded part of the list and may
 * return no rows.
 */
export async function fillPage<Row>(
  page: PageRange,
  step: (page: PageRange) => Promise<Continued<Row>>,
  { cursorOf, bytesOf }: RowMeasures<Row>,
): Promise<Continued<Row>> {
  const startMs = performance.now();
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
    const isDone = after === undefined || rows.length >= page.limit || performance.now() - startMs > MAX_FILL_MS;
    if (isDone) return { rows, next: after };
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}
