import type { Message } from "../../domain/message.ts";
import { planCancel } from "../../domain/plan/endings.ts";
import { messageFrom } from "../codecs/message.ts";
import type { Row } from "../codecs/row.ts";
import { type MessageQuery, type MessageStore, scanOf } from "../messages.ts";
import { type Continued, LIST_SCAN } from "../pages.ts";
import { conditions } from "./lists.ts";
import type { Connection } from "./open.ts";
import type { Transactions } from "./transactions.ts";
import type { WriteChanges } from "./write-changes.ts";

/** Reads a message; undefined when it does not exist. */
export type ReadMessage = (organizationId: string, id: string) => Message | undefined;

/** Prepares the reading of a message; inside a transaction of the caller. */
export function prepareReadMessage(db: Connection): ReadMessage {
  const select = db.prepare("SELECT * FROM messages WHERE organization_id = ? AND id = ?");
  return (organizationId, id) => {
    const row = select.get(organizationId, id) as Row | undefined;
    return row && messageFrom(row);
  };
}

/** Prepares the statements about messages. */
export function prepareMessages(
  db: Connection,
  { read, transact }: Transactions,
  readMessage: ReadMessage,
  write: WriteChanges,
): MessageStore {
  const list = prepareList(db);
  return {
    getMessage: (organizationId, id) => read(() => readMessage(organizationId, id)),
    listMessages: (organizationId, query) => read(() => list(organizationId, query)),
    cancelMessage: (organizationId, id, at) =>
      transact(() => {
        const { cancelled, changes } = planCancel(readMessage(organizationId, id), at);
        write(changes);
        return cancelled;
      }),
  };
}

function prepareList(db: Connection): (organizationId: string, query: MessageQuery) => Continued<Message> {
  const scan = "FROM messages WHERE organization_id = ? AND id < ? AND id >= ? ORDER BY id DESC LIMIT ?";
  const lastScanned = db.prepare(`SELECT min(id) AS id, count(*) AS count FROM (SELECT id ${scan})`);
  return (organizationId, query) => {
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
  };
}
