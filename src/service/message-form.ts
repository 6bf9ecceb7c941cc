import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type Decision,
  DecisionRule,
  DecisionSchema,
  ExcludedSchema,
  GeomatchTier,
} from "../../gen/numberpool/v1/decision_pb.ts";
import {
  Direction,
  MessageErrorSchema,
  type Message as MessageMessage,
  MessageSchema,
  MessageStatus as MessageStatusMessage,
  MessageType,
  RecipientSchema,
  type Sender,
  SenderSchema,
} from "../../gen/numberpool/v1/message_pb.ts";
import { type SendError, SendErrorSchema, type SendResult } from "../../gen/numberpool/v1/pool_send_service_pb.ts";
import { errorForm } from "../domain/error-form.ts";
import type { Refusal } from "../domain/failure.ts";
import type { DecisionRecord, Message, MessageSender, MessageStatus } from "../domain/message.ts";

/** A message in the contract's words. */
export function toProtoMessage(message: Message): MessageMessage {
  const out = create(MessageSchema);
  out.recordType = "message";
  out.id = message.id;
  out.direction = Direction.OUTBOUND;
  out.type = MessageType.SMS;
  out.messagingProfileId = message.messagingProfileId;
  out.organizationId = message.organizationId;
  const { from, carrier, lineType } = message;
  if (from !== undefined && carrier !== undefined && lineType !== undefined) {
    out.from = toProtoSender(from, { carrier, lineType });
  }
  const to = create(RecipientSchema);
  to.phoneNumber = message.to;
  to.status = STATUSES[message.status];
  out.to.push(to);
  out.text = message.text;
  out.encoding = message.encoding;
  out.parts = message.parts;
  out.numChars = message.numChars;
  if (message.webhookUrl !== undefined) out.webhookUrl = message.webhookUrl;
  if (message.webhookFailoverUrl !== undefined) out.webhookFailoverUrl = message.webhookFailoverUrl;
  out.receivedAt = timestampFromMs(message.receivedAt);
  if (message.sendAt !== undefined) out.sendAt = timestampFromMs(message.sendAt);
  if (message.sentAt !== undefined) out.sentAt = timestampFromMs(message.sentAt);
  if (message.completedAt !== undefined) out.completedAt = timestampFromMs(message.completedAt);
  // It says until when the message may wait, which is over once it has left.
  if (message.status === "queued" || message.status === "scheduled")
    out.validUntil = timestampFromMs(message.validUntil);
  if (message.decision !== undefined) out.waitSeconds = message.waitSeconds;
  if (message.error !== undefined) {
    const { reason, detail } = message.error;
    const { code, title } = errorForm(reason);
    out.errors.push(create(MessageErrorSchema, { reason, code, title, detail }));
  }
  if (message.decision !== undefined) out.decision = toProtoDecision(message.decision);
  return out;
}

/** A sender in the contract's words. */
export function toProtoSender(
  phoneNumber: string,
  { carrier, lineType }: Pick<MessageSender, "carrier" | "lineType">,
): Sender {
  const out = create(SenderSchema);
  out.phoneNumber = phoneNumber;
  out.carrier = carrier;
  out.lineType = lineType;
  return out;
}

/** A decision in the contract's words. */
export function toProtoDecision(decision: DecisionRecord): Decision {
  const out = create(DecisionSchema);
  out.rule = decision.rule === undefined ? DecisionRule.UNSPECIFIED : RULES[decision.rule];
  out.tier = decision.tier === undefined ? GeomatchTier.UNSPECIFIED : TIERS[decision.tier];
  out.poolSize = decision.poolSize;
  out.eligible = decision.eligible;
  out.excluded = create(ExcludedSchema, decision.excluded);
  out.isFallback = decision.isFallback;
  return out;
}

/** A refusal as a value of an answer. */
export function sendError({ reason, detail, pointer, retryAfterMs }: Refusal): SendError {
  const { code, title } = errorForm(reason);
  return create(SendErrorSchema, {
    reason,
    code,
    title,
    detail,
    pointer: pointer ?? "",
    ...(retryAfterMs !== undefined && { retryAfterSeconds: retryAfterMs / 1000 }),
  });
}

/** What became of a text: its message, or the error. */
export function outcomeOf(
  outcome: { readonly message: Message } | { readonly refusal: Refusal },
): SendResult["outcome"] {
  return "message" in outcome
    ? { case: "message", value: toProtoMessage(outcome.message) }
    : { case: "error", value: sendError(outcome.refusal) };
}

/** A status in the contract's words. */
export function toProtoStatus(status: MessageStatus): MessageStatusMessage {
  return STATUSES[status];
}

/** A status of the contract in the domain's words; undefined for those that no outbound message has. */
export function statusFrom(status: MessageStatusMessage): MessageStatus | undefined {
  return (Object.keys(STATUSES) as MessageStatus[]).find((name) => STATUSES[name] === status);
}

const STATUSES: Readonly<Record<MessageStatus, MessageStatusMessage>> = {
  scheduled: MessageStatusMessage.SCHEDULED,
  queued: MessageStatusMessage.QUEUED,
  sending: MessageStatusMessage.SENDING,
  sent: MessageStatusMessage.SENT,
  delivered: MessageStatusMessage.DELIVERED,
  delivery_failed: MessageStatusMessage.DELIVERY_FAILED,
  delivery_unconfirmed: MessageStatusMessage.DELIVERY_UNCONFIRMED,
  sending_failed: MessageStatusMessage.SENDING_FAILED,
  expired: MessageStatusMessage.EXPIRED,
  cancelled: MessageStatusMessage.CANCELLED,
};

const RULES = {
  from: DecisionRule.FROM,
  sticky: DecisionRule.STICKY,
  geomatch: DecisionRule.GEOMATCH,
  weights: DecisionRule.WEIGHTS,
  leastLoaded: DecisionRule.LEAST_LOADED,
} as const;

const TIERS = {
  areaCode: GeomatchTier.AREA_CODE,
  overlay: GeomatchTier.OVERLAY,
  region: GeomatchTier.REGION,
  any: GeomatchTier.ANY,
} as const;
