import { HALF_LIFE_MS } from "../../domain/health.ts";
import { MAX_UNREPORTED_COUNTED, unreportedCount } from "../../domain/phone-number-record.ts";
import { assignedHealth, healthFrom, numberFrom } from "../codecs/number.ts";
import { profileFrom } from "../codecs/profile.ts";
import type { Row } from "../codecs/row.ts";
import type { PoolRow, PoolRowStore } from "../pool-rows.ts";
import { NUMBERS_WITH_HEALTH } from "./numbers.ts";
import type { Connection } from "./open.ts";
import { SELECT_PROFILE } from "./profiles.ts";
import type { Transactions } from "./transactions.ts";

/** Prepares the statements that read pools. */
export function preparePoolRows(db: Connection, { read }: Pick<Transactions, "read">): PoolRowStore {
  const selectProfile = db.prepare(SELECT_PROFILE);
  // +?: see `prepareFind` in numbers.ts.
  const selectOfProfile = db.prepare(
    `SELECT * FROM ${NUMBERS_WITH_HEALTH} WHERE n.organization_id = +? AND n.messaging_profile_id = +?
     ORDER BY n.sequence`,
  );
  const selectOne = db.prepare(`SELECT * FROM ${NUMBERS_WITH_HEALTH} WHERE n.id = +?`);
  const selectHealth = db.prepare(
    `SELECT h.*, n.organization_id, n.messaging_profile_id
     FROM (SELECT * FROM number_health WHERE phone_number_id > +? ORDER BY phone_number_id LIMIT +?) h
       LEFT JOIN phone_numbers n ON n.id = h.phone_number_id ORDER BY h.phone_number_id`,
  );
  const selectTraffic = db.prepare(
    `SELECT id, sent_lately * pow(0.5, max(0, ? - sent_lately_as_of) / ${HALF_LIFE_MS}.0) AS messages FROM phone_numbers
     WHERE organization_id = ? AND messaging_profile_id = ? AND sent_lately > 0`,
  );
  const poolRow = preparePoolRow(db);

  return {
    loadPool: (organizationId, profileId) =>
      read(() => {
        const profile = selectProfile.get(organizationId, profileId) as Row | undefined;
        if (profile === undefined) return undefined;
        const numbers = (selectOfProfile.all(organizationId, profileId) as Row[]).map(poolRow);
        return { profile: profileFrom(profile), numbers };
      }),
    loadPoolNumber: (id) =>
      read(() => {
        const row = selectOne.get(id) as Row | undefined;
        return row && poolRow(row);
      }),
    listHealth: (limit, after = "") => read(() => assignedHealth(selectHealth.all(after, limit) as Row[], limit)),
    listTraffic: (organizationId, profileId, now) =>
      read(() => {
        const rows = selectTraffic.all(now, organizationId, profileId) as Row[];
        return new Map(rows.map((row) => [row.id as string, row.messages as number]));
      }),
  };
}

/** Prepares the reading of a number's traffic beside its row. */
function preparePoolRow(db: Connection): (row: Row) => PoolRow {
  // The index contains the segments of the queue.
  const selectQueue = db.prepare(
    "SELECT sum(parts) AS segments, count(*) AS messages FROM messages WHERE status = 'queued' AND phone_number_id = ?",
  );
  // Bounded: the messages that a number sent and that await receipts grow with its history.
  const countAtMost = (status: "sending" | "sent") =>
    db
      .prepare(
        `SELECT count(*) FROM (SELECT 1 FROM messages WHERE status = '${status}' AND phone_number_id = +?
           LIMIT ${MAX_UNREPORTED_COUNTED + 1})`,
      )
      .pluck();
  const countSending = countAtMost("sending");
  const countSent = countAtMost("sent");

  return (row) => {
    const number = numberFrom(row);
    const queue = selectQueue.get(number.id) as { segments: number | null; messages: number };
    const underWay = (countSending.get(number.id) as number) + (countSent.get(number.id) as number);
    const traffic = {
      health: healthFrom(row),
      sequence: row.sequence as number,
      dueAt: row.due_at as number,
      queuedSegments: queue.segments ?? 0,
      unreported: unreportedCount(queue.messages + underWay),
      usedToday: row.used_segments as number,
      usedDay: row.used_day as number,
    };
    return { number, traffic };
  };
}
