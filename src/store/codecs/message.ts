import type { DecisionRecord, Message, MessageStatus, QueuedMessage } from "../../domain/message.ts";
import type { ClaimedMessage } from "../../domain/plan/endings.ts";
import type { ReportedMessage } from "../../domain/plan/report.ts";
import type { MessageFacts } from "../../domain/plan/reports.ts";
import type { Rule, Tier } from "../../domain/pool/decide.ts";
import type { Cause } from "../../domain/pool/state.ts";
import { CAUSES } from "../../domain/pool/state.ts";
import type { ScheduledRead, WaitingLane } from "../schedule.ts";
import type { Row } from "./row.ts";
import { errorFrom, optional } from "./row.ts";

/** The columns of a message, in the order of `messageValues`. */
export const MESSAGE_COLUMNS = [
  "organization_id",
  "id",
  "direction",
  "messaging_profile_id",
  "phone_number_id",
  '"from"',
  "carrier",
  "line_type",
  '"to"',
  "text",
  "encoding",
  "parts",
  "num_chars",
  "webhook_url",
  "webhook_failover_url",
  "use_profile_webhooks",
  "status",
  "decision_rule",
  "decision_tier",
  "decision_pool_size",
  "decision_eligible",
  "decision_excluded",
  "decision_is_fallback",
  "received_at",
  "send_at",
  "queued_at",
  "sent_at",
  "completed_at",
  "valid_until",
  "wait_seconds",
  "submits",
  "next_submit_at",
  "error_reason",
  "error_detail",
] as const;

export function messageValues(message: Message): unknown[] {
  const { decision } = message;
  return [
    message.organizationId,
    message.id,
    "outbound",
    message.messagingProfileId,
    message.phoneNumberId,
    message.from,
    message.carrier,
    message.lineType,
    message.to,
    message.text,
    message.encoding,
    message.parts,
    message.numChars,
    message.webhookUrl,
    message.webhookFailoverUrl,
    message.useProfileWebhooks ? 1 : 0,
    message.status,
    decision?.rule,
    decision?.tier,
    decision?.poolSize,
    decision?.eligible,
    decision && excludedText(decision.excluded),
    decision && (decision.isFallback ? 1 : 0),
    message.receivedAt,
    message.sendAt,
    message.queuedAt,
    message.sentAt,
    message.completedAt,
    message.validUntil,
    message.waitSeconds,
    message.submits,
    message.status === "scheduled" ? message.sendAt : undefined,
    message.error?.reason,
    message.error?.detail,
  ];
}

export function messageFrom(row: Row): Message {
  return {
    organizationId: row.organization_id as string,
    id: row.id as string,
    messagingProfileId: row.messaging_profile_id as string,
    phoneNumberId: optional(row.phone_number_id),
    from: optional(row.from),
    carrier: optional(row.carrier),
    lineType: optional(row.line_type),
    to: row.to as string,
    text: row.text as string,
    encoding: row.encoding as Message["encoding"],
    parts: row.parts as number,
    numChars: row.num_chars as number,
    webhookUrl: optional(row.webhook_url),
    webhookFailoverUrl: optional(row.webhook_failover_url),
    useProfileWebhooks: Boolean(row.use_profile_webhooks),
    status: row.status as MessageStatus,
    decision: row.decision_pool_size === null ? undefined : decisionFrom(row),
    receivedAt: row.received_at as number,
    sendAt: optional(row.send_at),
    queuedAt: optional(row.queued_at),
    sentAt: optional(row.sent_at),
    completedAt: optional(row.completed_at),
    validUntil: row.valid_until as number,
    waitSeconds: row.wait_seconds as number,
    submits: row.submits as number,
    error: errorFrom(row.error_reason, row.error_detail),
  };
}

/** A message that has its sender. */
export function queuedMessageFrom(row: Row): QueuedMessage {
  return messageFrom(row) as QueuedMessage;
}

/** The columns of a message that a report needs. */
export const REPORTED_COLUMNS = [
  "organization_id",
  "id",
  "messaging_profile_id",
  "phone_number_id",
  "carrier",
  "parts",
  "submits",
  "submitted_at",
  "status",
  "received_at",
  "sent_at",
  "completed_at",
  "error_reason",
  "error_detail",
] as const;

export function reportedFrom(row: Row): ReportedMessage {
  return {
    organizationId: row.organization_id as string,
    id: row.id as string,
    messagingProfileId: row.messaging_profile_id as string,
    phoneNumberId: optional(row.phone_number_id),
    carrier: optional(row.carrier),
    parts: row.parts as number,
    submits: row.submits as number,
    submittedAt: optional(row.submitted_at),
    status: row.status as MessageStatus,
    receivedAt: row.received_at as number,
    sentAt: optional(row.sent_at),
    completedAt: optional(row.completed_at),
    error: errorFrom(row.error_reason, row.error_detail),
  };
}

/** A message with what reports need, from a row that has `is_number_gone` too. */
export function messageFactsFrom(row: Row): MessageFacts {
  return {
    message: reportedFrom(row),
    carrierMessageId: optional(row.carrier_message_id),
    isNumberGone: Boolean(row.is_number_gone),
  };
}

/** A claimed message, as a requeue needs it. */
export function claimedMessageFrom(row: Row): ClaimedMessage {
  return {
    organizationId: row.organization_id as string,
    id: row.id as string,
    phoneNumberId: row.phone_number_id as string,
    parts: row.parts as number,
    submittedAt: row.submitted_at as number,
  };
}

/** A scheduled message by name. */
export function scheduledReadFrom(row: Row): ScheduledRead {
  return {
    organizationId: row.organization_id as string,
    id: row.id as string,
    messagingProfileId: row.messaging_profile_id as string,
  };
}

/** The lane of a message that waits for room. */
export function laneFrom(row: Row): WaitingLane {
  return {
    organizationId: row.organization_id as string,
    messagingProfileId: row.messaging_profile_id as string,
    phoneNumberId: (row.phone_number_id as string | null) ?? undefined,
  };
}

function decisionFrom(row: Row): DecisionRecord {
  return {
    rule: optional<Rule>(row.decision_rule),
    tier: optional<Tier>(row.decision_tier),
    poolSize: row.decision_pool_size as number,
    eligible: row.decision_eligible as number,
    excluded: { ...NONE_EXCLUDED, ...JSON.parse((row.decision_excluded as string | null) ?? "{}") },
    isFallback: Boolean(row.decision_is_fallback),
  };
}

const NONE_EXCLUDED = Object.fromEntries(CAUSES.map((cause) => [cause, 0])) as Record<Cause, number>;

function excludedText(excluded: Readonly<Record<Cause, number>>): string | undefined {
  let counted: Record<string, number> | undefined;
  for (const cause of CAUSES) {
    if (excluded[cause] === 0) continue;
    counted ??= {};
    counted[cause] = excluded[cause];
  }
  return counted === undefined ? undefined : JSON.stringify(counted);
}
