import { createChangeFeed } from "../change-feed.ts";
import type { Row } from "../codecs/row.ts";
import type { ConfigurationChange } from "../configuration-changes.ts";
import type { Database } from "./database.ts";
import type { Session } from "./session.ts";
import { statement } from "./statement.ts";
import { CHANGES, watchChanges } from "./watch.ts";

/** What transactions that change configuration hold in turn: any number that nobody else takes, here the bytes of "change". */
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

/**
 * Notes changes in a transaction that does nothing after it: until it ends, others wait. Numbers are given before the commit, so
 * that without turns a reader could see a later one first and pass over the earlier for ever.
 */
export function noteChanges(session: Session, changes: readonly ConfigurationChange[]): void {
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

/** Passes on the changes that are made to a database, by this process and by others. */
export type ChangeTeller = {
  readonly listen: (listener: (change: ConfigurationChange) => Promise<void>) => () => void;
  /** Resolves when every listener has what was committed before this call; rejects when one failed, which is tried again later. */
  readonly tell: () => Promise<void>;
  readonly close: () => Promise<void>;
};

/** Begins with the changes that are made from now on. */
export async function createChangeTeller(url: string, database: Database): Promise<ChangeTeller> {
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

  // The watch does not wait for listeners: a slow one would hold up the next look. What failed is tried again by the watch itself, and
  // whoever needs the database meanwhile hears of it.
  const watch = watchChanges({
    url,
    read: async () => {
      feed.deliver().catch(() => {});
    },
    onError: () => {},
  });
  return { listen: feed.listen, tell: feed.deliver, close: watch.close };
}
