import { setImmediate } from "node:timers/promises";
import type { Row } from "../rows.ts";
import type { ConfigurationChange } from "../store.ts";
import type { Database } from "./database.ts";
import type { Session } from "./session.ts";
import { statement } from "./statement.ts";
import { CHANGES, watchChanges } from "./watch.ts";

/** Changes that are told before other work gets a turn: a few milliseconds. */
const TOLD_AT_ONCE = 50;
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
   ORDER BY change_sequence`,
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

/** Tells listeners of the changes that are made to a database. */
export type ChangeTeller = {
  readonly listen: (listener: (change: ConfigurationChange) => Promise<void>) => () => void;
  /** Resolves when everything that was committed before this call has been told. */
  readonly tell: () => Promise<void>;
  readonly close: () => Promise<void>;
};

/** Begins with the changes that are made from now on. */
export async function createChangeTeller(url: string, database: Database): Promise<ChangeTeller> {
  const listeners = new Set<(change: ConfigurationChange) => Promise<void>>();
  let seen = (await database.get(selectLast))?.last ?? 0;

  const read = async () => {
    for (const [index, row] of (await database.all(selectChanges, seen)).entries()) {
      // An import leaves thousands: sends must not wait for all of them.
      if (index % TOLD_AT_ONCE === TOLD_AT_ONCE - 1) await setImmediate();
      const change = {
        kind: row.kind as ConfigurationChange["kind"],
        organizationId: row.organization_id as string,
        id: row.id as string,
      };
      for (const listener of listeners) await listener(change);
      seen = row.change_sequence as number;
    }
  };

  // What failed is tried again by the watch itself, and whoever needs the database meanwhile hears of it.
  const watch = watchChanges({ url, read, onError: () => {} });
  return {
    listen: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    tell: watch.refresh,
    close: watch.close,
  };
}
