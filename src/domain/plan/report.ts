import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import type { AppliedReport } from "../carrier-report.ts";
import type { HealthChange } from "../health.ts";
import { apply, type Effect, isSubmitUnconfirmed, type Progress, type Report } from "../lifecycle.ts";
import type { Message, MessageError } from "../message.ts";
import { type NewMessageEvent, ownEvent } from "../message-event.ts";

/** The fields of a message that a report needs. */
export type ReportedMessage = Progress &
  Pick<
    Message,
    "organizationId" | "id" | "messagingProfileId" | "phoneNumberId" | "carrier" | "parts" | "submits" | "receivedAt"
  > & {
    /** The time of its latest submit; undefined: it was never claimed. */
    readonly submittedAt?: number | undefined;
  };

/** The effect of a report on a message. */
export type ReportPlan = {
  /** The message's new progress; undefined: unchanged. */
  readonly progress: Progress | undefined;
  /** When to retry the message; undefined: unchanged. */
  readonly nextSubmitAt: number | undefined;
  /** The carrier's id of the message; undefined: unchanged. */
  readonly carrierMessageId: string | undefined;
  readonly event: NewMessageEvent;
  /** The change of the sender's health, at `event.at`. */
  readonly health: HealthChange | undefined;
  /** When the message was submitted, at best knowledge. A later reset of the health discards it. */
  readonly submittedAt: number;
  /** The effect for the caller; the store adds `health` and `followed`. */
  readonly applied: AppliedReport;
};

/** The effect of a report that matches no message. */
export const UNMATCHED: AppliedReport = {
  messageId: undefined,
  messagingProfileId: undefined,
  phoneNumberId: undefined,
  status: undefined,
  health: undefined,
  reported: 0,
  queuedSegments: 0,
  followed: [],
};

/**
 * Plans the effect of a report. `carrierMessageId` is the id that a receipt names, `submit` the
 * number of the submit that the report answers. `isNumberGone`: the message's number was removed,
 * and its queue with it, so the message cannot be retried.
 */
export function planReport(
  message: ReportedMessage,
  received: Report,
  carrierMessageId: string | undefined,
  isNumberGone: boolean,
  submit?: number,
): ReportPlan {
  // Carriers' clocks are inexact: no event precedes the message's acceptance.
  const at = Math.max(received.at, message.receivedAt);
  // A report is written again if its first write has an unknown outcome, but a later submit stays.
  const isStale = received.kind === "deferred" && submit !== undefined && submit !== message.submits;
  const report: Report =
    received.kind === "deferred" && !isStale
      ? deferral({ ...received, at }, message, isNumberGone, submit !== undefined)
      : { ...received, at };
  const effect = isStale ? NO_EFFECT : apply(message, report);
  const status = effect.progress?.status ?? message.status;
  return {
    progress: effect.progress,
    nextSubmitAt: report.kind === "deferred" && effect.progress !== undefined ? report.retryAt : undefined,
    carrierMessageId: report.kind === "accepted" ? report.carrierMessageId : undefined,
    event: {
      messageId: message.id,
      kind: report.kind,
      status,
      changesStatus: status !== message.status,
      at,
      carrierMessageId: report.kind === "accepted" ? report.carrierMessageId : carrierMessageId,
      carrierCode: "carrierCode" in report ? report.carrierCode : undefined,
      error: "error" in report ? report.error : undefined,
    },
    health: effect.health,
    submittedAt: message.submittedAt ?? message.sentAt ?? message.completedAt ?? at,
    applied: appliedTo(message, status, effect.reported),
  };
}

/** A deferral, or a final refusal if the message cannot be retried: no carrier accepted it. */
function deferral(
  report: Extract<Report, { kind: "deferred" }>,
  message: ReportedMessage,
  isNumberGone: boolean,
  isAnswer: boolean,
): Extract<Report, { kind: "deferred" | "refused" }> {
  const { at, carrierCode } = report;
  if (isAnswer && isSubmitUnconfirmed(message)) return { kind: "refused", at, carrierCode, error: DEFERRED_LATE };
  return isNumberGone && message.status === "sending" ? { ...NUMBER_GONE, at } : report;
}

const NO_EFFECT: Effect = { progress: undefined, health: undefined, reported: 0 };

/** Plans the end of a message that no carrier accepted; `kind` is its final status. */
export function planEnd(
  message: ReportedMessage,
  kind: "expired" | "cancelled" | "sending_failed",
  at: number,
  error: Message["error"],
): Pick<ReportPlan, "event" | "applied"> & { readonly progress: Progress } {
  return {
    progress: { status: kind, sentAt: undefined, completedAt: at, error },
    event: ownEvent(message, kind, at, error),
    applied: appliedTo(message, kind, message.status === "queued" ? 1 : 0),
  };
}

/** The error of a message that expires in its queue. */
export const EXPIRED_IN_QUEUE = {
  reason: ErrorReason.EXPIRED_IN_QUEUE,
  detail: "The message was still in its queue at valid_until.",
} as const;

/** The error of a scheduled message that expires because its pool never had room. */
export const EXPIRED_WITHOUT_ROOM = {
  reason: ErrorReason.EXPIRED_IN_QUEUE,
  detail: "No number had room for the message before valid_until.",
} as const;

/** The error of an expired message, by where it waited. */
export function expiredWhile({ status }: Pick<Message, "status">): MessageError {
  return status === "scheduled" ? EXPIRED_WITHOUT_ROOM : EXPIRED_IN_QUEUE;
}

/** The error of a message whose recipient opts out while it waits. */
export const OPTED_OUT_WHILE_QUEUED = {
  reason: ErrorReason.OPTED_OUT,
  detail: "The recipient opted out of this messaging profile while the message was queued.",
} as const;

/** The error of a message whose number is removed while it waits. */
export const REMOVED_WHILE_QUEUED = {
  reason: ErrorReason.INVALID_FROM,
  detail: "The number was removed while the message was queued.",
} as const;

const DEFERRED_LATE = {
  reason: ErrorReason.RECIPIENT_SERVER_UNAVAILABLE,
  detail:
    "The carrier deferred the message after submit_timeout_seconds, too late for a retry. " +
    "The message was not sent; send it again as a new message.",
} as const;

const NUMBER_GONE = {
  kind: "refused",
  error: { reason: ErrorReason.INVALID_FROM, detail: "The number was removed while the message was being sent." },
  carrierCode: "",
} as const;

function appliedTo(message: ReportedMessage, status: Message["status"], reported: 0 | 1): AppliedReport {
  const segmentsIn = (each: Message["status"]) => (each === "queued" ? message.parts : 0);
  return {
    messageId: message.id,
    messagingProfileId: message.messagingProfileId,
    phoneNumberId: message.phoneNumberId,
    status,
    health: undefined,
    reported,
    queuedSegments: segmentsIn(status) - segmentsIn(message.status),
    followed: [],
  };
}
