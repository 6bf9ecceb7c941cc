import pg from "pg";
import { expect, it } from "vitest";
import type { Changes } from "../../src/domain/plan/changes.ts";
import { openPostgresStore } from "../../src/store/postgres/postgres-store.ts";
import { aMessage, storeNumber, storeProfile, write } from "./contract/records.ts";
import { freshDatabase } from "./postgres-database.ts";

it("reports a transaction that PostgreSQL rolled back and that was run again once", async () => {
  const url = await freshDatabase();
  const committed: Changes[] = [];
  const onCommitted = (changes: Changes) => committed.push(changes);
  const store = await openPostgresStore(url, { onLost: () => {}, onCommitted, chance: Math.random });
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const number = await storeNumber(store, await storeProfile(store));
    // A sequence keeps its value when the transaction is rolled back.
    await client.query(
      `CREATE SEQUENCE tries;
       CREATE FUNCTION fail_at_first() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
         IF nextval('tries') < 3 THEN RAISE SQLSTATE '40001'; END IF;
         RETURN NEW;
       END $$;
       CREATE TRIGGER fail BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION fail_at_first()`,
    );
    const message = aMessage(number);
    await write(store, { messages: [message] });
    expect((await client.query("SELECT last_value::int FROM tries")).rows).toEqual([{ last_value: 3 }]);
    expect(committed.map(({ messages }) => messages?.map(({ id }) => id))).toEqual([[message.id]]);
  } finally {
    await client.end();
    await store.close();
  }
});
