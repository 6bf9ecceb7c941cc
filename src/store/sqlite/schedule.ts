import { laneFrom, messageFrom, scheduledReadFrom as readFrom } from "../codecs/message.ts";
import type { Row } from "../codecs/row.ts";
import {
  laneText,
  type ScheduledFacts,
  type ScheduledRead,
  type ScheduleStore,
  type WaitingLane,
} from "../schedule.ts";
import type { Connection } from "./open.ts";
import type { ReadRecipient } from "./recipients.ts";
import type { Transactions } from "./transactions.ts";
import type { WriteChanges } from "./write-changes.ts";

/** The expression of the index of waiting messages. */
const LANE = "organization_id || ' ' || messaging_profile_id || ' ' || coalesce(phone_number_id, '')";

/** Prepares the statements about scheduled messages. */
export function prepareSchedule(
  db: Connection,
  { read, transact }: Transactions,
  readRecipient: ReadRecipient,
  write: WriteChanges,
): ScheduleStore {
  const selectDue = db.prepare(
    `SELECT organization_id, id, messaging_profile_id, next_submit_at FROM messages
     WHERE status = 'scheduled' AND next_submit_at IS NOT NULL ORDER BY next_submit_at LIMIT +?`,
  );
  const selectNextWaiting = db.prepare(
    `SELECT organization_id, messaging_profile_id, phone_number_id FROM messages
     WHERE status = 'scheduled' AND next_submit_at IS NULL AND ${LANE} > +? ORDER BY ${LANE} LIMIT 1`,
  );
  const selectWaiting = db.prepare(
    `SELECT organization_id, id, messaging_profile_id FROM messages
     WHERE status = 'scheduled' AND next_submit_at IS NULL AND ${LANE} = +? ORDER BY send_at, id LIMIT +?`,
  );
  const selectScheduled = db.prepare(
    "SELECT * FROM messages WHERE organization_id = ? AND id = ? AND status = 'scheduled'",
  );
  const readFacts = (reads: readonly ScheduledRead[]): ScheduledFacts[] =>
    reads.flatMap(({ organizationId, id }) => {
      const row = selectScheduled.get(organizationId, id) as Row | undefined;
      if (row === undefined) return [];
      const message = messageFrom(row);
      return [{ message, recipient: readRecipient(message, true) }];
    });

  return {
    listDueMessages: (now, limit) =>
      read(() => {
        const rows = selectDue.all(limit + 1) as Row[];
        const due = rows.filter((row) => (row.next_submit_at as number) <= now).slice(0, limit);
        return { messages: due.map(readFrom), nextAt: rows[due.length]?.next_submit_at as number | undefined };
      }),
    listWaitingLanes: (limit, after) =>
      read(() => {
        const lanes: WaitingLane[] = [];
        for (let last = after; lanes.length < limit; last = lanes.at(-1)) {
          const row = selectNextWaiting.get(last === undefined ? "" : laneText(last)) as Row | undefined;
          if (row === undefined) break;
          lanes.push(laneFrom(row));
        }
        return lanes;
      }),
    listWaitingMessages: (lanes, limit) =>
      read(() => lanes.flatMap((lane) => (selectWaiting.all(laneText(lane), limit) as Row[]).map(readFrom))),
    releaseScheduled: (reads, decide) =>
      transact(() => {
        write(decide(readFacts(reads), []));
      }),
  };
}
