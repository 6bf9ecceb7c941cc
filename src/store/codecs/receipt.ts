import type { Report } from "../../domain/lifecycle.ts";
import type { MessageError } from "../../domain/message.ts";
import type { UnmatchedReceipt } from "../../domain/plan/changes.ts";
import type { Row } from "./row.ts";
import { errorFrom, optional } from "./row.ts";

/** The columns of a receipt without a message, in the order of `receiptValues`. */
export const RECEIPT_COLUMNS = [
  "carrier",
  "carrier_message_key",
  "carrier_message_id",
  "organization_id",
  "kind",
  "occurred_at",
  "carrier_code",
  "error_reason",
  "detail",
  "received_at",
] as const;

export function receiptValues(receipt: UnmatchedReceipt): unknown[] {
  const { carrier, carrierMessageKey, carrierMessageId, organizationId, report, receivedAt } = receipt;
  const code = "carrierCode" in report ? report.carrierCode : undefined;
  const error = "error" in report ? report.error : undefined;
  const id = [carrier, carrierMessageKey, carrierMessageId, organizationId];
  return [...id, report.kind, report.at, code, error?.reason, error?.detail, receivedAt];
}

export function unmatchedReceiptFrom(row: Row): UnmatchedReceipt {
  return {
    sequence: row.sequence as number,
    carrier: row.carrier as string,
    carrierMessageId: row.carrier_message_id as string,
    carrierMessageKey: row.carrier_message_key as string,
    organizationId: row.organization_id as string,
    report: receiptFrom(row),
    receivedAt: row.received_at as number,
  };
}

/** The report of a stored receipt. */
function receiptFrom(row: Row): Report {
  const at = row.occurred_at as number;
  const carrierCode = optional<string>(row.carrier_code);
  const kind = row.kind as "buffered" | "delivered" | "failed";
  if (kind !== "failed") return { kind, at, carrierCode };
  const error = errorFrom(row.error_reason, row.detail) as MessageError;
  return { kind, at, error, carrierCode: carrierCode ?? "" };
}
