import { carrierMessageKey, carrierMessageKeys, type IdForm } from "../../domain/carrier-message-id.ts";
import type { AppliedReport, CarrierReport } from "../../domain/carrier-report.ts";
import type { Report } from "../../domain/lifecycle.ts";
import type { CarrierIdForm, UnmatchedReceipt } from "../../domain/plan/changes.ts";
import { planMatches } from "../../domain/plan/matches.ts";
import { type MessageFacts, planForEach, planReports, type ReportsPlan } from "../../domain/plan/reports.ts";
import { messageFactsFrom, REPORTED_COLUMNS } from "../codecs/message.ts";
import { unmatchedReceiptFrom } from "../codecs/receipt.ts";
import type { Row } from "../codecs/row.ts";
import type { ReportStore, Swept } from "../reports.ts";
import type { Connection } from "./open.ts";
import type { Transactions } from "./transactions.ts";
import type { WriteChanges } from "./write-changes.ts";

/** Selects messages `m` with the columns that reports need. */
const HELD_COLUMNS = `${REPORTED_COLUMNS.map((column) => `m.${column}`).join(", ")}, m.carrier_message_id`;
export const SELECT_HELD = `SELECT ${HELD_COLUMNS}, n.id IS NULL AS is_number_gone
  FROM messages m LEFT JOIN phone_numbers n ON n.id = m.phone_number_id`;

/** Prepares the statements about reports. */
export function prepareReports(db: Connection, { transact }: Transactions, write: WriteChanges): ReportStore {
  const byKeys = prepareByKeys(db);
  const readFacts = prepareReportFacts(db, byKeys);
  const match = prepareMatch(db, byKeys, write);
  const settle = prepareReceiptTimeouts(db, write);
  return {
    applyReports: (reports) => transact(() => writePlan(write, planReports(reports, readFacts(reports)))),
    matchReceipts: ({ now, after, limit }) => transact(() => match(now, after, limit)),
    settleReceiptTimeouts: ({ sentBefore, at, after, limit }) => transact(() => settle(sentBefore, at, after, limit)),
  };
}

/**
 * Applies one report to each of these messages, and writes the changes; inside a transaction of the
 * caller.
 */
export function applyToAll(write: WriteChanges, rows: readonly Row[], report: Report): AppliedReport[] {
  return writePlan(write, planForEach(rows.map(messageFactsFrom), report));
}

function writePlan(write: WriteChanges, { changes, outcomes }: Pick<ReportsPlan, "changes" | "outcomes">) {
  const healthAfter = write(changes);
  return outcomes.map((outcome) => outcome(healthAfter));
}

type ByKeys = (keys: ReadonlySet<string>, carrier: string) => MessageFacts[];

function prepareByKeys(db: Connection): ByKeys {
  // +?: with bare parameters SQLite plans some of these statements again whenever one has another
  // value.
  // A receipt never puts a message back into the queue of its number, so the number is not read.
  const select = db.prepare(
    `SELECT ${HELD_COLUMNS}, 0 AS is_number_gone FROM messages m WHERE m.carrier_message_key = +? AND m.carrier = +?`,
  );
  return (keys, carrier) => [...keys].flatMap((key) => (select.all(key, carrier) as Row[]).map(messageFactsFrom));
}

function prepareReportFacts(db: Connection, byKeys: ByKeys) {
  const selectById = db.prepare(`${SELECT_HELD} WHERE m.organization_id = +? AND m.id = +?`);
  const selectReceipts = db.prepare("SELECT * FROM unmatched_receipts WHERE carrier_message_key = +?");
  return (reports: readonly CarrierReport[]) => {
    const messages: MessageFacts[] = [];
    const answers = new Set<string>();
    for (const { target, report } of reports) {
      if ("messageId" in target) {
        const row = selectById.get(target.organizationId, target.messageId) as Row | undefined;
        if (row !== undefined) messages.push(messageFactsFrom(row));
      } else messages.push(...byKeys(new Set([carrierMessageKey(target.carrierMessageId)]), target.carrier));
      if (report.kind === "accepted") answers.add(carrierMessageKey(report.carrierMessageId));
    }
    const rows = [...answers].flatMap((key) => selectReceipts.all(key) as Row[]);
    // Sorting the few that there are costs less than a sorter in the statement.
    rows.sort((one, other) => (one.sequence as number) - (other.sequence as number));
    return { messages, receipts: rows.map(unmatchedReceiptFrom) };
  };
}

/** Prepares the comparison of stored receipts with messages: see `planMatch`. */
function prepareMatch(db: Connection, byKeys: ByKeys, write: WriteChanges) {
  const selectUnexamined = db.prepare(
    "SELECT * FROM unmatched_receipts WHERE is_examined = 0 AND sequence > +? ORDER BY sequence LIMIT +?",
  );
  const selectOpen = db.prepare(
    "SELECT carrier, min(submitted_at) AS since FROM messages WHERE status = 'sending' GROUP BY carrier",
  );
  const selectForms = db.prepare("SELECT carrier, organization_id, form FROM carrier_id_forms WHERE carrier = ?");
  return (now: number, after: string | undefined, limit: number): Swept => {
    const rows = selectUnexamined.all(Number(after ?? 0), limit) as Row[];
    const next = rows.length === limit ? String(rows.at(-1)?.sequence) : undefined;
    if (rows.length === 0) return { applied: [], next };
    const receipts = rows.map(unmatchedReceiptFrom);
    const carriers = [...new Set(receipts.map(({ carrier }) => carrier))];
    const messages = carriers.flatMap((carrier) => byKeys(keysOf(receipts, carrier), carrier));
    const open = selectOpen.all() as Row[];
    const openSince = new Map(open.map((row) => [row.carrier as string, (row.since as number | null) ?? 0]));
    const forms = carriers.flatMap((carrier) => (selectForms.all(carrier) as Row[]).map(idFormFrom));
    const applied = writePlan(write, planMatches({ now, receipts, messages, openSince, forms }));
    return { applied, next };
  };
}

function prepareReceiptTimeouts(db: Connection, write: WriteChanges) {
  const selectSent = db.prepare(
    `SELECT phone_number_id, id FROM messages WHERE status = 'sent' AND (phone_number_id, id) > (+?, +?)
     ORDER BY phone_number_id, id LIMIT +?`,
  );
  const selectLate = db.prepare(
    `${SELECT_HELD} WHERE m.phone_number_id = +? AND m.id = +? AND m.status = 'sent' AND m.sent_at < +?`,
  );
  return (sentBefore: number, at: number, after: string | undefined, limit: number): Swept => {
    const [number, id] = after?.split(" ") ?? ["", ""];
    const scanned = selectSent.all(number, id, limit) as Row[];
    const last = scanned.at(-1);
    const late = scanned.flatMap((key): Row[] => {
      const row = selectLate.get(key.phone_number_id, key.id, sentBefore) as Row | undefined;
      return row === undefined ? [] : [row];
    });
    const applied = applyToAll(write, late, { kind: "receipt_timeout", at });
    const isMore = last !== undefined && scanned.length === limit;
    return { applied, next: isMore ? `${last.phone_number_id} ${last.id}` : undefined };
  };
}

/** The keys of every message to which a receipt of this carrier may belong. */
function keysOf(receipts: readonly UnmatchedReceipt[], carrier: string): ReadonlySet<string> {
  const own = receipts.filter((receipt) => receipt.carrier === carrier);
  return new Set(own.flatMap(({ carrierMessageId }) => carrierMessageKeys(carrierMessageId)));
}

function idFormFrom(row: Row): CarrierIdForm {
  return {
    carrier: row.carrier as string,
    organizationId: row.organization_id as string,
    form: row.form as IdForm,
  };
}
