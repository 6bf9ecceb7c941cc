/** A page of a counted list to read; `offset` and `limit` in rows. */
export type PageQuery = { readonly offset: number; readonly limit: number };

/** A page of a list, and the number of rows in the whole list. */
export type Counted<Row> = { readonly rows: Row[]; readonly total: number };

/** A page of a list that grows without bound; `next` is the cursor of the next page. */
export type Continued<Row> = { readonly rows: Row[]; readonly next: string | undefined };

/**
 * Rows that a filtered list reads in one call: a few milliseconds, so that a rare match does not
 * delay sends.
 */
export const LIST_SCAN = 2_000;
