import { carrierMessageKey, carrierMessageKeys } from "../../domain/carrier-message-id.ts";
import { addOutcome, type HealthChange, type HealthCounts } from "../../domain/health.ts";
import type { Report } from "../../domain/lifecycle.ts";
import type { Message } from "../../domain/message.ts";
import type { AppliedReport, CarrierReport, Swept } from "../delivery-records.ts";
import { planReport, UNMATCHED } from "../plan-report.ts";
import { healthFrom, messageFrom, type Row, receiptFrom } from "../rows.ts";
import type { prepareMessages } from "./messages.ts";
import type { Connection } from "./open.ts";

/** The statements of what carriers report. Each function runs inside a transaction of the caller. */
export function prepareReports(db: Connection, messages: ReturnType<typeof prepareMessages>) {
  // +?, because with bare parameters the statement is planned anew whenever one has another value.
  const selectByCarrierKey = db.prepare(
    "SELECT * FROM messages WHERE carrier_message_key = +? AND carrier = +? ORDER BY id DESC",
  );
  const setNextSubmit = db.prepare("UPDATE messages SET next_submit_at = ? WHERE organization_id = ? AND id = ?");
  const setCarrierId = db.prepare(
    "UPDATE messages SET carrier_message_id = ?, carrier_message_key = ? WHERE organization_id = ? AND id = ?",
  );
  const selectHealth = db.prepare("SELECT * FROM number_health WHERE phone_number_id = ?");
  const putHealth = db.prepare(
    `INSERT INTO number_health (phone_number_id, delivered, failed, spam, inbound, as_of) VALUES (?, ?, ?, ?, ?, ?)
     ON CONFLICT DO UPDATE SET delivered = excluded.delivered, failed = excluded.failed, spam = excluded.spam,
       inbound = excluded.inbound, as_of = excluded.as_of`,
  );
  const knowsNumber = db.prepare("SELECT 1 FROM phone_numbers WHERE id = ?").pluck();
  const keepReceipt = db.prepare(
    `INSERT INTO unmatched_receipts (carrier, carrier_message_key, carrier_message_id, organization_id, kind, occurred_at,
       carrier_code, error_reason, detail, received_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
  );
  const takeReceipts = db.prepare(
    `DELETE FROM unmatched_receipts WHERE carrier_message_key = +? AND carrier = +? AND organization_id IN ('', +?)
     RETURNING *`,
  );
  const selectSending = db.prepare("SELECT * FROM messages WHERE status = 'sending'");
  const selectSent = db.prepare(
    `SELECT phone_number_id, id FROM messages WHERE status = 'sent' AND (phone_number_id, id) > (+?, +?)
     ORDER BY phone_number_id, id LIMIT +?`,
  );
  const selectSentOne = db.prepare(
    "SELECT * FROM messages WHERE phone_number_id = +? AND id = +? AND status = 'sent' AND sent_at < +?",
  );

  const addHealth = (phoneNumberId: string, change: HealthChange, at: number): HealthCounts | undefined => {
    if (knowsNumber.get(phoneNumberId) === undefined) return undefined;
    const row = selectHealth.get(phoneNumberId) as Row | undefined;
    const health = addOutcome(healthFrom(row ?? {}), change, at);
    putHealth.run(phoneNumberId, health.delivered, health.failed, health.spam, health.inbound, health.asOf);
    return health;
  };

  const applyTo = (message: Message, report: Report, carrierMessageId: string | undefined): AppliedReport => {
    const { organizationId, id, phoneNumberId } = message;
    const isGone = report.kind === "deferred" && knowsNumber.get(phoneNumberId) === undefined;
    const plan = planReport(message, report, carrierMessageId, isGone);
    if (plan.progress !== undefined) messages.setProgress(message, plan.progress);
    if (plan.nextSubmitAt !== undefined) setNextSubmit.run(plan.nextSubmitAt, organizationId, id);
    messages.noteEvent(organizationId, plan.event);
    const isLearned = plan.health !== undefined && phoneNumberId !== undefined;
    const health = isLearned ? addHealth(phoneNumberId, plan.health, plan.event.at) : undefined;
    if (plan.carrierMessageId === undefined) return { ...plan.applied, health };
    setCarrierId.run(plan.carrierMessageId, carrierMessageKey(plan.carrierMessageId), organizationId, id);
    return { ...plan.applied, health, followed: follow(message, plan.carrierMessageId) };
  };

  /** Applies the receipts that came before anybody knew whose they are. */
  const follow = (message: Message, carrierMessageId: string): AppliedReport[] => {
    const rows = carrierMessageKeys(carrierMessageId).flatMap(
      (key) => takeReceipts.all(key, message.carrier, message.organizationId) as Row[],
    );
    rows.sort((one, other) => (one.sequence as number) - (other.sequence as number));
    return rows.map((row) => {
      const current = messages.get(message.organizationId, message.id) as Message;
      return applyTo(current, receiptFrom(row), row.carrier_message_id as string);
    });
  };

  const find = ({ target }: CarrierReport): Message | undefined => {
    if ("messageId" in target) return messages.get(target.organizationId, target.messageId);
    for (const key of carrierMessageKeys(target.carrierMessageId)) {
      const rows = selectByCarrierKey.all(key, target.carrier) as Row[];
      const row = rows.find((each) => (target.organizationId ?? each.organization_id) === each.organization_id);
      if (row !== undefined) return messageFrom(row);
    }
    return undefined;
  };

  const keep = ({ target, report }: CarrierReport) => {
    if (!("carrierMessageId" in target) || !["buffered", "delivered", "failed"].includes(report.kind)) return;
    const { carrier, carrierMessageId, organizationId } = target;
    const code = "carrierCode" in report ? report.carrierCode : undefined;
    const error = "error" in report ? report.error : undefined;
    const key = carrierMessageKey(carrierMessageId);
    const whose = organizationId ?? "";
    const { kind, at } = report;
    keepReceipt.run(carrier, key, carrierMessageId, whose, kind, at, code, error?.reason, error?.detail, at);
  };

  return {
    applyReports: (reports: readonly CarrierReport[]): AppliedReport[] =>
      reports.map((report) => {
        const message = find(report);
        if (message !== undefined) {
          const { target } = report;
          return applyTo(message, report.report, "carrierMessageId" in target ? target.carrierMessageId : undefined);
        }
        keep(report);
        return UNMATCHED;
      }),

    /** Settles everything that is being sent and not by `owner`. */
    settleOthers: (owner: string, at: number): AppliedReport[] =>
      (selectSending.all() as Row[])
        .filter((row) => row.owner !== owner)
        .map((row) => applyTo(messageFrom(row), { kind: "unanswered", at }, undefined)),

    settleUnreceipted: (sentBefore: number, at: number, after: string | undefined, most: number): Swept => {
      const [number, id] = after?.split(" ") ?? ["", ""];
      const looked = selectSent.all(number, id, most) as Row[];
      const last = looked.at(-1);
      const applied = looked.flatMap((key) => {
        const row = selectSentOne.get(key.phone_number_id, key.id, sentBefore) as Row | undefined;
        return row === undefined ? [] : [applyTo(messageFrom(row), { kind: "unreceipted", at }, undefined)];
      });
      const isMore = last !== undefined && looked.length === most;
      return { applied, next: isMore ? `${last.phone_number_id} ${last.id}` : undefined };
    },
  };
}
