import {
  carrierMessageKey,
  carrierMessageKeys,
  compareIds,
  type IdForm,
  isSameId,
} from "../../domain/carrier-message-id.ts";
import type { AppliedReport, CarrierReport } from "../../domain/carrier-report.ts";
import { isSubmitUnconfirmed, type Report } from "../../domain/lifecycle.ts";
import { planMatch } from "../../domain/plan/match-receipt.ts";
import { planReport, type ReportedMessage, UNMATCHED } from "../../domain/plan/report.ts";
import type { Swept } from "../delivery-records.ts";
import { REPORTED_COLUMNS, type Row, receiptFrom, reportedFrom } from "../rows.ts";
import { prepareHealth } from "./health.ts";
import type { prepareMessages } from "./messages.ts";
import type { Connection } from "./open.ts";

/** The statements of what carriers report. Each function runs inside a transaction of the caller. */
export function prepareReports(db: Connection, messages: ReturnType<typeof prepareMessages>) {
  const health = prepareHealth(db);
  const columns = REPORTED_COLUMNS.join(", ");
  // +?, because with bare parameters some of these statements are planned anew whenever one has another value.
  const selectById = db.prepare(`SELECT ${columns} FROM messages WHERE organization_id = ? AND id = ?`);
  const selectByCarrierKey = db.prepare(
    `SELECT carrier_message_id, ${columns} FROM messages WHERE carrier_message_key = +? AND carrier = +? ORDER BY id DESC`,
  );
  const setNextSubmit = db.prepare("UPDATE messages SET next_submit_at = ? WHERE organization_id = ? AND id = ?");
  const setCarrierId = db.prepare(
    "UPDATE messages SET carrier_message_id = ?, carrier_message_key = ? WHERE organization_id = ? AND id = ?",
  );
  const setSent = db.prepare(
    `UPDATE messages SET status = 'sent', sent_at = ?, carrier_message_id = ?, carrier_message_key = ?
     WHERE organization_id = ? AND id = ?`,
  );
  const keepReceipt = db.prepare(
    `INSERT INTO unmatched_receipts (carrier, carrier_message_key, carrier_message_id, organization_id, kind, occurred_at,
       carrier_code, error_reason, detail, received_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
  );
  const selectReceipts = db.prepare(
    `SELECT * FROM unmatched_receipts WHERE carrier_message_key = +? AND carrier = +? AND organization_id IN ('', +?)
     ORDER BY sequence`,
  );
  const deleteReceipt = db.prepare("DELETE FROM unmatched_receipts WHERE sequence = ?");
  const setExamined = db.prepare("UPDATE unmatched_receipts SET is_examined = ? WHERE sequence = ?");
  const selectUnexamined = db.prepare(
    "SELECT * FROM unmatched_receipts WHERE is_examined = 0 AND sequence > +? ORDER BY sequence LIMIT +?",
  );
  const selectOpen = db.prepare(
    "SELECT carrier, min(submitted_at) AS since FROM messages WHERE status = 'sending' GROUP BY carrier",
  );
  const selectForm = db.prepare("SELECT form FROM carrier_id_forms WHERE carrier = ? AND organization_id = ?").pluck();
  const putForm = db.prepare(
    `INSERT INTO carrier_id_forms (carrier, organization_id, form) VALUES (?, ?, ?)
     ON CONFLICT DO UPDATE SET form = excluded.form`,
  );
  const selectSending = db.prepare(`SELECT owner, ${columns} FROM messages WHERE status = 'sending'`);
  const selectSent = db.prepare(
    `SELECT phone_number_id, id FROM messages WHERE status = 'sent' AND (phone_number_id, id) > (+?, +?)
     ORDER BY phone_number_id, id LIMIT +?`,
  );
  const selectSentOne = db.prepare(
    `SELECT ${columns} FROM messages WHERE phone_number_id = +? AND id = +? AND status = 'sent' AND sent_at < +?`,
  );

  const byId = (organizationId: string, id: string): ReportedMessage | undefined => {
    const row = selectById.get(organizationId, id) as Row | undefined;
    return row === undefined ? undefined : reportedFrom(row);
  };

  const applyTo = (
    message: ReportedMessage,
    report: Report,
    carrierMessageId: string | undefined,
    submit?: number,
  ): AppliedReport => {
    const { organizationId, id, phoneNumberId } = message;
    const isGone = report.kind === "deferred" && !health.knowsNumber(phoneNumberId);
    const plan = planReport(message, report, carrierMessageId, isGone, submit);
    const { progress, carrierMessageId: given } = plan;
    const key = given === undefined ? undefined : carrierMessageKey(given);
    // What happens to every message is one statement.
    if (given !== undefined && progress?.status === "sent")
      setSent.run(progress.sentAt, given, key, organizationId, id);
    else {
      if (progress !== undefined) messages.setProgress(message, progress);
      if (given !== undefined) setCarrierId.run(given, key, organizationId, id);
      if (plan.nextSubmitAt !== undefined) setNextSubmit.run(plan.nextSubmitAt, organizationId, id);
    }
    messages.noteEvent(organizationId, plan.event);
    const learned =
      plan.health === undefined || phoneNumberId === undefined
        ? undefined
        : health.add(phoneNumberId, plan.health, plan.event.at, plan.submittedAt);
    const followed = given === undefined ? [] : follow(message, given);
    return { ...plan.applied, health: learned, followed };
  };

  const receiptsOf = ({ carrier, organizationId }: ReportedMessage, key: string): Row[] =>
    selectReceipts.all(key, carrier, organizationId) as Row[];

  /** Applies a kept receipt. */
  const take = ({ organizationId, id }: ReportedMessage, row: Row): AppliedReport => {
    deleteReceipt.run(row.sequence);
    const current = byId(organizationId, id) as ReportedMessage;
    return applyTo(current, receiptFrom(row), row.carrier_message_id as string);
  };

  /** Applies the receipts with exactly this id that came before anybody knew whose they are. */
  const follow = (message: ReportedMessage, carrierMessageId: string): AppliedReport[] => {
    // Receipts in another form were examined without this message.
    if (isSubmitUnconfirmed(message)) {
      for (const key of carrierMessageKeys(carrierMessageId))
        for (const row of receiptsOf(message, key)) setExamined.run(0, row.sequence);
    }
    return receiptsOf(message, carrierMessageKey(carrierMessageId))
      .filter((row) => isSameId(row.carrier_message_id as string, carrierMessageId))
      .map((row) => {
        noteExact(message.carrier, row.organization_id as string, carrierMessageId);
        return take(message, row);
      });
  };

  /** Carriers whose receipts have shown that they keep the ids of the answers, as read from the file. */
  const exactCarriers = new Set<string>();

  const shownBy = (carrier: string, organizationId: string) =>
    selectForm.get(carrier, organizationId) as IdForm | undefined;

  const noteExact = (carrier: string | undefined, organizationId: string, id: string) => {
    const name = `${carrier} ${organizationId}`;
    if (carrier === undefined || exactCarriers.has(name) || !compareIds(id, id)?.isConclusive) return;
    // Remembered only when it is read back: this transaction may fail.
    if (shownBy(carrier, organizationId) === "exact") exactCarriers.add(name);
    else putForm.run(carrier, organizationId, "exact");
  };

  /** Matches one kept receipt; undefined: it stays. */
  const match = (row: Row, now: number, open: ReadonlyMap<string, number>): AppliedReport | undefined => {
    const [carrier, organizationId] = [row.carrier as string, row.organization_id as string];
    const carrierMessageId = row.carrier_message_id as string;
    const candidates = carrierMessageKeys(carrierMessageId)
      .flatMap((key) => selectByCarrierKey.all(key, carrier) as Row[])
      .filter((each) => organizationId === "" || each.organization_id === organizationId)
      .map((each) => ({ message: reportedFrom(each), carrierMessageId: each.carrier_message_id as string }));
    const plan = planMatch(carrierMessageId, candidates, {
      receivedAt: row.received_at as number,
      now,
      openSince: open.get(carrier),
      shown: shownBy(carrier, organizationId),
    });
    if (plan.kind === "none") setExamined.run(1, row.sequence);
    if (plan.kind !== "match") return undefined;
    if (plan.shown !== undefined) putForm.run(carrier, organizationId, plan.shown);
    return take(plan.candidate.message, row);
  };

  const find = ({ target }: CarrierReport): ReportedMessage | undefined => {
    if ("messageId" in target) return byId(target.organizationId, target.messageId);
    const { carrier, carrierMessageId, organizationId } = target;
    const rows = selectByCarrierKey.all(carrierMessageKey(carrierMessageId), carrier) as Row[];
    const row = rows.find(
      (each) =>
        (organizationId ?? each.organization_id) === each.organization_id &&
        isSameId(each.carrier_message_id as string, carrierMessageId),
    );
    if (row === undefined) return undefined;
    noteExact(carrier, organizationId ?? "", carrierMessageId);
    return reportedFrom(row);
  };

  const keep = ({ target, report, receivedAt }: CarrierReport) => {
    if (!("carrierMessageId" in target) || !["buffered", "delivered", "failed"].includes(report.kind)) return;
    const { carrier, carrierMessageId, organizationId } = target;
    const code = "carrierCode" in report ? report.carrierCode : undefined;
    const error = "error" in report ? report.error : undefined;
    const key = carrierMessageKey(carrierMessageId);
    const whose = organizationId ?? "";
    const { kind, at } = report;
    keepReceipt.run(
      carrier,
      key,
      carrierMessageId,
      whose,
      kind,
      at,
      code,
      error?.reason,
      error?.detail,
      receivedAt ?? at,
    );
  };

  /** What health learns is written once for each number, when all reports are applied. */
  const together = <Result>(work: () => Result): Result => {
    health.begin();
    const result = work();
    health.write();
    return result;
  };

  return {
    applyReports: (reports: readonly CarrierReport[]): AppliedReport[] =>
      together(() =>
        reports.map((report) => {
          const message = find(report);
          if (message !== undefined) {
            const { target, submit } = report;
            const named = "carrierMessageId" in target ? target.carrierMessageId : undefined;
            return applyTo(message, report.report, named, submit);
          }
          keep(report);
          return UNMATCHED;
        }),
      ),

    /** Matches receipts that are kept: see `planMatch`. */
    matchReceipts: (now: number, after: string | undefined, most: number): Swept => {
      const rows = selectUnexamined.all(Number(after ?? 0), most) as Row[];
      const open = new Map(
        rows.length === 0
          ? []
          : (selectOpen.all() as Row[]).map((row) => [row.carrier as string, (row.since as number | null) ?? 0]),
      );
      const applied = together(() => rows.flatMap((row) => match(row, now, open) ?? []));
      return { applied, next: rows.length === most ? String(rows.at(-1)?.sequence) : undefined };
    },

    /** Settles everything that is being sent and not by `owner`. */
    settleOthers: (owner: string, at: number): AppliedReport[] =>
      together(() =>
        (selectSending.all() as Row[])
          .filter((row) => row.owner !== owner)
          .map((row) => applyTo(reportedFrom(row), { kind: "submit_unconfirmed", at }, undefined)),
      ),

    settleReceiptTimeouts: (sentBefore: number, at: number, after: string | undefined, most: number): Swept => {
      const [number, id] = after?.split(" ") ?? ["", ""];
      const looked = selectSent.all(number, id, most) as Row[];
      const last = looked.at(-1);
      const applied = together(() =>
        looked.flatMap((key) => {
          const row = selectSentOne.get(key.phone_number_id, key.id, sentBefore) as Row | undefined;
          return row === undefined ? [] : [applyTo(reportedFrom(row), { kind: "receipt_timeout", at }, undefined)];
        }),
      );
      const isMore = last !== undefined && looked.length === most;
      return { applied, next: isMore ? `${last.phone_number_id} ${last.id}` : undefined };
    },
  };
}
