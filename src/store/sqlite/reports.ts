import { carrierMessageKey, carrierMessageKeys, type IdForm } from "../../domain/carrier-message-id.ts";
import type { AppliedReport, CarrierReport } from "../../domain/carrier-report.ts";
import type { Report } from "../../domain/lifecycle.ts";
import type { CarrierIdForm, UnmatchedReceipt } from "../../domain/plan/changes.ts";
import { planMatches } from "../../domain/plan/matches.ts";
import { type HeldMessage, planForEach, planReports, type ReportOutcome } from "../../domain/plan/reports.ts";
import { heldMessageFrom, REPORTED_COLUMNS } from "../codecs/message.ts";
import { unmatchedReceiptFrom } from "../codecs/receipt.ts";
import type { Row } from "../codecs/row.ts";
import type { Swept } from "../reports.ts";
import type { Connection } from "./open.ts";
import type { WriteChanges } from "./write-changes.ts";

/** Reads what reports need, and has their plans written. Each function runs inside a transaction of the caller. */
export function prepareReports(db: Connection, write: WriteChanges) {
  const columns = `${REPORTED_COLUMNS.map((column) => `m.${column}`).join(", ")}, m.carrier_message_id,
    n.id IS NULL AS is_number_gone`;
  const from = "messages m LEFT JOIN phone_numbers n ON n.id = m.phone_number_id";
  // +?, because with bare parameters some of these statements are planned again whenever one has another value.
  const selectById = db.prepare(`SELECT ${columns} FROM ${from} WHERE m.organization_id = ? AND m.id = ?`);
  const selectByCarrierKey = db.prepare(
    `SELECT ${columns} FROM ${from} WHERE m.carrier_message_key = +? AND m.carrier = +? ORDER BY m.id DESC`,
  );
  const selectReceipts = db.prepare(
    "SELECT * FROM unmatched_receipts WHERE carrier_message_key = +? ORDER BY sequence",
  );
  const selectUnexamined = db.prepare(
    "SELECT * FROM unmatched_receipts WHERE is_examined = 0 AND sequence > +? ORDER BY sequence LIMIT +?",
  );
  const selectOpen = db.prepare(
    "SELECT carrier, min(submitted_at) AS since FROM messages WHERE status = 'sending' GROUP BY carrier",
  );
  const selectForms = db.prepare("SELECT carrier, organization_id, form FROM carrier_id_forms WHERE carrier = ?");
  const selectOthers = db.prepare(`SELECT ${columns} FROM ${from} WHERE m.status = 'sending' AND m.owner <> ?`);
  const selectSent = db.prepare(
    `SELECT phone_number_id, id FROM messages WHERE status = 'sent' AND (phone_number_id, id) > (+?, +?)
     ORDER BY phone_number_id, id LIMIT +?`,
  );
  const selectLate = db.prepare(
    `SELECT ${columns} FROM ${from} WHERE m.phone_number_id = +? AND m.id = +? AND m.status = 'sent' AND m.sent_at < +?`,
  );

  const byKeys = (keys: ReadonlySet<string>, carrier: string): HeldMessage[] =>
    [...keys].flatMap((key) => (selectByCarrierKey.all(key, carrier) as Row[]).map(heldMessageFrom));

  const factsOf = (reports: readonly CarrierReport[]) => {
    const messages: HeldMessage[] = [];
    const answers = new Set<string>();
    for (const { target, report } of reports) {
      if ("messageId" in target) {
        const row = selectById.get(target.organizationId, target.messageId) as Row | undefined;
        if (row !== undefined) messages.push(heldMessageFrom(row));
      } else messages.push(...byKeys(new Set([carrierMessageKey(target.carrierMessageId)]), target.carrier));
      if (report.kind === "accepted") answers.add(carrierMessageKey(report.carrierMessageId));
    }
    const receipts = [...answers].flatMap((key) => (selectReceipts.all(key) as Row[]).map(unmatchedReceiptFrom));
    return { messages, receipts };
  };

  const writePlan = ({ changes, outcomes }: Pick<ReturnType<typeof planReports>, "changes" | "outcomes">) => {
    const healthAfter = write(changes);
    return outcomes.map((outcome: ReportOutcome) => outcome(healthAfter));
  };

  const settle = (rows: readonly Row[], report: Report): AppliedReport[] =>
    writePlan(planForEach(rows.map(heldMessageFrom), report));

  return {
    applyReports: (reports: readonly CarrierReport[]): AppliedReport[] =>
      writePlan(planReports(reports, factsOf(reports))),

    /** Compares stored receipts with messages: see `planMatch`. */
    matchReceipts: (now: number, after: string | undefined, limit: number): Swept => {
      const rows = selectUnexamined.all(Number(after ?? 0), limit) as Row[];
      const next = rows.length === limit ? String(rows.at(-1)?.sequence) : undefined;
      if (rows.length === 0) return { applied: [], next };
      const receipts = rows.map(unmatchedReceiptFrom);
      const carriers = [...new Set(receipts.map(({ carrier }) => carrier))];
      const messages = carriers.flatMap((carrier) => byKeys(keysOf(receipts, carrier), carrier));
      const open = selectOpen.all() as Row[];
      const openSince = new Map(open.map((row) => [row.carrier as string, (row.since as number | null) ?? 0]));
      const forms = carriers.flatMap((carrier) => (selectForms.all(carrier) as Row[]).map(idFormFrom));
      const applied = writePlan(planMatches({ now, receipts, messages, openSince, forms }));
      return { applied, next };
    },

    /** Settles what processes other than `owner` were sending. */
    settleOthers: (owner: string, at: number): AppliedReport[] =>
      settle(selectOthers.all(owner) as Row[], { kind: "submit_unconfirmed", at }),

    settleReceiptTimeouts: (sentBefore: number, at: number, after: string | undefined, limit: number): Swept => {
      const [number, id] = after?.split(" ") ?? ["", ""];
      const scanned = selectSent.all(number, id, limit) as Row[];
      const last = scanned.at(-1);
      const late = scanned.flatMap((key): Row[] => {
        const row = selectLate.get(key.phone_number_id, key.id, sentBefore) as Row | undefined;
        return row === undefined ? [] : [row];
      });
      const applied = settle(late, { kind: "receipt_timeout", at });
      const isMore = last !== undefined && scanned.length === limit;
      return { applied, next: isMore ? `${last.phone_number_id} ${last.id}` : undefined };
    },
  };
}

/** The keys of all messages that some receipts of a carrier may be about. */
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
