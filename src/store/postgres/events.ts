import { type MessageEvent, type NewMessageEvent, ownEvent } from "../../domain/message-event.ts";
import type { EventQuery } from "../queries.ts";
import { EVENT_COLUMNS, eventFrom, eventValues, type Row } from "../rows.ts";
import type { Continued } from "../store.ts";
import { givenRows, listsOf } from "./row-lists.ts";
import type { Session } from "./session.ts";
import { statement } from "./statement.ts";

/** What happened to a message, and whose it is. */
export type NewEvent = { readonly organizationId: string; readonly event: NewMessageEvent };

const TYPES: Readonly<Record<(typeof EVENT_COLUMNS)[number], string>> = {
  organization_id: "text",
  message_id: "text",
  kind: "text",
  status: "text",
  changes_status: "boolean",
  occurred_at: "bigint",
  carrier_message_id: "text",
  carrier_code: "text",
  error_reason: "integer",
  detail: "text",
};

const columns = EVENT_COLUMNS.join(", ");
const insert = statement(`INSERT INTO message_events (${columns}) SELECT ${columns} FROM ${givenRows("given", TYPES)}`);
// What is there already, word for word, was noted by a writing whose answer was lost.
const insertNew = statement(
  `INSERT INTO message_events (${columns}) SELECT ${columns} FROM ${givenRows("given", TYPES)} WHERE NOT EXISTS (
     SELECT FROM message_events e WHERE e.message_id = given.message_id AND e.kind = given.kind
       AND e.occurred_at = given.occurred_at AND e.carrier_message_id IS NOT DISTINCT FROM given.carrier_message_id
       AND e.carrier_code IS NOT DISTINCT FROM given.carrier_code
   )`,
);
const select = statement<Row>(
  `SELECT sequence, ${columns} FROM message_events WHERE organization_id = $1 AND message_id = $2 AND sequence > $3
   ORDER BY sequence LIMIT $4`,
);

/**
 * Notes what happened to messages, in this order. The caller holds the messages, so that nobody's later note gets an earlier
 * number. `mayBeThere`: they may have been noted already, because the answer of an earlier writing was lost.
 */
export function noteEvents(session: Session, events: readonly NewEvent[], mayBeThere = false): void {
  if (events.length === 0) return;
  const rows = events.map(({ organizationId, event }) => eventValues(organizationId, event));
  void session.run(mayBeThere ? insertNew : insert, ...listsOf(TYPES, rows));
}

/** The statement that notes one kind of event, which changed their status, of all messages in a query's rows, by `id`. */
export function noteAll(rows: string, kind: "sending" | "requeued", at: string): string {
  const { status } = ownEvent({ id: "" }, kind, 0);
  return `INSERT INTO message_events (organization_id, message_id, kind, status, changes_status, occurred_at)
     SELECT organization_id, id, '${kind}', '${status}', true, ${at}::bigint FROM ${rows}`;
}

/** A page of a message's story. */
export async function listEvents(
  session: Session,
  organizationId: string,
  messageId: string,
  query: EventQuery,
): Promise<Continued<MessageEvent>> {
  const after = Number(query.after ?? 0);
  const rows = await session.all(select, organizationId, messageId, after, query.limit + 1);
  const page = rows.slice(0, query.limit).map(eventFrom);
  return { rows: page, next: rows.length > query.limit ? String(page.at(-1)?.sequence ?? after) : undefined };
}
