import type { Store, StoreOptions } from "../store.ts";
import { prepareAccept } from "./accept.ts";
import { watchConfiguration } from "./configuration-changes.ts";
import { prepareDeliveryHold } from "./delivery-hold.ts";
import { prepareEvents } from "./events.ts";
import { watchFile } from "./file-watch.ts";
import { prepareMessages, prepareReadMessage } from "./messages.ts";
import { prepareNumbers } from "./numbers.ts";
import { openConnection } from "./open.ts";
import { prepareOrganizations } from "./organizations.ts";
import { preparePoolRows } from "./pool-rows.ts";
import { prepareProcesses } from "./processes.ts";
import { prepareProfiles } from "./profiles.ts";
import { prepareQueues } from "./queues.ts";
import { preparePutMapping, prepareReadRecipient, prepareRecipients } from "./recipients.ts";
import { prepareReports } from "./reports.ts";
import { prepareRetention } from "./retention.ts";
import { prepareSchedule } from "./schedule.ts";
import { createTransactions } from "./transactions.ts";
import { prepareChanges, type WriteChanges } from "./write-changes.ts";

/**
 * Opens the store on one SQLite file: creates the file if it does not exist, and migrates it.
 * Throws one sentence when the file cannot be used.
 */
export function openSqliteStore(path: string, options: StoreOptions): Store {
  const db = openConnection(path);
  const transactions = createTransactions(db, options);
  const readMessage = prepareReadMessage(db);
  const readRecipient = prepareReadRecipient(db);
  const putMapping = preparePutMapping(db);
  const writeChanges = prepareChanges(db, putMapping);
  const write: WriteChanges = (changes) => {
    transactions.note(changes);
    return writeChanges(changes);
  };
  const writeProbe = db.prepare("UPDATE write_probes SET count = count + 1");
  const configuration = watchConfiguration(db, transactions);
  const nouns = {
    ...prepareOrganizations(db, configuration),
    ...prepareProfiles(db, configuration),
    ...prepareNumbers(db, configuration),
    ...preparePoolRows(db, transactions),
    ...prepareAccept(db, transactions, readMessage, readRecipient, write),
    ...prepareMessages(db, transactions, readMessage, write),
    ...prepareEvents(db, transactions),
    ...prepareSchedule(db, transactions, readRecipient, write),
    ...prepareRecipients(db, transactions, readRecipient, putMapping),
    ...prepareQueues(db, transactions, readRecipient, write),
    ...prepareReports(db, transactions, write),
    ...prepareDeliveryHold(db, transactions),
    ...prepareProcesses(db, transactions, write),
    ...prepareRetention(db, transactions),
  };
  const stopWatchingFile = options.onMoved && watchFile(db, path, transactions, options.onMoved);

  return {
    name: path,
    delivery: { atOnce: 100, isBlocking: true },
    ...nouns,
    watchConfiguration: configuration.watchConfiguration,
    readClock: undefined,
    probe: () =>
      transactions.transact(() => {
        writeProbe.run();
      }),
    close: async () => {
      configuration.stopWatching();
      stopWatchingFile?.();
      // The last process that closes the file copies the log into it. An explicit checkpoint would
      // block other writers meanwhile.
      db.close();
    },
  };
}
