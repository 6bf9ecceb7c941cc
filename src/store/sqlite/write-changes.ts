import { addOutcome, HALF_LIFE_MS, type HealthCounts, isCounted } from "../../domain/health.ts";
import type { Changes, HealthAfter, HealthOutcome, MessageChange } from "../../domain/plan/changes.ts";
import { EVENT_COLUMNS, eventValues } from "../codecs/event.ts";
import { MESSAGE_COLUMNS, messageValues } from "../codecs/message.ts";
import { changedColumns } from "../codecs/message-change.ts";
import { healthFrom } from "../codecs/number.ts";
import { RECEIPT_COLUMNS, receiptValues } from "../codecs/receipt.ts";
import type { Row } from "../codecs/row.ts";
import { marks } from "./lists.ts";
import type { Connection } from "./open.ts";
import type { PutMapping } from "./recipients.ts";

/**
 * Writes the changes of a transaction; inside a transaction of the caller. Gives the senders'
 * health after each outcome.
 */
export type WriteChanges = (changes: Changes) => HealthAfter;

/** Prepares the only statements that write what plans change. */
export function prepareChanges(db: Connection, putMapping: PutMapping): WriteChanges {
  const insertMessage = db.prepare(
    `INSERT INTO messages (${MESSAGE_COLUMNS.join(", ")}) VALUES (${marks(MESSAGE_COLUMNS)})`,
  );
  const rewriteMessage = db.prepare(
    `UPDATE messages SET (${MESSAGE_COLUMNS.join(", ")}) = (${marks(MESSAGE_COLUMNS)}) WHERE organization_id = ? AND id = ?`,
  );
  const insertEvent = db.prepare(
    `INSERT INTO message_events (${EVENT_COLUMNS.join(", ")}) VALUES (${marks(EVENT_COLUMNS)})`,
  );
  const insertKey = db.prepare(
    "INSERT INTO idempotency_keys (organization_id, method, key, request_hash, response, created_at) VALUES (?, ?, ?, ?, ?, ?)",
  );
  const insertRecent = db.prepare(
    "INSERT INTO recent_sends (second, request_hash, organization_id, message_id) VALUES (?, ?, ?, ?)",
  );
  const setUse = db.prepare(
    `UPDATE phone_numbers SET due_at = @dueAt, sent_lately_as_of = @at,
       used_segments = iif(used_day = @day, used_segments, 0) + @segments, used_day = @day,
       sent_lately = sent_lately * pow(0.5, max(0, @at - sent_lately_as_of) / ${HALF_LIFE_MS}.0) + @messages
     WHERE id = @phoneNumberId`,
  );
  const returnUse = db.prepare(
    `UPDATE phone_numbers SET used_segments = iif(used_day = @day, max(0, used_segments - @segments), used_segments),
       sent_lately = max(0, sent_lately - @messages)
     WHERE id = @phoneNumberId`,
  );
  const insertReceipt = db.prepare(
    `INSERT INTO unmatched_receipts (${RECEIPT_COLUMNS.join(", ")}) VALUES (${marks(RECEIPT_COLUMNS)})
     ON CONFLICT DO NOTHING`,
  );
  const deleteReceipt = db.prepare("DELETE FROM unmatched_receipts WHERE sequence = ?");
  const setExamined = db.prepare("UPDATE unmatched_receipts SET is_examined = 1 WHERE sequence = ?");
  const reopenReceipts = db.prepare(
    "UPDATE unmatched_receipts SET is_examined = 0 WHERE carrier_message_key = ? AND carrier = ?",
  );
  const selectForm = db.prepare("SELECT form FROM carrier_id_forms WHERE carrier = ? AND organization_id = ?").pluck();
  const putForm = db.prepare(
    `INSERT INTO carrier_id_forms (carrier, organization_id, form) VALUES (?, ?, ?)
     ON CONFLICT DO UPDATE SET form = excluded.form`,
  );
  const changeMessage = prepareMessageChange(db);
  const writeHealth = prepareHealthWriter(db);
  /** Forms that were read from the file; a form of a transaction that failed is not among them. */
  const storedForms = new Map<string, string>();

  return (changes) => {
    for (const message of changes.messages ?? []) insertMessage.run(messageValues(message));
    for (const message of changes.rewritten ?? [])
      rewriteMessage.run(...messageValues(message), message.organizationId, message.id);
    for (const change of changes.changed ?? []) changeMessage(change);
    for (const { organizationId, event } of changes.events ?? []) insertEvent.run(eventValues(organizationId, event));
    for (const mapping of changes.mappings ?? []) putMapping(mapping);
    for (const k of changes.keys ?? [])
      insertKey.run(k.organizationId, k.method, k.key, k.requestHash, k.response, k.createdAt);
    for (const { at, requestHash, organizationId, messageId } of changes.recentSends ?? [])
      insertRecent.run(Math.floor(at / 1000), requestHash, organizationId, messageId);
    for (const use of changes.uses ?? []) setUse.run(use);
    for (const use of changes.returns ?? []) returnUse.run(use);
    for (const receipt of changes.newReceipts ?? []) insertReceipt.run(receiptValues(receipt));
    for (const sequence of changes.deletedReceipts ?? []) deleteReceipt.run(sequence);
    for (const sequence of changes.examinedReceipts ?? []) setExamined.run(sequence);
    for (const { carrierMessageKey, carrier } of changes.reopenedReceipts ?? [])
      reopenReceipts.run(carrierMessageKey, carrier);
    for (const { carrier, organizationId, form } of changes.idForms ?? []) {
      const name = `${carrier} ${organizationId}`;
      if (storedForms.get(name) === form) continue;
      const stored = selectForm.get(carrier, organizationId) as string | undefined;
      if (stored === form) storedForms.set(name, form);
      else {
        storedForms.delete(name);
        putForm.run(carrier, organizationId, form);
      }
    }
    return writeHealth(changes.health ?? []);
  };
}

/**
 * One statement for each set of columns that changes: indexes of the other columns stay unchanged.
 */
function prepareMessageChange(db: Connection): (change: MessageChange) => void {
  const prepare = (columns: readonly string[], submits: number) => {
    const moved = submits === 0 ? [] : [`submits = submits ${submits < 0 ? "-" : "+"} 1`];
    const set = [...columns.map((column) => `${column} = ?`), ...moved].join(", ");
    return db.prepare<unknown[]>(`UPDATE messages SET ${set} WHERE organization_id = ? AND id = ?`);
  };
  const statements = new Map<string, ReturnType<typeof prepare>>();
  return (change) => {
    const { columns, values, submits } = changedColumns(change);
    const shape = `${columns.join()} ${submits}`;
    const known = statements.get(shape);
    const statement = known ?? prepare(columns, submits);
    if (known === undefined) statements.set(shape, statement);
    statement.run(...values, change.organizationId, change.id);
  };
}

/** Writes the health of each number once, after all its outcomes. */
function prepareHealthWriter(db: Connection): (outcomes: readonly HealthOutcome[]) => HealthAfter {
  const select = db.prepare(
    "SELECT n.id, h.* FROM phone_numbers n LEFT JOIN number_health h ON h.phone_number_id = n.id WHERE n.id = +?",
  );
  const put = db.prepare(
    `INSERT INTO number_health (phone_number_id, delivered, failed, spam, inbound, as_of) VALUES (?, ?, ?, ?, ?, ?)
     ON CONFLICT DO UPDATE SET delivered = excluded.delivered, failed = excluded.failed, spam = excluded.spam,
       inbound = excluded.inbound, as_of = excluded.as_of`,
  );
  return (outcomes) => {
    const counts = new Map<string, HealthCounts | undefined>();
    const changed = new Map<string, HealthCounts>();
    const after = new Map<HealthOutcome, HealthCounts>();
    for (const outcome of outcomes) {
      const { phoneNumberId, change, at, submittedAt } = outcome;
      if (!counts.has(phoneNumberId)) {
        const row = select.get(phoneNumberId) as Row | undefined;
        counts.set(phoneNumberId, row && healthFrom(row));
      }
      const before = counts.get(phoneNumberId);
      if (before === undefined || !isCounted(before, submittedAt)) continue;
      const health = addOutcome(before, change, at);
      counts.set(phoneNumberId, health);
      changed.set(phoneNumberId, health);
      after.set(outcome, health);
    }
    for (const [id, h] of changed) put.run(id, h.delivered, h.failed, h.spam, h.inbound, h.asOf);
    return (outcome) => after.get(outcome);
  };
}
