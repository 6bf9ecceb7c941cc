import type { Message } from "../../domain/message.ts";
import { type Cancelled, planCancel } from "../../domain/plan/endings.ts";
import { MESSAGE_COLUMNS, messageFrom } from "../codecs/message.ts";
import type { Row } from "../codecs/row.ts";
import { type MessageQuery, type MessageStore, scanOf } from "../messages.ts";
import { type Continued, LIST_SCAN } from "../pages.ts";
import type { Database } from "./database.ts";
import { conditions, statementFor } from "./lists.ts";
import type { Session } from "./session.ts";
import { statement } from "./statement.ts";
import { writeChanges } from "./write-changes.ts";

const columns = MESSAGE_COLUMNS.join(", ");
const select = statement<Row>(`SELECT ${columns} FROM messages WHERE organization_id = $1 AND id = $2`);
const lock = statement<Row>(`${select.text} FOR UPDATE`);
const scan = "FROM messages WHERE organization_id = $1 AND id < $2 AND id >= $3 ORDER BY id DESC LIMIT $4";
const lastScanned = statement<Row>(`SELECT min(id) AS id, count(*) AS count FROM (SELECT id ${scan}) scanned`);

/** Messages on a database. */
export function createMessages(database: Database): MessageStore {
  return {
    getMessage: (organizationId, id) => getMessage(database, organizationId, id),
    listMessages: (organizationId, query) => database.read((session) => listMessages(session, organizationId, query)),
    cancelMessage: (organizationId, id, at) =>
      database.transact((session) => cancelMessage(session, organizationId, id, at)),
  };
}

async function getMessage(session: Session, organizationId: string, id: string): Promise<Message | undefined> {
  const row = await session.get(select, organizationId, id);
  return row === undefined ? undefined : messageFrom(row);
}

async function cancelMessage(session: Session, organizationId: string, id: string, at: number): Promise<Cancelled> {
  // From here on claims skip the message.
  const row = await session.get(lock, organizationId, id);
  const { cancelled, changes } = planCancel(row && messageFrom(row), at);
  void writeChanges(session, changes);
  return cancelled;
}

/** Needs one snapshot of the database. */
async function listMessages(
  session: Session,
  organizationId: string,
  query: MessageQuery,
): Promise<Continued<Message>> {
  const { below, fromId } = scanOf(query);
  // The first five parameters are those of the scan and the page.
  const where = conditions(
    [
      ["messaging_profile_id = ?", query.messagingProfileId],
      ['"to" = ?', query.to],
      ['"from" = ?', query.from],
      ["status = ?", query.status],
    ],
    6,
  );
  const isFiltered = where.values.length > 0;
  const limit = isFiltered ? LIST_SCAN : query.limit + 1;
  const filter = isFiltered ? `WHERE ${where.text}` : "";
  const rows = await session.all(
    statementFor(`SELECT ${columns} FROM (SELECT ${columns} ${scan}) scanned ${filter} ORDER BY id DESC LIMIT $5`),
    organizationId,
    below,
    fromId,
    limit,
    query.limit + 1,
    ...where.values,
  );
  const page = rows.slice(0, query.limit).map(messageFrom);
  if (rows.length > query.limit) return { rows: page, next: page.at(-1)?.id };
  const scanned = isFiltered ? await session.get(lastScanned, organizationId, below, fromId, limit) : undefined;
  return { rows: page, next: scanned?.count === limit ? (scanned.id as string) : undefined };
}
