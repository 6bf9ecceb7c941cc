import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import type { AppliedReport } from "../carrier-report.ts";
import type { HealthChange } from "../health.ts";
import { apply, type Effect, isSubmitUnconfirmed, type Progress, type Report } from "../lifecycle.ts";
import type { Message, MessageError } from "../message.ts";
import { type NewMessageEvent, ownEvent } from "../message-event.ts";

/** What must be known of a message to plan what a report does to it. */
export type ReportedMessage = Progress &
  Pick<
    Message,
    "organizationId" | "id" | "messagingProfileId" | "phoneNumberId" | "carrier" | "parts" | "submits" | "receivedAt"
  > & {
    /** When its latest submit was made; undefined: it was never claimed. */
    readonly submittedAt?: number | undefined;
  };

/** What a report does to a message, for any store to write. */
export type ReportPlan = {
  /** The message's new progress; undefined: as it was. */
  readonly progress: Progress | undefined;
  /** When to try the message again; undefined: unchanged. */
  readonly nextSubmitAt: number | undefined;
  /** The carrier's id of the message; undefined: unchanged. */
  readonly carrierMessageId: string | undefined;
  readonly event: NewMessageEvent;
  /** What the sender's health learns, at `event.at`. */
  readonly health: HealthChange | undefined;
  /** When the message was submitted, as far as is known: a reset of the sender's health decides by it. */
  readonly submittedAt: number;
  /** What the caller is told; `health` and `followed` are added by the store. */
  readonly applied: AppliedReport;
};

/** A report that fits no message. */
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
 * Plans what a report does. `carrierMessageId` is the one that a receipt named, `submit` the submit that is answered.
 * `isNumberGone`: the message's queue is gone with its number, so that there is nothing to come back to.
 */
export function planReport(
  message: ReportedMessage,
  given: Report,
  carrierMessageId: string | undefined,
  isNumberGone: boolean,
  submit?: number,
): ReportPlan {
  // Clocks of carriers stray: nothing happened to a message before it was there.
  const at = Math.max(given.at, message.receivedAt);
  // Written twice, because it was not known whether the first time succeeded, it would take back a later submit.
  const isStale = given.kind === "deferred" && submit !== undefined && submit !== message.submits;
  const report: Report =
    given.kind === "deferred" && !isStale
      ? deferral({ ...given, at }, message, isNumberGone, submit !== undefined)
      : { ...given, at };
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

/** A temporary refusal. Where the message is not tried again, it is one for good: it is known that the message did not leave. */
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

/** What the end of a message that never left does; `kind` says which end. */
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

/** What a message says that stood in its queue for too long. */
export const EXPIRED_IN_QUEUE = {
  reason: ErrorReason.EXPIRED_IN_QUEUE,
  detail: "The message was still in its queue at valid_until.",
} as const;

/** What a message says that was scheduled until its time ran out: its pool never had room. */
export const EXPIRED_WITHOUT_ROOM = {
  reason: ErrorReason.EXPIRED_IN_QUEUE,
  detail: "No number had room for the message before valid_until.",
} as const;

/** What an expired message says, by where it waited. */
export function expiredWhile({ status }: Pick<Message, "status">): MessageError {
  return status === "scheduled" ? EXPIRED_WITHOUT_ROOM : EXPIRED_IN_QUEUE;
}

/** What a message says whose recipient opted out while it waited. */
export const OPTED_OUT_MEANWHILE = {
  reason: ErrorReason.OPTED_OUT,
  detail: "The recipient opted out of this messaging profile's messages while the message was queued.",
} as const;

/** What a message says that was in its number's queue when the number was removed. */
export const REMOVED_MEANWHILE = {
  reason: ErrorReason.INVALID_FROM,
  detail: "The number was removed while the message was queued.",
} as const;

const DEFERRED_LATE = {
  reason: ErrorReason.RECIPIENT_SERVER_UNAVAILABLE,
  detail:
    "The carrier refused the message for now, but answered after submit_timeout_seconds, when it had been given up. " +
    "The message did not leave. It is not sent again by itself.",
} as const;

const NUMBER_GONE = {
  kind: "refused",
  error: { reason: ErrorReason.INVALID_FROM, detail: "The number was removed while the message was being sent." },
  carrierCode: "",
} as const;

function appliedTo(message: ReportedMessage, status: Message["status"], reported: 0 | 1): AppliedReport {
  const queued = (each: Message["status"]) => (each === "queued" ? message.parts : 0);
  return {
    messageId: message.id,
    messagingProfileId: message.messagingProfileId,
    phoneNumberId: message.phoneNumberId,
    status,
    health: undefined,
    reported,
    queuedSegments: queued(status) - queued(message.status),
    followed: [],
  };
}
