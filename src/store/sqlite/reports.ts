import { carrierMessageKey, carrierMessageKeys } from "../../domain/carrier-message-id.ts";
import type { Report } from "../../domain/lifecycle.ts";
import type { AppliedReport, CarrierReport, Swept } from "../delivery-records.ts";
import { planReport, type ReportedMessage, UNMATCHED } from "../plan-report.ts";
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
    `SELECT ${columns} FROM messages WHERE carrier_message_key = +? AND carrier = +? ORDER BY id DESC`,
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
  const takeReceipts = db.prepare(
    `DELETE FROM unmatched_receipts WHERE carrier_message_key = +? AND carrier = +? AND organization_id IN ('', +?)
     RETURNING *`,
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
        : health.add(phoneNumberId, plan.health, plan.event.at);
    const followed = given === undefined ? [] : follow(message, given);
    return { ...plan.applied, health: learned, followed };
  };

  /** Applies the receipts that came before anybody knew whose they are. */
  const follow = (message: ReportedMessage, carrierMessageId: string): AppliedReport[] => {
    let rows: Row[] = [];
    // The likeliest reading of the id that anything waits for: the others may be other messages' ids.
    for (const key of carrierMessageKeys(carrierMessageId)) {
      if (rows.length === 0) rows = takeReceipts.all(key, message.carrier, message.organizationId) as Row[];
    }
    rows.sort((one, other) => (one.sequence as number) - (other.sequence as number));
    return rows.map((row) => {
      const current = byId(message.organizationId, message.id) as ReportedMessage;
      return applyTo(current, receiptFrom(row), row.carrier_message_id as string);
    });
  };

  const find = ({ target }: CarrierReport): ReportedMessage | undefined => {
    if ("messageId" in target) return byId(target.organizationId, target.messageId);
    for (const key of carrierMessageKeys(target.carrierMessageId)) {
      const rows = selectByCarrierKey.all(key, target.carrier) as Row[];
      const row = rows.find((each) => (target.organizationId ?? each.organization_id) === each.organization_id);
      if (row !== undefined) return reportedFrom(row);
    }
    return undefined;
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

    /** Settles everything that is being sent and not by `owner`. */
    settleOthers: (owner: string, at: number): AppliedReport[] =>
      together(() =>
        (selectSending.all() as Row[])
          .filter((row) => row.owner !== owner)
          .map((row) => applyTo(reportedFrom(row), { kind: "unanswered", at }, undefined)),
      ),

    settleUnreceipted: (sentBefore: number, at: number, after: string | undefined, most: number): Swept => {
      const [number, id] = after?.split(" ") ?? ["", ""];
      const looked = selectSent.all(number, id, most) as Row[];
      const last = looked.at(-1);
      const applied = together(() =>
        looked.flatMap((key) => {
          const row = selectSentOne.get(key.phone_number_id, key.id, sentBefore) as Row | undefined;
          return row === undefined ? [] : [applyTo(reportedFrom(row), { kind: "unreceipted", at }, undefined)];
        }),
      );
      const isMore = last !== undefined && looked.length === most;
      return { applied, next: isMore ? `${last.phone_number_id} ${last.id}` : undefined };
    },
  };
}
