import type { AppliedReport } from "../../domain/carrier-report.ts";
import type { Row } from "../codecs/row.ts";
import { type Heartbeat, type ProcessStore, type QueuedSegments, SILENCE_MS } from "../processes.ts";
import type { Database } from "./database.ts";
import { selectHealthSince } from "./health.ts";
import { settleAbandoned } from "./reports.ts";
import { byText, givenRows, listsOf } from "./row-lists.ts";
import type { Session } from "./session.ts";
import { statement } from "./statement.ts";

/**
 * The silence of another process that counts between two own heartbeats, at most, milliseconds.
 * When more time passed, this process was delayed, or the database was away: the others then get
 * time for their heartbeats.
 */
const MAX_COUNTED_MS = 10_000;
/** Silence after which a process' contribution to queues belongs to no process, milliseconds. */
const FORGOTTEN_MS = 600_000;
/** Messages of processes that are gone that one heartbeat settles. */
const SETTLED_AT_ONCE = 1_000;

const BACKLOG_TYPES = { id: "text", segments: "bigint" } as const;

const putHeartbeat = statement<Row>(
  `INSERT INTO processes (owner, last_heartbeat) VALUES ($1, $2) ON CONFLICT (owner) DO UPDATE SET last_heartbeat = excluded.last_heartbeat
   RETURNING xmax = 0 AS is_new`,
);
const selectOthers = statement<Row>("SELECT owner, last_heartbeat FROM processes WHERE owner <> $1");
const selectSnapshot = statement<Row>("SELECT pg_current_snapshot()::text AS snapshot");
const selectBacklog = statement<Row>(
  "SELECT phone_number_id, sum(segments) AS segments FROM number_backlog WHERE owner <> $1 GROUP BY phone_number_id",
);
// Of the numbers whose rows were committed since the snapshot, in whatever order.
const selectBacklogSince = statement<Row>(
  `SELECT phone_number_id, sum(segments) AS segments FROM number_backlog
   WHERE owner <> $1 AND phone_number_id IN (
     SELECT phone_number_id FROM number_backlog
     WHERE changed_by >= pg_snapshot_xmin($2::pg_snapshot) AND changed_by < pg_snapshot_xmax(pg_current_snapshot())
       AND NOT pg_visible_in_snapshot(changed_by, $2::pg_snapshot) AND owner <> $1
   )
   GROUP BY phone_number_id`,
);
const putBacklog = statement(
  `INSERT INTO number_backlog (phone_number_id, owner, segments, changed_by)
   SELECT n.id, $3, given.segments, pg_current_xact_id()
   FROM ${givenRows("given", BACKLOG_TYPES)} JOIN phone_numbers n ON n.id = given.id
   ON CONFLICT (phone_number_id, owner) DO UPDATE SET segments = excluded.segments, changed_by = excluded.changed_by`,
);
const forgetProcesses = statement<Row>("DELETE FROM processes WHERE owner = ANY ($1) RETURNING owner");
// The sum that other processes read does not change: the owner '' counts as another process.
const fold = statement(
  `WITH gone AS (DELETE FROM number_backlog WHERE owner = ANY ($1) RETURNING phone_number_id, segments)
   INSERT INTO number_backlog (phone_number_id, owner, segments, changed_by)
   SELECT phone_number_id, '', sum(segments), pg_current_xact_id() FROM gone GROUP BY phone_number_id ORDER BY phone_number_id
   ON CONFLICT (phone_number_id, owner) DO UPDATE SET
     segments = number_backlog.segments + excluded.segments, changed_by = excluded.changed_by`,
);

/** What a process knows of the others between two of its heartbeats. */
type Knowledge = {
  readonly owner: string;
  readonly now: number;
  /** The snapshot of the last heartbeat. */
  readonly snapshot: string;
  /**
   * The last heartbeat of each other process, and how long this process has seen no later one,
   * milliseconds.
   */
  readonly others: ReadonlyMap<string, { readonly lastHeartbeat: number; readonly silentFor: number }>;
  /** Its own contributions as it published them, by number. */
  readonly published: ReadonlyMap<string, number>;
  /** The part of those that belongs to no process since it was silent for too long. */
  readonly lost: ReadonlyMap<string, number>;
};

/** The processes of a database, beginning without any knowledge of the others. */
export function createProcesses(database: Database): ProcessStore & {
  /**
   * Excludes the health changes of this process from the peer updates of a heartbeat that is under
   * way.
   */
  readonly excludeOwn: (applied: readonly AppliedReport[]) => void;
} {
  let known: Knowledge | undefined;
  /**
   * Numbers whose health this process changed during a heartbeat: the heartbeat may have read older
   * counts.
   */
  let newer = new Set<string>();

  const excludeOwn = (applied: readonly AppliedReport[]) => {
    for (const { phoneNumberId, health, followed } of applied) {
      if (phoneNumberId !== undefined && health !== undefined) newer.add(phoneNumberId);
      excludeOwn(followed);
    }
  };

  return {
    excludeOwn,
    synchronize: async (heartbeat) => {
      const meanwhile = new Set<string>();
      newer = meanwhile;
      const { knowledge, peerUpdates, settled } = await database.transact((session) =>
        exchange(session, heartbeat, known),
      );
      known = knowledge;
      const health = peerUpdates.health.filter(({ phoneNumberId }) => !meanwhile.has(phoneNumberId));
      return { ...peerUpdates, health, settled: await settled() };
    },
  };
}

async function exchange(session: Session, { owner, now, backlog }: Heartbeat, known: Knowledge | undefined) {
  const before = known?.owner === owner ? known : undefined;
  // A process with a new name has no further heartbeat under the old one.
  if (known !== undefined && before === undefined) void session.run(forgetProcesses, [known.owner]);
  const [own, snapshot, rows, changed, health] = await Promise.all([
    session.get(putHeartbeat, owner, now),
    session.get(selectSnapshot),
    session.all(selectOthers, owner),
    before === undefined ? session.all(selectBacklog, owner) : session.all(selectBacklogSince, owner, before.snapshot),
    before === undefined ? [] : selectHealthSince(session, before.snapshot),
  ]);

  const others = new Map<string, { lastHeartbeat: number; silentFor: number }>();
  for (const row of rows) {
    const lastHeartbeat = row.last_heartbeat as number;
    const earlier = before?.others.get(row.owner as string);
    const isSilent = before !== undefined && earlier !== undefined && earlier.lastHeartbeat === lastHeartbeat;
    const silentFor = isSilent ? earlier.silentFor + Math.min(Math.max(0, now - before.now), MAX_COUNTED_MS) : 0;
    others.set(row.owner as string, { lastHeartbeat, silentFor });
  }
  const silentFor = (ms: number) => [...others].filter(([, other]) => other.silentFor > ms).map(([name]) => name);

  const forgotten = silentFor(FORGOTTEN_MS);
  if (forgotten.length > 0) {
    void session.run(forgetProcesses, forgotten);
    void session.run(fold, forgotten);
  }
  const wasForgotten = before !== undefined && own?.is_new === true;
  const lost = wasForgotten ? before.published : (before?.lost ?? new Map());
  const published = new Map(before?.published);
  for (const { phoneNumberId, segments } of backlog) published.set(phoneNumberId, segments);
  putBacklogs(session, owner, backlog, lost);
  const settled = await settleAbandoned(session, silentFor(SILENCE_MS), now, SETTLED_AT_ONCE);

  const knowledge: Knowledge = { owner, now, snapshot: snapshot?.snapshot as string, others, published, lost };
  const peerUpdates = {
    backlog: changed.map((row) => ({
      phoneNumberId: row.phone_number_id as string,
      segments: row.segments as number,
    })),
    health,
  };
  return { knowledge, peerUpdates, settled };
}

function putBacklogs(
  session: Session,
  owner: string,
  backlog: readonly QueuedSegments[],
  lost: ReadonlyMap<string, number>,
): void {
  if (backlog.length === 0) return;
  const rows = backlog
    .toSorted(byText(({ phoneNumberId }) => phoneNumberId))
    .map(({ phoneNumberId, segments }) => [phoneNumberId, segments - (lost.get(phoneNumberId) ?? 0)]);
  void session.run(putBacklog, ...listsOf(BACKLOG_TYPES, rows), owner);
}
