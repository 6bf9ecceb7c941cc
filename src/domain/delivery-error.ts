import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import { errorForm } from "./error-form.ts";
import type { MessageError } from "./message.ts";

/** How a carrier's code of a failure is read: a documented code (40001 …) as its reason, any other as undeliverable. */
export function deliveryError(carrierCode: string): MessageError {
  const reason = REASONS.get(carrierCode);
  if (reason !== undefined)
    return { reason, detail: `The carrier reported ${carrierCode}, ${errorForm(reason).title}.` };
  const code = carrierCode === "" ? "no code" : `its own code ${carrierCode}`;
  return { reason: ErrorReason.UNDELIVERABLE, detail: `The carrier reported a failure with ${code}.` };
}

/** True for the documented codes of failed deliveries. */
export function isDeliveryCode(code: string): boolean {
  return REASONS.has(code);
}

/** What a delivery fails for, by documented code. */
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
