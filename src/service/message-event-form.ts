import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type MessageEvent as MessageEventMessage,
  MessageEventSchema,
  MessageEventType,
} from "../../gen/numberpool/v1/message_event_pb.ts";
import type { DecisionRecord, Message } from "../domain/message.ts";
import { ACCEPTANCE, documentedType, eventId, type MessageEvent } from "../domain/message-event.ts";
import { toProtoStatus } from "./message-form.ts";

/** An event in the contract's words. */
export function toProtoEvent(event: MessageEvent, message: Message): MessageEventMessage {
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

/** How a message's story begins; the message itself tells it. */
export function toProtoAcceptance(message: Message): MessageEventMessage {
  const isScheduled = message.sendAt !== undefined;
  return create(MessageEventSchema, {
    recordType: "message_event",
    id: eventId({ messageId: message.id, sequence: ACCEPTANCE, at: message.receivedAt }),
    messageId: message.id,
    type: MessageEventType.ACCEPTED,
    status: toProtoStatus(isScheduled ? "scheduled" : "queued"),
    occurredAt: timestampFromMs(message.receivedAt),
    detail: isScheduled ? "Scheduled; the sender is decided when it is due." : decisionText(message),
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
  accepted: "The carrier took the message.",
  refused: "The carrier refused the message.",
  deferred: "The carrier did not take the message now; it is tried again.",
  submit_unconfirmed: "The carrier never answered.",
  receipt_timeout: "No receipt came in time.",
  buffered: "The carrier reported that the message is on its way.",
  delivered: "The carrier reported that the message was delivered.",
  failed: "The carrier reported that the message was not delivered.",
  sending: "A process hands the message to the carrier.",
  requeued: "The process that claimed the message did not learn of it; the message waits in its queue again.",
  decided: "",
  expired: "The message waited for too long.",
  cancelled: "Cancelled before it left.",
  sending_failed: "It could not be sent.",
};

/** Why a sender was picked, for a person. */
function decisionText({ from, decision }: Message): string {
  if (from === undefined || decision === undefined) return "";
  const { poolSize, eligible, isFallback } = decision;
  const standIn = isFallback ? " It stands in for the recipient's sticky sender, whose queue was full." : "";
  return `${from} was picked ${RULES[decision.rule ?? "weights"]}${tierText(decision)}, ${eligible} of ${poolSize} numbers being eligible.${standIn}`;
}

const RULES = {
  from: "because the caller named it",
  sticky: "because it texted this recipient before",
  geomatch: "for the recipient's geography",
  weights: "by the weights",
  leastLoaded: "as the least loaded",
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
