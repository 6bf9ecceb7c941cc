import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type Decision,
  DecisionRule,
  DecisionSchema,
  ExcludedSchema,
  GeomatchTier,
} from "../../gen/numberpool/v1/decision_pb.ts";
import * as pb from "../../gen/numberpool/v1/message_pb.ts";
import { type SendError, SendErrorSchema, type SendResult } from "../../gen/numberpool/v1/pool_send_service_pb.ts";
import { errorForm } from "../domain/error-form.ts";
import type { Refusal } from "../domain/failure.ts";
import type { DecisionRecord, Message, MessageSender, MessageStatus } from "../domain/message.ts";

/** The protobuf form of a message. */
export function toProtoMessage(message: Message): pb.Message {
  const out = create(pb.MessageSchema);
  out.recordType = "message";
  out.id = message.id;
  out.direction = pb.Direction.OUTBOUND;
  out.type = pb.MessageType.SMS;
  out.messagingProfileId = message.messagingProfileId;
  out.organizationId = message.organizationId;
  const { from, carrier, lineType } = message;
  if (from !== undefined && carrier !== undefined && lineType !== undefined) {
    out.from = toProtoSender(from, { carrier, lineType });
  }
  const to = create(pb.RecipientSchema);
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
  // A submitted message no longer waits, so valid_until has no meaning for it.
  if (message.status === "queued" || message.status === "scheduled")
    out.validUntil = timestampFromMs(message.validUntil);
  if (message.decision !== undefined) out.waitSeconds = message.waitSeconds;
  if (message.error !== undefined) {
    const { reason, detail } = message.error;
    const { code, title } = errorForm(reason);
    out.errors.push(create(pb.MessageErrorSchema, { reason, code, title, detail }));
  }
  if (message.decision !== undefined) out.decision = toProtoDecision(message.decision);
  return out;
}

/** The protobuf form of a sender. */
export function toProtoSender(
  phoneNumber: string,
  { carrier, lineType }: Pick<MessageSender, "carrier" | "lineType">,
): pb.Sender {
  const out = create(pb.SenderSchema);
  out.phoneNumber = phoneNumber;
  out.carrier = carrier;
  out.lineType = lineType;
  return out;
}

/** The protobuf form of a decision. */
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

/** The protobuf form of a refusal inside a response. */
export function toProtoSendError({ reason, detail, pointer, retryAfterMs }: Refusal): SendError {
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

/** The protobuf form of one send's outcome: its message, or the error. */
export function toProtoOutcome(
  outcome: { readonly message: Message } | { readonly refusal: Refusal },
): SendResult["outcome"] {
  return "message" in outcome
    ? { case: "message", value: toProtoMessage(outcome.message) }
    : { case: "error", value: toProtoSendError(outcome.refusal) };
}

/** The protobuf form of a status. */
export function toProtoStatus(status: MessageStatus): pb.MessageStatus {
  return STATUSES[status];
}

/** The domain's status of a protobuf one; undefined where no outbound message has it. */
export function statusFrom(status: pb.MessageStatus): MessageStatus | undefined {
  return (Object.keys(STATUSES) as MessageStatus[]).find((name) => STATUSES[name] === status);
}

const STATUSES: Readonly<Record<MessageStatus, pb.MessageStatus>> = {
  scheduled: pb.MessageStatus.SCHEDULED,
  queued: pb.MessageStatus.QUEUED,
  sending: pb.MessageStatus.SENDING,
  sent: pb.MessageStatus.SENT,
  delivered: pb.MessageStatus.DELIVERED,
  delivery_failed: pb.MessageStatus.DELIVERY_FAILED,
  delivery_unconfirmed: pb.MessageStatus.DELIVERY_UNCONFIRMED,
  sending_failed: pb.MessageStatus.SENDING_FAILED,
  expired: pb.MessageStatus.EXPIRED,
  cancelled: pb.MessageStatus.CANCELLED,
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
