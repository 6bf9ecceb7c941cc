import pg from "pg";
import type { Changes } from "../../src/domain/plan/changes.ts";
import { openPostgresStore } from "../../src/store/postgres/postgres-store.ts";
import type { Store } from "../../src/store/store.ts";
import type { Opened } from "./contract/subject.ts";
import { storeContract } from "./contract.ts";
import { freshDatabase } from "./postgres-database.ts";

let shared: Promise<string> | undefined;

/** An empty database; creating one for each test would take longer than most tests. */
async function emptyDatabase(): Promise<string> {
  shared ??= freshDatabase();
  const url = await shared;
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query(
      `SELECT string_agg(format('%I', tablename), ', ') AS names FROM pg_tables WHERE schemaname = 'public'
         AND tablename NOT IN ('schema_migrations', 'schema_compatibility', 'write_probes')`,
    );
    if (rows[0].names !== null) await client.query(`TRUNCATE ${rows[0].names} RESTART IDENTITY`);
  } finally {
    await client.end();
  }
  return url;
}

storeContract("PostgreSQL", async (): Promise<Opened> => {
  const url = await emptyDatabase();
  const open: Store[] = [];
  const committed: Changes[] = [];
  const onCommitted = (changes: Changes) => committed.push(changes);
  const openOne = async () => {
    const store = await openPostgresStore(url, { onLost: () => {}, onCommitted, chance: Math.random });
    open.push(store);
    return store;
  };
  const closeAll = async () => {
    for (const each of open.splice(0)) await each.close();
  };
  const store = await openOne();
  return {
    store,
    committed,
    reopen: async () => {
      await closeAll();
      return openOne();
    },
    another: openOne,
    execute: async (sql) => {
      const client = new pg.Client({ connectionString: url });
      await client.connect();
      await client.query(sql).finally(() => client.end());
    },
    dispose: closeAll,
  };
});
