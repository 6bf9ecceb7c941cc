import { laneFrom, MESSAGE_COLUMNS, messageFrom, scheduledReadFrom as readFrom } from "../codecs/message.ts";
import type { Row } from "../codecs/row.ts";
import {
  type DecideScheduled,
  type DueMessages,
  laneText,
  type ScheduledFacts,
  type ScheduledRead,
  type ScheduleStore,
  type WaitingLane,
} from "../schedule.ts";
import type { Database } from "./database.ts";
import { FACT_COLUMNS, factsFrom } from "./recipients.ts";
import { columnsOf, givenRows, listsOf } from "./row-lists.ts";
import type { Session } from "./session.ts";
import { statement } from "./statement.ts";
import { decideWithTrials } from "./trials.ts";
import { writeChanges } from "./write-changes.ts";

const READ_TYPES = { organization_id: "text", id: "text" } as const;

const selectDue = statement<Row>(
  `SELECT organization_id, id, messaging_profile_id, next_submit_at FROM messages
   WHERE status = 'scheduled' AND next_submit_at IS NOT NULL ORDER BY next_submit_at LIMIT $1`,
);
/** The expression of the index of waiting messages. */
const LANE = "(organization_id || ' ' || messaging_profile_id || ' ' || coalesce(phone_number_id, ''))";
const IS_WAITING = "status = 'scheduled' AND next_submit_at IS NULL";
// Jumps from lane to lane through the index.
const selectLanes = statement<Row>(
  `WITH RECURSIVE lane (text) AS (
     SELECT min(${LANE}) FROM messages WHERE ${IS_WAITING} AND ${LANE} > $1
     UNION ALL
     SELECT (SELECT min(${LANE}) FROM messages WHERE ${IS_WAITING} AND ${LANE} > lane.text)
     FROM lane WHERE lane.text IS NOT NULL
   )
   SELECT split_part(text, ' ', 1) AS organization_id, split_part(text, ' ', 2) AS messaging_profile_id,
     nullif(split_part(text, ' ', 3), '') AS phone_number_id
   FROM lane WHERE text IS NOT NULL LIMIT $2`,
);
const selectWaiting = statement<Row>(
  `SELECT waiting.* FROM unnest($1::text[]) WITH ORDINALITY AS given (lane, position) CROSS JOIN LATERAL (
     SELECT organization_id, id, messaging_profile_id, send_at FROM messages
     WHERE ${IS_WAITING} AND ${LANE} = given.lane COLLATE "C" ORDER BY send_at, id LIMIT $2
   ) waiting ORDER BY given.position, waiting.send_at, waiting.id`,
);
// A second transaction waits for the first, and then reads the messages that are still scheduled.
const lockScheduled = statement<Row>(
  `SELECT ${columnsOf("s", MESSAGE_COLUMNS)}, ${FACT_COLUMNS}
   FROM ${givenRows("given", READ_TYPES)}
     JOIN messages s ON s.organization_id = given.organization_id AND s.id = given.id AND s.status = 'scheduled'
     LEFT JOIN opt_outs o ON o.organization_id = s.organization_id
       AND o.messaging_profile_id = s.messaging_profile_id AND o."to" = s."to"
     LEFT JOIN sticky_mappings m ON m.organization_id = s.organization_id
       AND m.messaging_profile_id = s.messaging_profile_id AND m."to" = s."to"
   ORDER BY s.organization_id, s.id FOR UPDATE OF s`,
);

/** Scheduled messages on a database. */
export function createSchedule(database: Database): ScheduleStore {
  return {
    listDueMessages: (now, limit) => listDueMessages(database, now, limit),
    listWaitingLanes: (limit, after) => listWaitingLanes(database, limit, after),
    listWaitingMessages: (lanes, limit) => listWaitingMessages(database, lanes, limit),
    releaseScheduled: (reads, decide) => database.transact((session) => releaseScheduled(session, reads, decide)),
  };
}

async function listDueMessages(session: Session, now: number, limit: number): Promise<DueMessages> {
  const rows = await session.all(selectDue, limit + 1);
  const due = rows.filter((row) => (row.next_submit_at as number) <= now).slice(0, limit);
  return { messages: due.map(readFrom), nextAt: rows[due.length]?.next_submit_at as number | undefined };
}

async function listWaitingLanes(session: Session, limit: number, after?: WaitingLane): Promise<WaitingLane[]> {
  const rows = await session.all(selectLanes, after === undefined ? "" : laneText(after), limit);
  return rows.map(laneFrom);
}

async function listWaitingMessages(
  session: Session,
  lanes: readonly WaitingLane[],
  limit: number,
): Promise<ScheduledRead[]> {
  const rows = await session.all(selectWaiting, lanes.map(laneText), limit);
  return rows.map(readFrom);
}

/** One round trip to the database reads the messages, and one writes their changes. */
async function releaseScheduled(
  session: Session,
  reads: readonly ScheduledRead[],
  decide: DecideScheduled,
): Promise<void> {
  const given = listsOf(
    READ_TYPES,
    reads.map(({ organizationId, id }) => [organizationId, id]),
  );
  const facts = new Map<string, ScheduledFacts>();
  for (const row of reads.length === 0 ? [] : await session.all(lockScheduled, ...given)) {
    const message = messageFrom(row);
    facts.set(`${message.organizationId} ${message.id}`, { message, recipient: factsFrom(row, message) });
  }
  const asked = reads.flatMap(({ organizationId, id }) => facts.get(`${organizationId} ${id}`) ?? []);
  void writeChanges(session, await decideWithTrials(session, (occupied) => decide(asked, occupied)));
}
