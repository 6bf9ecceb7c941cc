import type { ClientBase } from "pg";

const SETTINGS = `SELECT
  set_config('enable_seqscan', 'off', false),
  set_config('enable_bitmapscan', 'off', false),
  set_config('enable_hashjoin', 'off', false),
  set_config('enable_mergejoin', 'off', false),
  set_config('jit', 'off', false)`;

/**
 * Makes the planner of this connection use index scans, whatever the statistics say. A plan is made
 * once and kept, often while a table is nearly empty: its best plan is then a full scan, which
 * would stay when the table has millions of rows.
 */
export async function planByIndex(client: ClientBase): Promise<void> {
  await client.query(SETTINGS);
}
