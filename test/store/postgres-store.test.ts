import { openPostgresStore } from "../../src/store/postgres/postgres-store.ts";
import type { Store } from "../../src/store/store.ts";
import { type Opened, storeContract } from "./contract.ts";
import { freshDatabase } from "./postgres-database.ts";

storeContract("PostgreSQL", async (): Promise<Opened> => {
  const url = await freshDatabase();
  const open: Store[] = [];
  const openOne = async () => {
    const store = await openPostgresStore(url, { onLost: () => {}, chance: Math.random });
    open.push(store);
    return store;
  };
  const closeAll = async () => {
    for (const each of open.splice(0)) await each.close();
  };
  const store = await openOne();
  return {
    store,
    reopen: async () => {
      await closeAll();
      return openOne();
    },
    another: openOne,
    dispose: closeAll,
  };
});
