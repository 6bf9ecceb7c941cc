import { timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type CarrierReportService,
  ReceiptStatus,
  type ReportReceiptRequest,
} from "../../gen/numberpool/v1/carrier_report_service_pb.ts";
import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import { deliveryError } from "../domain/delivery-error.ts";
import { failure } from "../domain/failure.ts";
import type { Report } from "../domain/lifecycle.ts";
import { LIMITS, RECEIPT_WINDOW_MS } from "../domain/limits.ts";
import type { Methods } from "./call.ts";
import type { ServiceParts } from "./parts.ts";
import { unknownCarrier } from "./unknown.ts";

/** The methods of CarrierReportService. */
export function carrierReportService({ carriers, clock, engine }: ServiceParts): Methods<typeof CarrierReportService> {
  return {
    reportReceipt: async (request, call) => {
      const { organizationId } = call;
      const { carrier } = request;
      if (!carriers.includes(carrier)) unknownCarrier(carriers);
      const carrierMessageId = checkText(request.carrierMessageId, "carrier_message_id", LIMITS.carrierMessageId);
      if (carrierMessageId === "") {
        throw failure(ErrorReason.MISSING_PARAMETER, "carrier_message_id is required.", "/carrier_message_id");
      }
      // An API key may report only receipts of its own organization's messages.
      const target = { carrier, carrierMessageId, organizationId };
      const now = clock();
      const { messageId } = await engine.report({ target, report: reportOf(request, now), receivedAt: now });
      return { data: messageId === undefined ? {} : { messageId } };
    },
  };
}

function reportOf(request: ReportReceiptRequest, now: number): Report {
  const carrierCode = checkText(request.carrierCode, "carrier_code", LIMITS.carrierCode);
  // Carriers' clocks are inexact: the time is kept within the receipt window and out of the future.
  const occurredAt = request.occurredAt === undefined ? now : timestampMs(request.occurredAt);
  const at = Math.min(now, Math.max(occurredAt, now - RECEIPT_WINDOW_MS));
  switch (request.status) {
    case ReceiptStatus.DELIVERED:
      return { kind: "delivered", at, carrierCode };
    case ReceiptStatus.BUFFERED:
      return { kind: "buffered", at, carrierCode };
    case ReceiptStatus.FAILED:
      return { kind: "failed", at, carrierCode, error: deliveryError(carrierCode) };
    case ReceiptStatus.UNSPECIFIED:
      throw failure(ErrorReason.MISSING_PARAMETER, "status is required: delivered, failed or buffered.", "/status");
    default:
      throw failure(ErrorReason.INVALID_ENUM, "status must be delivered, failed or buffered.", "/status");
  }
}

function checkText(text: string | undefined, field: string, limit: number): string {
  const trimmed = text?.trim() ?? "";
  if (trimmed.length <= limit) return trimmed;
  throw failure(ErrorReason.INVALID_LENGTH, `${field} must have at most ${limit} characters.`, `/${field}`);
}
