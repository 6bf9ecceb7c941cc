import type { Message } from "../../domain/message.ts";
import type { Changes, HealthAfter, MessageChange } from "../../domain/plan/changes.ts";
import type { StickyMapping } from "../../domain/recipient.ts";
import { EVENT_COLUMNS, eventValues } from "../codecs/event.ts";
import { MESSAGE_COLUMNS, messageValues } from "../codecs/message.ts";
import { CHANGE_TYPES, changedColumns } from "../codecs/message-change.ts";
import { RECEIPT_COLUMNS, receiptValues } from "../codecs/receipt.ts";
import { decayed } from "./decay.ts";
import { recordHealth } from "./health.ts";
import { putKeys } from "./idempotency.ts";
import { statementFor } from "./lists.ts";
import { putMappings } from "./recipients.ts";
import { columnsOf, givenRows, listsOf } from "./row-lists.ts";
import type { Session } from "./session.ts";
import { statement } from "./statement.ts";

const MESSAGE_TYPES: Readonly<Record<(typeof MESSAGE_COLUMNS)[number], string>> = {
  organization_id: "text",
  id: "text",
  direction: "text",
  messaging_profile_id: "text",
  phone_number_id: "text",
  '"from"': "text",
  carrier: "text",
  line_type: "text",
  '"to"': "text",
  text: "text",
  encoding: "text",
  parts: "integer",
  num_chars: "integer",
  webhook_url: "text",
  webhook_failover_url: "text",
  use_profile_webhooks: "boolean",
  status: "text",
  decision_rule: "text",
  decision_tier: "text",
  decision_pool_size: "integer",
  decision_eligible: "integer",
  decision_excluded: "text",
  decision_is_fallback: "boolean",
  received_at: "bigint",
  send_at: "bigint",
  queued_at: "bigint",
  sent_at: "bigint",
  completed_at: "bigint",
  valid_until: "bigint",
  wait_seconds: "float8",
  submits: "integer",
  next_submit_at: "bigint",
  error_reason: "integer",
  error_detail: "text",
};
const EVENT_TYPES: Readonly<Record<(typeof EVENT_COLUMNS)[number], string>> = {
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
const RECEIPT_TYPES: Readonly<Record<(typeof RECEIPT_COLUMNS)[number], string>> = {
  carrier: "text",
  carrier_message_key: "text",
  carrier_message_id: "text",
  organization_id: "text",
  kind: "text",
  occurred_at: "bigint",
  carrier_code: "text",
  error_reason: "integer",
  detail: "text",
  received_at: "bigint",
};
const RECENT_TYPES = { second: "bigint", request_hash: "bytea", organization_id: "text", message_id: "text" } as const;
const USE_TYPES = {
  id: "text",
  due_at: "float8",
  messages: "integer",
  day: "integer",
  segments: "bigint",
  at: "float8",
} as const;
const RETURN_TYPES = { id: "text", messages: "integer", day: "integer", segments: "bigint" } as const;
const FORM_TYPES = { carrier: "text", organization_id: "text", form: "text" } as const;
const KEY_TYPES = { carrier_message_key: "text", carrier: "text" } as const;

const messageColumns = MESSAGE_COLUMNS.join(", ");
const insertMessages = statement(
  `INSERT INTO messages (${messageColumns}) SELECT ${messageColumns} FROM ${givenRows("given", MESSAGE_TYPES)}`,
);
const rewriteMessages = statement(
  `UPDATE messages m SET (${messageColumns}) = ROW(${columnsOf("given", MESSAGE_COLUMNS)})
   FROM ${givenRows("given", MESSAGE_TYPES)} WHERE m.organization_id = given.organization_id AND m.id = given.id`,
);
const eventColumns = EVENT_COLUMNS.join(", ");
const insertEvents = statement(
  `INSERT INTO message_events (${eventColumns}) SELECT ${eventColumns} FROM ${givenRows("given", EVENT_TYPES)}`,
);
// An equal event was written by a transaction whose answer was lost.
const insertNewEvents = statement(
  `INSERT INTO message_events (${eventColumns}) SELECT ${eventColumns} FROM ${givenRows("given", EVENT_TYPES)}
   WHERE NOT EXISTS (
     SELECT FROM message_events e WHERE e.message_id = given.message_id AND e.kind = given.kind
       AND e.occurred_at = given.occurred_at AND e.carrier_message_id IS NOT DISTINCT FROM given.carrier_message_id
       AND e.carrier_code IS NOT DISTINCT FROM given.carrier_code
   )`,
);
const insertRecent = statement(
  `INSERT INTO recent_sends (second, request_hash, organization_id, message_id)
   SELECT second, request_hash, organization_id, message_id FROM ${givenRows("given", RECENT_TYPES)}`,
);
const setUses = statement(
  `UPDATE phone_numbers n SET due_at = given.due_at, used_day = given.day,
     used_segments = CASE WHEN n.used_day = given.day THEN n.used_segments ELSE 0 END + given.segments,
     sent_lately_as_of = given.at,
     sent_lately = ${decayed("n.sent_lately", "given.at - n.sent_lately_as_of")} + given.messages
   FROM ${givenRows("given", USE_TYPES)} WHERE n.id = given.id`,
);
const returnUses = statement(
  `UPDATE phone_numbers n SET sent_lately = greatest(0, n.sent_lately - given.messages),
     used_segments = CASE WHEN n.used_day = given.day THEN greatest(0, n.used_segments - given.segments)
       ELSE n.used_segments END
   FROM ${givenRows("given", RETURN_TYPES)} WHERE n.id = given.id`,
);
const receiptColumns = RECEIPT_COLUMNS.join(", ");
const insertReceipts = statement(
  `INSERT INTO unmatched_receipts (${receiptColumns})
   SELECT ${receiptColumns} FROM ${givenRows("given", RECEIPT_TYPES)} ON CONFLICT DO NOTHING`,
);
const deleteReceipts = statement("DELETE FROM unmatched_receipts WHERE sequence = ANY ($1)");
const setExamined = statement("UPDATE unmatched_receipts SET is_examined = true WHERE sequence = ANY ($1)");
const reopenReceipts = statement(
  `UPDATE unmatched_receipts r SET is_examined = false FROM ${givenRows("given", KEY_TYPES)}
   WHERE r.carrier_message_key = given.carrier_message_key AND r.carrier = given.carrier AND r.is_examined`,
);
const putForms = statement(
  `INSERT INTO carrier_id_forms (carrier, organization_id, form)
   SELECT carrier, organization_id, form FROM ${givenRows("given", FORM_TYPES)} ORDER BY carrier, organization_id
   ON CONFLICT (carrier, organization_id) DO UPDATE SET form = excluded.form WHERE carrier_id_forms.form <> excluded.form`,
);

/** The options of writing changes. */
export type WriteOptions = {
  /**
   * The same changes may be in the database, because the answer to an earlier commit was lost: no
   * event is written twice.
   */
  readonly mayBeThere?: boolean;
};

/**
 * Writes the changes of a transaction without waiting: the statements leave together. The caller
 * locks the messages, so that no other transaction writes a later event with an earlier sequence.
 * Gives the senders' health after each outcome; it resolves after the commit.
 */
export function writeChanges(
  session: Session,
  changes: Changes,
  { mayBeThere = false }: WriteOptions = {},
): () => Promise<HealthAfter> {
  session.note?.(changes);
  writeMessages(session, insertMessages, changes.messages ?? []);
  writeMessages(session, rewriteMessages, changes.rewritten ?? []);
  changeMessages(session, changes.changed ?? []);
  const { events = [], mappings = [], keys = [], recentSends = [], uses = [] } = changes;
  if (events.length > 0) {
    const rows = events.map(({ organizationId, event }) => eventValues(organizationId, event));
    void session.run(mayBeThere ? insertNewEvents : insertEvents, ...listsOf(EVENT_TYPES, rows));
  }
  putKeys(session, keys);
  if (recentSends.length > 0) {
    const rows = recentSends.map(({ at, requestHash, organizationId, messageId }) => {
      return [Math.floor(at / 1000), requestHash, organizationId, messageId];
    });
    void session.run(insertRecent, ...listsOf(RECENT_TYPES, rows));
  }
  putMappings(session, mappings as readonly StickyMapping[]);
  if (uses.length > 0) {
    const rows = uses.map((use) => [use.phoneNumberId, use.dueAt, use.messages, use.day, use.segments, use.at]);
    void session.run(setUses, ...listsOf(USE_TYPES, rows));
  }
  // A number may have a return for each of two days, and a statement changes a row once.
  for (const { phoneNumberId, messages, day, segments } of changes.returns ?? [])
    void session.run(returnUses, ...listsOf(RETURN_TYPES, [[phoneNumberId, messages, day, segments]]));
  writeReceipts(session, changes);
  return recordHealth(session, changes.health ?? []);
}

function writeMessages(session: Session, how: typeof insertMessages, messages: readonly Message[]): void {
  if (messages.length > 0) void session.run(how, ...listsOf(MESSAGE_TYPES, messages.map(messageValues)));
}

/** One statement for each set of columns that changes. */
function changeMessages(session: Session, changes: readonly MessageChange[]): void {
  const shapes = new Map<
    string,
    { readonly columns: readonly (keyof typeof CHANGE_TYPES)[]; readonly submits: number; readonly rows: unknown[][] }
  >();
  for (const change of changes) {
    const { columns, values, submits } = changedColumns(change);
    const shape = `${columns.join()} ${submits}`;
    const same = shapes.get(shape) ?? { columns, submits, rows: [] };
    shapes.set(shape, same);
    same.rows.push([change.organizationId, change.id, ...values]);
  }
  for (const { columns, submits, rows } of shapes.values()) {
    const types = {
      organization_id: "text",
      id: "text",
      ...Object.fromEntries(columns.map((column) => [column, CHANGE_TYPES[column]])),
    };
    const moved = submits === 0 ? [] : [`submits = m.submits ${submits < 0 ? "-" : "+"} 1`];
    const set = [...columns.map((column) => `${column} = given.${column}`), ...moved].join(", ");
    const update = statementFor(
      `UPDATE messages m SET ${set} FROM ${givenRows("given", types)}
       WHERE m.organization_id = given.organization_id AND m.id = given.id`,
    );
    void session.run(update, ...listsOf(types, rows));
  }
}

function writeReceipts(
  session: Session,
  { newReceipts = [], deletedReceipts = [], examinedReceipts = [], reopenedReceipts = [], idForms = [] }: Changes,
): void {
  if (deletedReceipts.length > 0) void session.run(deleteReceipts, deletedReceipts);
  if (examinedReceipts.length > 0) void session.run(setExamined, examinedReceipts);
  if (reopenedReceipts.length > 0) {
    const rows = reopenedReceipts.map(({ carrierMessageKey, carrier }) => [carrierMessageKey, carrier]);
    void session.run(reopenReceipts, ...listsOf(KEY_TYPES, rows));
  }
  if (idForms.length > 0) {
    const rows = idForms.map(({ carrier, organizationId, form }) => [carrier, organizationId, form]);
    void session.run(putForms, ...listsOf(FORM_TYPES, rows));
  }
  if (newReceipts.length > 0)
    void session.run(insertReceipts, ...listsOf(RECEIPT_TYPES, newReceipts.map(receiptValues)));
}
