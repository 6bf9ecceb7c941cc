import type { ClientBase } from "pg";

const SETTINGS = `SELECT
  set_config('enable_seqscan', 'off', false),
  set_config('enable_bitmapscan', 'off', false),
  set_config('enable_hashjoin', 'off', false),
  set_config('enable_mergejoin', 'off', false),
  set_config('jit', 'off', false)`;

/**
 * Has this connection find rows one by one in the order of their indexes, whatever the server believes of its tables. A plan is
 * made once and kept, often when a table is nearly empty: reading all of it would be the best then, and be done still when it has
 * millions of rows.
 */
export async function planByIndex(client: ClientBase): Promise<void> {
  await client.query(SETTINGS);
}
