import type { Message } from "../../domain/message.ts";
import { type Cancelled, planCancel } from "../../domain/plan/endings.ts";
import { MESSAGE_COLUMNS, messageFrom } from "../codecs/message.ts";
import type { Row } from "../codecs/row.ts";
import { type MessageQuery, scanOf } from "../messages.ts";
import { type Continued, LIST_SCAN } from "../pages.ts";
import { decayed } from "./decay.ts";
import { conditions, statementFor } from "./lists.ts";
import type { Session } from "./session.ts";
import { statement } from "./statement.ts";
import { writeChanges } from "./write-changes.ts";

const columns = MESSAGE_COLUMNS.join(", ");
const select = statement<Row>(`SELECT ${columns} FROM messages WHERE organization_id = $1 AND id = $2`);
const lock = statement<Row>(`${select.text} FOR UPDATE`);
const scan = "FROM messages WHERE organization_id = $1 AND id < $2 AND id >= $3 ORDER BY id DESC LIMIT $4";
const lastScanned = statement<Row>(`SELECT min(id) AS id, count(*) AS count FROM (SELECT id ${scan}) scanned`);
const selectTraffic = statement<Row>(
  `SELECT id, ${decayed("sent_lately", "$1::float8 - sent_lately_as_of")} AS messages
   FROM phone_numbers WHERE organization_id = $2 AND messaging_profile_id = $3 AND sent_lately > 0`,
);
const selectRange = statement<Row>(
  `SELECT id, status IN ('scheduled', 'queued', 'sending', 'sent') AS is_open FROM messages
   WHERE organization_id = $1 AND id > $2 AND id < $3 ORDER BY id LIMIT $4`,
);
const deleteMessages = statement("DELETE FROM messages WHERE organization_id = $1 AND id = ANY ($2)");
const deleteEvents = statement("DELETE FROM message_events WHERE organization_id = $1 AND message_id = ANY ($2)");

/** One message by its id. */
export async function getMessage(session: Session, organizationId: string, id: string): Promise<Message | undefined> {
  const row = await session.get(select, organizationId, id);
  return row === undefined ? undefined : messageFrom(row);
}

/** Cancels a message that nobody has taken from its queue. */
export async function cancelMessage(
  session: Session,
  organizationId: string,
  id: string,
  at: number,
): Promise<Cancelled> {
  // A claim passes over it from here on.
  const row = await session.get(lock, organizationId, id);
  const { cancelled, changes } = planCancel(row && messageFrom(row), at);
  void writeChanges(session, changes);
  return cancelled;
}

/** A page of messages, newest first; wants one state of the database for all that it looks at. */
export async function listMessages(
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

/** What left from each number of a profile lately. */
export async function listTraffic(
  session: Session,
  organizationId: string,
  profileId: string,
  now: number,
): Promise<ReadonlyMap<string, number>> {
  const rows = await session.all(selectTraffic, now, organizationId, profileId);
  return new Map(rows.map((row) => [row.id as string, row.messages as number]));
}

/** Forgets messages that ended, with their events, in a range of ids. */
export async function forgetMessages(
  session: Session,
  organizationId: string,
  before: string,
  after: string | undefined,
  limit: number,
): Promise<{ readonly forgotten: number; readonly next: string | undefined }> {
  const rows = await session.all(selectRange, organizationId, after ?? "", before, limit);
  const ended = rows.filter((row) => row.is_open === false).map((row) => row.id as string);
  if (ended.length > 0) {
    void session.run(deleteEvents, organizationId, ended);
    void session.run(deleteMessages, organizationId, ended);
  }
  return { forgotten: ended.length, next: rows.length === limit ? (rows.at(-1)?.id as string | undefined) : undefined };
}
