import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import { errorForm } from "./error-form.ts";
import type { MessageError } from "./message.ts";

/**
 * The error for a carrier's failure code: a documented code (40001 …) gives its reason, any other
 * UNDELIVERABLE.
 */
export function deliveryError(carrierCode: string): MessageError {
  const reason = REASONS.get(carrierCode);
  if (reason !== undefined)
    return { reason, detail: `The carrier reported ${carrierCode}, ${errorForm(reason).title}.` };
  const code = carrierCode === "" ? "no code" : `its own code ${carrierCode}`;
  return { reason: ErrorReason.UNDELIVERABLE, detail: `The carrier reported a failure with ${code}.` };
}

/** Whether the code is a documented code of a failed delivery. */
export function isDeliveryCode(code: string): boolean {
  return REASONS.has(code);
}

/** The reason of a failed delivery, by documented code. */
const REASONS = new Map<string, ErrorReason>(
  [
    ErrorReason.NOT_ROUTABLE,
    ErrorReason.BLOCKED_AS_SPAM_TEMPORARY,
    ErrorReason.BLOCKED_AS_SPAM_PERMANENT,
    ErrorReason.REJECTED_BY_DESTINATION,
    ErrorReason.EXPIRED_DURING_TRANSMISSION,
    ErrorReason.RECIPIENT_SERVER_UNAVAILABLE,
    ErrorReason.UNDELIVERABLE,
    ErrorReason.INVALID_MESSAGE_BODY,
    ErrorReason.CARRIER_TOO_MANY_REQUESTS,
    ErrorReason.INVALID_MESSAGING_DESTINATION,
    ErrorReason.INVALID_MESSAGING_SOURCE,
  ].map((reason) => [errorForm(reason).code, reason]),
);
