import { createChangeFeed } from "../change-feed.ts";
import type { Row } from "../codecs/row.ts";
import type { ConfigurationChange, ConfigurationChangeStore } from "../configuration-changes.ts";
import type { Database } from "./database.ts";
import type { Session } from "./session.ts";
import { statement } from "./statement.ts";
import { CHANGES, watchChanges } from "./watch.ts";

/**
 * The lock that transactions that change configuration take in turn: a number that nothing else
 * uses, the bytes of "change".
 */
const LOCK = 0x6368_616e_6765;

const takeTurns = statement(`SELECT pg_advisory_xact_lock(${LOCK})`);
const insertChanges = statement(
  `INSERT INTO configuration_changes (kind, organization_id, id)
   SELECT kind, organization_id, id FROM unnest($1::text[], $2::text[], $3::text[]) AS given (kind, organization_id, id)`,
);
const notify = statement(`SELECT pg_notify('${CHANGES}', '')`);
const selectChanges = statement<Row>(
  `SELECT change_sequence, kind, organization_id, id FROM configuration_changes WHERE change_sequence > $1
   ORDER BY change_sequence LIMIT $2`,
);
const selectLast = statement<{ last: number }>(
  "SELECT coalesce(max(change_sequence), 0) AS last FROM configuration_changes",
);

/** Transactions that change configuration, and the passing on of their changes. */
export type Configuration = ConfigurationChangeStore & {
  /** One transaction; listeners have the changes that it recorded before it resolves. */
  readonly configure: Database["transact"];
  /** Resolves when nothing more is read. */
  readonly stopWatching: () => Promise<void>;
};

/**
 * Records changes, as the last statements of a transaction: until it ends, other such transactions
 * wait. The database assigns sequences before the commit; without turns, a reader could see a later
 * change first and skip the earlier one.
 */
export function recordChanges(session: Session, changes: readonly ConfigurationChange[]): void {
  if (changes.length === 0) return;
  const lists = [
    changes.map(({ kind }) => kind),
    changes.map(({ organizationId }) => organizationId),
    changes.map(({ id }) => id),
  ];
  void session.run(takeTurns);
  void session.run(insertChanges, ...lists);
  void session.run(notify);
}

/** Passes on the changes that are committed from now on, by this process and by others. */
export async function watchConfiguration(url: string, database: Database): Promise<Configuration> {
  const read = async (after: number, limit: number) =>
    (await database.all(selectChanges, after, limit)).map((row) => ({
      sequence: row.change_sequence as number,
      change: {
        kind: row.kind as ConfigurationChange["kind"],
        organizationId: row.organization_id as string,
        id: row.id as string,
      },
    }));
  const feed = createChangeFeed(read, (await database.get(selectLast))?.last ?? 0);

  const watch = watchChanges({
    url,
    // The watch does not wait for listeners: a slow one would delay the next look. A failed
    // delivery is repeated at the next look, and callers of the database see its errors.
    read: async () => {
      feed.deliver().catch(() => {});
    },
    onError: () => {},
  });

  let configuring: Promise<unknown> = Promise.resolve();
  /**
   * One at a time, so that many of them do not occupy every connection while they wait for each
   * other.
   */
  const configure = async <Result>(work: (session: Session) => Promise<Result>): Promise<Result> => {
    const configured = configuring.then(() => database.transact(work));
    configuring = configured.catch(() => {});
    const result = await configured;
    // The change is committed: a listener that fails does not undo it.
    await feed.deliver().catch(() => {});
    return result;
  };

  return { configure, watchConfiguration: feed.listen, stopWatching: watch.close };
}
