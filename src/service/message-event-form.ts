import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type * as pb from "../../gen/numberpool/v1/message_event_pb.ts";
import { MessageEventSchema, MessageEventType } from "../../gen/numberpool/v1/message_event_pb.ts";
import type { DecisionRecord, Message } from "../domain/message.ts";
import { ACCEPTANCE, documentedType, eventId, type MessageEvent } from "../domain/message-event.ts";
import { toProtoStatus } from "./message-form.ts";

/** The protobuf form of an event. */
export function toProtoEvent(event: MessageEvent, message: Message): pb.MessageEvent {
  const { carrierMessageId, carrierCode, error } = event;
  const out = create(MessageEventSchema, {
    recordType: "message_event",
    id: eventId(event),
    messageId: event.messageId,
    type: TYPES[event.kind],
    status: toProtoStatus(event.status),
    occurredAt: timestampFromMs(event.at),
    detail: error?.detail || (event.kind === "decided" ? decisionText(message) : DETAILS[event.kind]),
  });
  if (carrierMessageId !== undefined) out.carrierMessageId = carrierMessageId;
  if (carrierCode !== undefined && carrierCode !== "") out.carrierCode = carrierCode;
  if (error !== undefined) out.reason = error.reason;
  const eventType = documentedType(event);
  if (eventType !== undefined) out.eventType = eventType;
  return out;
}

/** The first event of a message's history. It is derived from the message, not stored. */
export function toProtoAcceptance(message: Message): pb.MessageEvent {
  const isScheduled = message.sendAt !== undefined;
  return create(MessageEventSchema, {
    recordType: "message_event",
    id: eventId({ messageId: message.id, sequence: ACCEPTANCE, at: message.receivedAt }),
    messageId: message.id,
    type: MessageEventType.ACCEPTED,
    status: toProtoStatus(isScheduled ? "scheduled" : "queued"),
    occurredAt: timestampFromMs(message.receivedAt),
    detail: isScheduled ? "Scheduled; a sender is picked when it is due." : decisionText(message),
  });
}

const TYPES: Readonly<Record<MessageEvent["kind"], MessageEventType>> = {
  accepted: MessageEventType.SUBMITTED,
  refused: MessageEventType.SUBMITTED,
  deferred: MessageEventType.SUBMITTED,
  submit_unconfirmed: MessageEventType.SUBMIT_UNCONFIRMED,
  receipt_timeout: MessageEventType.RECEIPT_TIMEOUT,
  buffered: MessageEventType.RECEIPT,
  delivered: MessageEventType.RECEIPT,
  failed: MessageEventType.RECEIPT,
  sending: MessageEventType.SENDING,
  requeued: MessageEventType.REQUEUED,
  decided: MessageEventType.DECIDED,
  expired: MessageEventType.EXPIRED,
  cancelled: MessageEventType.CANCELLED,
  sending_failed: MessageEventType.SENDING_FAILED,
};

const DETAILS: Readonly<Record<MessageEvent["kind"], string>> = {
  accepted: "The carrier accepted the message.",
  refused: "The carrier refused the message.",
  deferred: "The carrier deferred the message; it is retried.",
  submit_unconfirmed: "The carrier did not answer the submit.",
  receipt_timeout: "No receipt arrived in time.",
  buffered: "The carrier reported the message as buffered.",
  delivered: "The carrier reported the message as delivered.",
  failed: "The carrier reported the message as undelivered.",
  sending: "Submitting the message to the carrier.",
  requeued: "The claim was lost before the message was submitted; the message is back in its queue.",
  decided: "",
  expired: "The message expired before it was sent.",
  cancelled: "Cancelled before it was submitted.",
  sending_failed: "The message could not be sent.",
};

/** Why the sender was picked, for a human reader. */
function decisionText({ from, decision }: Message): string {
  if (from === undefined || decision === undefined) return "";
  const { poolSize, eligible, isFallback } = decision;
  const fallback = isFallback ? " It is the fallback: the queue of the recipient's sticky sender was full." : "";
  const rule = `${RULES[decision.rule ?? "weights"]}${tierText(decision)}`;
  return `${from} was picked ${rule}; ${eligible} of ${poolSize} numbers were eligible.${fallback}`;
}

const RULES = {
  from: "because the caller named it",
  sticky: "as the recipient's sticky sender",
  geomatch: "by geomatch",
  weights: "by the pool's weights",
  leastLoaded: "as the least loaded number",
} as const;

const TIERS = {
  areaCode: "same area code",
  overlay: "overlay area code",
  region: "same state or province",
  any: "any",
} as const;

function tierText({ tier }: DecisionRecord): string {
  return tier === undefined ? "" : ` (${TIERS[tier]})`;
}
