import type { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import { carrierMessageKey } from "../domain/carrier-message-id.ts";
import type { HealthCounts } from "../domain/health.ts";
import type { Report } from "../domain/lifecycle.ts";
import type { DecisionRecord, Message, MessageError, MessageStatus, QueuedMessage } from "../domain/message.ts";
import type { MessageEvent, NewMessageEvent } from "../domain/message-event.ts";
import type { MessagingProfile } from "../domain/messaging-profile.ts";
import { type PhoneNumber, unassigned } from "../domain/phone-number-record.ts";
import type { MessageChange, UnmatchedReceipt } from "../domain/plan/changes.ts";
import type { Pace } from "../domain/plan/claim.ts";
import type { ReportedMessage } from "../domain/plan/report.ts";
import type { HeldMessage } from "../domain/plan/reports.ts";
import type { Rule, Tier } from "../domain/pool/decide.ts";
import { CAUSES, type Cause } from "../domain/pool/pool.ts";
import type { AssignedHealth } from "./pool-records.ts";
import type { ScheduledRead, WaitingLane } from "./schedule-records.ts";
import type { Continued } from "./store.ts";

/** A row as a driver gives it: what the stores have in common, flags being 0 and 1 or false and true. */
export type Row = Record<string, unknown>;

/** The columns of a profile, in the order of `profileValues`. */
export const PROFILE_COLUMNS = [
  "organization_id",
  "id",
  "name",
  "enabled",
  "webhook_url",
  "webhook_failover_url",
  "whitelisted_destinations",
  "number_pool_settings",
  "validity_period_seconds",
  "sticky_generation",
  "created_at",
  "updated_at",
] as const;

export function profileValues(profile: MessagingProfile): unknown[] {
  return [
    profile.organizationId,
    profile.id,
    profile.name,
    profile.enabled ? 1 : 0,
    profile.webhookUrl,
    profile.webhookFailoverUrl,
    JSON.stringify(profile.whitelistedDestinations),
    profile.poolSettings === undefined ? undefined : JSON.stringify(profile.poolSettings),
    profile.validityPeriodSeconds,
    profile.stickyGeneration,
    profile.createdAt,
    profile.updatedAt,
  ];
}

export function profileFrom(row: Row): MessagingProfile {
  return {
    organizationId: row.organization_id as string,
    id: row.id as string,
    name: row.name as string,
    enabled: Boolean(row.enabled),
    webhookUrl: optional(row.webhook_url),
    webhookFailoverUrl: optional(row.webhook_failover_url),
    whitelistedDestinations: JSON.parse(row.whitelisted_destinations as string),
    poolSettings: row.number_pool_settings === null ? undefined : JSON.parse(row.number_pool_settings as string),
    validityPeriodSeconds: row.validity_period_seconds as number,
    stickyGeneration: row.sticky_generation as number,
    createdAt: row.created_at as number,
    updatedAt: row.updated_at as number,
  };
}

/** The columns of a number, in the order of `numberValues`. */
export const NUMBER_COLUMNS = [
  "organization_id",
  "id",
  "phone_number",
  "messaging_profile_id",
  "carrier",
  "line_type",
  "segments_per_second",
  "daily_segment_limit",
  "state",
  "country_code",
  "tags",
  "generation",
  "created_at",
  "updated_at",
] as const;

export function numberValues(number: PhoneNumber): unknown[] {
  return [
    number.organizationId,
    number.id,
    number.phoneNumber,
    number.messagingProfileId,
    number.carrier,
    number.lineType,
    number.segmentsPerSecond,
    number.dailySegmentLimit,
    number.state,
    number.countryCode,
    JSON.stringify(number.tags),
    number.generation,
    number.createdAt,
    number.updatedAt,
  ];
}

/** A number from its row. With `profile_deleted_at` set, its profile is gone already, though the row says so only later. */
export function numberFrom(row: Row): PhoneNumber {
  const deletedAt = optional(row.profile_deleted_at) as number | undefined;
  const number: PhoneNumber = {
    organizationId: row.organization_id as string,
    id: row.id as string,
    phoneNumber: row.phone_number as string,
    messagingProfileId: optional(row.messaging_profile_id),
    carrier: row.carrier as string,
    lineType: row.line_type as PhoneNumber["lineType"],
    segmentsPerSecond: row.segments_per_second as number,
    dailySegmentLimit: optional(row.daily_segment_limit),
    state: row.state as PhoneNumber["state"],
    countryCode: row.country_code as string,
    tags: JSON.parse(row.tags as string),
    generation: row.generation as number,
    createdAt: row.created_at as number,
    updatedAt: row.updated_at as number,
  };
  return deletedAt === undefined ? number : unassigned(number, deletedAt);
}

/** What a claim needs to know of a number, from its row. */
export function paceFrom(row: Row, isDeliveryHeld: boolean): Pace {
  return {
    carrier: row.carrier as string,
    segmentsPerSecond: row.segments_per_second as number,
    isPaused: isDeliveryHeld || row.state === "paused",
    dueAt: row.due_at as number,
    dailySegmentLimit: optional(row.daily_segment_limit),
    usedDay: row.used_day as number,
    usedSegments: row.used_segments as number,
  };
}

/** The counts of a row joined with `number_health`; a number without outcomes has none. */
export function healthFrom(row: Row): HealthCounts {
  return {
    delivered: (row.delivered as number | null) ?? 0,
    failed: (row.failed as number | null) ?? 0,
    spam: (row.spam as number | null) ?? 0,
    inbound: (row.inbound as number | null) ?? 0,
    asOf: (row.as_of as number | null) ?? 0,
    resetAt: (row.reset_at as number | null) ?? undefined,
  };
}

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

/** A message that has its sender. */
export function queuedMessageFrom(row: Row): QueuedMessage {
  return messageFrom(row) as QueuedMessage;
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

/** A step over numbers' health from its rows, of which it asked for `most`; numbers that are in no pool are left out. */
export function assignedHealth(rows: readonly Row[], most: number): Continued<AssignedHealth> {
  const assigned = rows.flatMap((row) => {
    const messagingProfileId = optional<string>(row.messaging_profile_id);
    if (messagingProfileId === undefined) return [];
    return [{ organizationId: row.organization_id as string, messagingProfileId, health: healthFrom(row) }];
  });
  return { rows: assigned, next: rows.length === most ? (rows.at(-1)?.phone_number_id as string) : undefined };
}

/** The columns of a message event, in the order of `eventValues`. */
export const EVENT_COLUMNS = [
  "organization_id",
  "message_id",
  "kind",
  "status",
  "changes_status",
  "occurred_at",
  "carrier_message_id",
  "carrier_code",
  "error_reason",
  "detail",
] as const;

export function eventValues(organizationId: string, event: NewMessageEvent): unknown[] {
  const { messageId, kind, status, at, carrierMessageId, carrierCode, error } = event;
  const changesStatus = event.changesStatus ? 1 : 0;
  const about = [organizationId, messageId, kind, status, changesStatus, at];
  return [...about, carrierMessageId, carrierCode, error?.reason, error?.detail];
}

export function eventFrom(row: Row): MessageEvent {
  return {
    sequence: row.sequence as number,
    messageId: row.message_id as string,
    kind: row.kind as MessageEvent["kind"],
    status: row.status as MessageStatus,
    changesStatus: Boolean(row.changes_status),
    at: row.occurred_at as number,
    carrierMessageId: optional(row.carrier_message_id),
    carrierCode: optional(row.carrier_code),
    error: errorFrom(row.error_reason, row.detail),
  };
}

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

/** A message with what reports need, from a row that has `is_number_gone` too. */
export function heldMessageFrom(row: Row): HeldMessage {
  return {
    message: reportedFrom(row),
    carrierMessageId: optional(row.carrier_message_id),
    isNumberGone: Boolean(row.is_number_gone),
  };
}

/** The columns that a change of a message sets, with their values, and by how much it moves `submits`. */
export type ChangedColumns = {
  readonly columns: readonly (keyof typeof CHANGE_TYPES)[];
  readonly values: readonly unknown[];
  readonly submits: -1 | 0 | 1;
};

/** The columns that changes of messages may set, with their types in PostgreSQL. */
export const CHANGE_TYPES = {
  status: "text",
  sent_at: "bigint",
  completed_at: "bigint",
  error_reason: "integer",
  error_detail: "text",
  owner: "text",
  carrier: "text",
  submitted_at: "bigint",
  next_submit_at: "bigint",
  carrier_message_id: "text",
  carrier_message_key: "text",
} as const;

export function changedColumns(change: MessageChange): ChangedColumns {
  const columns: (keyof typeof CHANGE_TYPES)[] = [];
  const values: unknown[] = [];
  const set = (column: keyof typeof CHANGE_TYPES, value: unknown) => {
    columns.push(column);
    values.push(value);
  };
  const { progress, submit, nextSubmitAt, carrierMessageId } = change;
  if (progress !== undefined) {
    set("status", progress.status);
    set("sent_at", progress.sentAt);
    set("completed_at", progress.completedAt);
    set("error_reason", progress.error?.reason);
    set("error_detail", progress.error?.detail);
  }
  if (submit !== undefined) {
    set("owner", submit.owner);
    set("carrier", submit.carrier);
    set("submitted_at", submit.at);
  }
  if (nextSubmitAt !== undefined) set("next_submit_at", nextSubmitAt === "never" ? undefined : nextSubmitAt);
  if (carrierMessageId !== undefined) {
    set("carrier_message_id", carrierMessageId);
    set("carrier_message_key", carrierMessageKey(carrierMessageId));
  }
  return { columns, values, submits: submit !== undefined ? 1 : change.isSubmitUndone ? -1 : 0 };
}

/** A receipt as it is kept until its message is known. */
function receiptFrom(row: Row): Report {
  const at = row.occurred_at as number;
  const carrierCode = optional<string>(row.carrier_code);
  const kind = row.kind as "buffered" | "delivered" | "failed";
  if (kind !== "failed") return { kind, at, carrierCode };
  const error = errorFrom(row.error_reason, row.detail) as MessageError;
  return { kind, at, error, carrierCode: carrierCode ?? "" };
}

function errorFrom(reason: unknown, detail: unknown): MessageError | undefined {
  if (reason === null) return undefined;
  return { reason: reason as ErrorReason, detail: (detail as string | null) ?? "" };
}

/** A value that may be null in the database and is undefined here. */
export function optional<Value>(value: unknown): Value | undefined {
  return value === null ? undefined : (value as Value);
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
