import { HALF_LIFE_MS } from "../../domain/health.ts";
import type { Message } from "../../domain/message.ts";
import type { MessageEvent } from "../../domain/message-event.ts";
import { type Cancelled, planCancel } from "../../domain/plan/endings.ts";
import { eventFrom } from "../codecs/event.ts";
import { messageFrom } from "../codecs/message.ts";
import type { Row } from "../codecs/row.ts";
import type { EventQuery } from "../events.ts";
import { type MessageQuery, scanOf } from "../messages.ts";
import { type Continued, LIST_SCAN } from "../pages.ts";
import { conditions } from "./lists.ts";
import type { Connection } from "./open.ts";
import type { WriteChanges } from "./write-changes.ts";

/** The statements about messages as they are kept and read. Each function runs inside a transaction of the caller. */
export function prepareMessages(db: Connection, write: WriteChanges) {
  const select = db.prepare("SELECT * FROM messages WHERE organization_id = ? AND id = ?");
  const scan = "FROM messages WHERE organization_id = ? AND id < ? AND id >= ? ORDER BY id DESC LIMIT ?";
  const lastScanned = db.prepare(`SELECT min(id) AS id, count(*) AS count FROM (SELECT id ${scan})`);
  const selectTraffic = db.prepare(
    `SELECT id, sent_lately * pow(0.5, max(0, ? - sent_lately_as_of) / ${HALF_LIFE_MS}.0) AS messages FROM phone_numbers
     WHERE organization_id = ? AND messaging_profile_id = ? AND sent_lately > 0`,
  );
  const selectEvents = db.prepare(
    `SELECT * FROM message_events WHERE organization_id = ? AND message_id = ? AND sequence > +?
     ORDER BY sequence LIMIT +?`,
  );
  const selectEnded = db.prepare(
    `SELECT id, status IN ('scheduled', 'queued', 'sending', 'sent') AS is_open FROM messages
     WHERE organization_id = ? AND id > +? AND id < +? ORDER BY id LIMIT +?`,
  );
  const deleteMessage = db.prepare("DELETE FROM messages WHERE organization_id = ? AND id = ?");
  const countForgotten = db.prepare("UPDATE forgotten_messages SET count = count + ?");
  const deleteEvents = db.prepare("DELETE FROM message_events WHERE organization_id = ? AND message_id = ?");

  const get = (organizationId: string, id: string): Message | undefined => {
    const row = select.get(organizationId, id) as Row | undefined;
    return row === undefined ? undefined : messageFrom(row);
  };
  return {
    get,
    listEvents: (organizationId: string, messageId: string, query: EventQuery): Continued<MessageEvent> => {
      const after = Number(query.after ?? 0);
      const rows = selectEvents.all(organizationId, messageId, after, query.limit + 1) as Row[];
      const page = rows.slice(0, query.limit).map(eventFrom);
      return { rows: page, next: rows.length > query.limit ? String(page.at(-1)?.sequence ?? after) : undefined };
    },
    cancel: (organizationId: string, id: string, at: number): Cancelled => {
      const { cancelled, changes } = planCancel(get(organizationId, id), at);
      write(changes);
      return cancelled;
    },
    forget: (organizationId: string, before: string, after: string | undefined, limit: number) => {
      const rows = selectEnded.all(organizationId, after ?? "", before, limit) as { id: string; is_open: number }[];
      const ended = rows.filter((row) => row.is_open === 0);
      for (const { id } of ended) {
        deleteEvents.run(organizationId, id);
        deleteMessage.run(organizationId, id);
      }
      if (ended.length > 0) countForgotten.run(ended.length);
      return { forgotten: ended.length, next: rows.length === limit ? rows.at(-1)?.id : undefined };
    },
    list: (organizationId: string, query: MessageQuery): Continued<Message> => {
      const { below, fromId } = scanOf(query);
      const where = conditions([
        ["messaging_profile_id = ?", query.messagingProfileId],
        ['"to" = ?', query.to],
        ['"from" = ?', query.from],
        ["status = ?", query.status],
      ]);
      const isFiltered = where.values.length > 0;
      const limit = isFiltered ? LIST_SCAN : query.limit + 1;
      const rows = db
        .prepare(`SELECT * FROM (SELECT * ${scan}) ${isFiltered ? `WHERE ${where.text}` : ""} ORDER BY id DESC LIMIT ?`)
        .all(organizationId, below, fromId, limit, ...where.values, query.limit + 1) as Row[];
      const page = rows.slice(0, query.limit).map(messageFrom);
      if (rows.length > query.limit) return { rows: page, next: page.at(-1)?.id };
      const scanned = lastScanned.get(organizationId, below, fromId, limit) as { id: string | null; count: number };
      return { rows: page, next: isFiltered && scanned.count === limit ? (scanned.id ?? undefined) : undefined };
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
