import { laneFrom, messageFrom, scheduledReadFrom as readFrom } from "../codecs/message.ts";
import type { Row } from "../codecs/row.ts";
import {
  type DecideScheduled,
  type DueMessages,
  laneText,
  type ScheduledFacts,
  type ScheduledRead,
  type WaitingLane,
} from "../schedule.ts";
import type { Connection } from "./open.ts";
import type { prepareRecipients } from "./recipients.ts";
import type { WriteChanges } from "./write-changes.ts";

/** As the index of waiting messages has it. */
const LANE = "organization_id || ' ' || messaging_profile_id || ' ' || coalesce(phone_number_id, '')";

/** The statements of messages that are scheduled. Each function runs inside a transaction of the caller. */
export function prepareSchedule(db: Connection, recipients: ReturnType<typeof prepareRecipients>, write: WriteChanges) {
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
      return [{ message, recipient: recipients.read(message, true) }];
    });

  return {
    listDue: (now: number, limit: number): DueMessages => {
      const rows = selectDue.all(limit + 1) as Row[];
      const due = rows.filter((row) => (row.next_submit_at as number) <= now).slice(0, limit);
      return { messages: due.map(readFrom), nextAt: rows[due.length]?.next_submit_at as number | undefined };
    },

    listWaitingLanes: (limit: number, after?: WaitingLane): WaitingLane[] => {
      const lanes: WaitingLane[] = [];
      for (let last = after; lanes.length < limit; last = lanes.at(-1)) {
        const row = selectNextWaiting.get(last === undefined ? "" : laneText(last)) as Row | undefined;
        if (row === undefined) break;
        lanes.push(laneFrom(row));
      }
      return lanes;
    },
    listWaiting: (lanes: readonly WaitingLane[], limit: number): ScheduledRead[] =>
      lanes.flatMap((lane) => (selectWaiting.all(laneText(lane), limit) as Row[]).map(readFrom)),

    release: (reads: readonly ScheduledRead[], decide: DecideScheduled) => {
      write(decide(readFacts(reads), []));
    },
  };
}
