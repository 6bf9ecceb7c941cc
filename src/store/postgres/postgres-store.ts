import type { Row } from "../codecs/row.ts";
import type { Store, StoreOptions } from "../store.ts";
import { createAccept } from "./accept.ts";
import { watchConfiguration } from "./configuration-changes.ts";
import { type DatabaseOptions, openDatabase } from "./database.ts";
import { createDeliveryHold } from "./delivery-hold.ts";
import { createEvents } from "./events.ts";
import { createMessages } from "./messages.ts";
import { migrate } from "./migrate.ts";
import { createNumbers } from "./numbers.ts";
import { createOrganizations } from "./organizations.ts";
import { createPoolRows } from "./pool-rows.ts";
import { createProcesses } from "./processes.ts";
import { createProfiles } from "./profiles.ts";
import { createQueues } from "./queues.ts";
import { createRecipients } from "./recipients.ts";
import { createReports } from "./reports.ts";
import { createRetention } from "./retention.ts";
import { createSchedule } from "./schedule.ts";
import { statement } from "./statement.ts";

const selectClock = statement<Row>("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now");
const writeProbe = statement("UPDATE write_probes SET count = count + 1");

/**
 * Opens the store on an existing PostgreSQL database and migrates it. Throws one sentence when the
 * database cannot be used. Never calls `onLost`: the server is responsible for its disk, and a
 * commit that it did not acknowledge is not in the database.
 */
export async function openPostgresStore(url: string, options: StoreOptions & DatabaseOptions): Promise<Store> {
  await migrate(url);
  const database = await openDatabase(url, options);
  const configuration = await watchConfiguration(url, database).catch(async (error) => {
    await database.close();
    throw error;
  });
  const { synchronize, excludeOwn } = createProcesses(database);
  const nouns = {
    ...createOrganizations(database, configuration),
    ...createProfiles(database, configuration),
    ...createNumbers(database, configuration),
    ...createPoolRows(database),
    ...createAccept(database),
    ...createMessages(database),
    ...createEvents(database),
    ...createSchedule(database),
    ...createRecipients(database),
    ...createQueues(database),
    ...createReports(database, excludeOwn),
    ...createDeliveryHold(database),
    ...createRetention(database),
  };

  return {
    name: database.name,
    delivery: { atOnce: 500, isBlocking: false },
    ...nouns,
    synchronize,
    watchConfiguration: configuration.watchConfiguration,
    readClock: async () => (await database.get(selectClock))?.now as number,
    probe: async () => {
      await database.run(writeProbe);
    },
    close: async () => {
      await configuration.stopWatching();
      await database.close();
    },
  };
}
