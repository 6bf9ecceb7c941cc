import { createChangeFeed, type SequencedChange } from "../change-feed.ts";
import type { Row } from "../codecs/row.ts";
import type { ConfigurationChange, ConfigurationChangeStore } from "../configuration-changes.ts";
import type { Connection } from "./open.ts";
import type { Transactions } from "./transactions.ts";

/** Time between two looks for changes of other processes, milliseconds. */
const WATCH_INTERVAL_MS = 500;

/** Transactions that change configuration, and the passing on of their changes. */
export type Configuration = Pick<Transactions, "read" | "transact"> &
  ConfigurationChangeStore & {
    /** One transaction; listeners have the changes that it recorded before it resolves. */
    readonly configure: Transactions["transact"];
    /** Records a change; inside a transaction of the caller. */
    readonly recordChange: (kind: ConfigurationChange["kind"], organizationId: string, id: string) => void;
    /** Stops looking for changes of other processes. */
    readonly stopWatching: () => void;
  };

/** Passes on the changes that are committed from now on, by this process and by others. */
export function watchConfiguration(db: Connection, { read, transact, guard }: Transactions): Configuration {
  const insertChange = db.prepare("INSERT INTO configuration_changes (kind, organization_id, id) VALUES (?, ?, ?)");
  const changesAfter = prepareChangesAfter(db);
  const lastChange = db.prepare("SELECT coalesce(max(change_sequence), 0) FROM configuration_changes").pluck();
  const feed = createChangeFeed((after, limit) => read(() => changesAfter(after, limit)), lastChange.get() as number);

  let dataVersion = db.pragma("data_version", { simple: true });
  /** Whether every listener has every change that was seen so far. */
  let isDelivered = true;
  let deliveries = 0;
  const deliver = async () => {
    isDelivered = false;
    deliveries += 1;
    const delivery = deliveries;
    await feed.deliver();
    // A later delivery may have failed meanwhile.
    if (delivery === deliveries) isDelivered = true;
  };

  const look = guard(() => {
    const version = db.pragma("data_version", { simple: true });
    if (version === dataVersion && isDelivered) return;
    dataVersion = version;
    // A listener that fails gets the same change again at the next look.
    deliver().catch(() => {});
  });
  const timer = setInterval(look, WATCH_INTERVAL_MS);
  timer.unref();

  return {
    read,
    transact,
    configure: async (work) => {
      const result = await transact(work);
      // The change is on disk: a listener that fails does not undo it.
      await deliver().catch(() => {});
      return result;
    },
    recordChange: (kind, organizationId, id) => {
      insertChange.run(kind, organizationId, id);
    },
    watchConfiguration: feed.listen,
    stopWatching: () => clearInterval(timer),
  };
}

function prepareChangesAfter(db: Connection): (sequence: number, limit: number) => SequencedChange[] {
  const select = db.prepare(
    `SELECT change_sequence, kind, organization_id, id FROM configuration_changes WHERE change_sequence > ?
     ORDER BY change_sequence LIMIT ?`,
  );
  return (sequence, limit) =>
    (select.all(sequence, limit) as Row[]).map((row) => ({
      sequence: row.change_sequence as number,
      change: {
        kind: row.kind as ConfigurationChange["kind"],
        organizationId: row.organization_id as string,
        id: row.id as string,
      },
    }));
}
