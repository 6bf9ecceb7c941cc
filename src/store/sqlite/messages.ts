import { HALF_LIFE } from "../../domain/health.ts";
import type { Message } from "../../domain/message.ts";
import { type Continued, LIST_SCAN, type MessageQuery } from "../store.ts";
import { conditions } from "./lists.ts";
import type { Connection } from "./open.ts";
import { MESSAGE_COLUMNS, messageFrom, messageValues, type Row } from "./rows.ts";

/** The statements about messages as they are kept and read. Each function runs inside a transaction of the caller. */
export function prepareMessages(db: Connection) {
  const insert = db.prepare(
    `INSERT INTO messages (${MESSAGE_COLUMNS.join(", ")}) VALUES (${MESSAGE_COLUMNS.map(() => "?").join(", ")})`,
  );
  const select = db.prepare("SELECT * FROM messages WHERE organization_id = ? AND id = ?");
  const scan = "FROM messages WHERE organization_id = ? AND id < ? ORDER BY id DESC LIMIT ?";
  const lastScanned = db.prepare(`SELECT min(id) AS id, count(*) AS count FROM (SELECT id ${scan})`);
  const selectTraffic = db.prepare(
    `SELECT id, sent_lately * pow(0.5, max(0, ? - sent_lately_as_of) / ${HALF_LIFE}.0) AS messages FROM phone_numbers
     WHERE organization_id = ? AND messaging_profile_id = ? AND sent_lately > 0`,
  );

  return {
    insert: (message: Message) => {
      insert.run(messageValues(message));
    },
    get: (organizationId: string, id: string): Message | undefined => {
      const row = select.get(organizationId, id) as Row | undefined;
      return row === undefined ? undefined : messageFrom(row);
    },
    list: (organizationId: string, query: MessageQuery): Continued<Message> => {
      const after = query.after ?? AFTER_ALL;
      const where = conditions([
        ["messaging_profile_id = ?", query.messagingProfileId],
        ['"to" = ?', query.to],
        ['"from" = ?', query.from],
        ["status = ?", query.status],
      ]);
      const isFiltered = where.values.length > 0;
      const most = isFiltered ? LIST_SCAN : query.limit + 1;
      const rows = db
        .prepare(`SELECT * FROM (SELECT * ${scan}) ${isFiltered ? `WHERE ${where.text}` : ""} ORDER BY id DESC LIMIT ?`)
        .all(organizationId, after, most, ...where.values, query.limit + 1) as Row[];
      const page = rows.slice(0, query.limit).map(messageFrom);
      if (rows.length > query.limit) return { rows: page, next: page.at(-1)?.id };
      const scanned = lastScanned.get(organizationId, after, most) as { id: string | null; count: number };
      return { rows: page, next: isFiltered && scanned.count === most ? (scanned.id ?? undefined) : undefined };
    },
    listTraffic: (organizationId: string, profileId: string, now: number): ReadonlyMap<string, number> =>
      new Map(
        (selectTraffic.all(now, organizationId, profileId) as Row[]).map((row) => [
          row.id as string,
          row.messages as number,
        ]),
      ),
  };
}

/** Sorts behind every id. */
const AFTER_ALL = "g";
