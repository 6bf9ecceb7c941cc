import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import type { HealthChange } from "./health.ts";
import type { MessageError, MessageStatus } from "./message.ts";

/** A carrier's report on a message, or the absence of one. */
export type Report =
  | { readonly kind: "accepted"; readonly at: number; readonly carrierMessageId: string }
  | { readonly kind: "refused"; readonly at: number; readonly error: MessageError; readonly carrierCode: string }
  | { readonly kind: "deferred"; readonly at: number; readonly carrierCode: string; readonly retryAt: number }
  | { readonly kind: "submit_unconfirmed"; readonly at: number }
  /** The receipt window passed. */
  | { readonly kind: "receipt_timeout"; readonly at: number }
  /** The carrier has the message and reports no outcome yet. */
  | { readonly kind: "buffered"; readonly at: number; readonly carrierCode?: string | undefined }
  | { readonly kind: "delivered"; readonly at: number; readonly carrierCode?: string | undefined }
  | { readonly kind: "failed"; readonly at: number; readonly error: MessageError; readonly carrierCode: string };

/** The fields of a message that reports change. */
export type Progress = {
  readonly status: MessageStatus;
  readonly sentAt: number | undefined;
  readonly completedAt: number | undefined;
  readonly error: MessageError | undefined;
};

/**
 * The effect of a report: the message's new progress and the change of its sender's health.
 * Undefined: no change.
 */
export type Effect = {
  readonly progress: Progress | undefined;
  readonly health: HealthChange | undefined;
  /** 1 when this is the first outcome of the message, else 0. */
  readonly reported: 0 | 1;
};

/** The stronger of two reports decides a message's status, in whatever order they arrive. */
const STRENGTH: Record<MessageStatus, number> = {
  scheduled: 0,
  queued: 0,
  sending: 0,
  sent: 1,
  delivery_unconfirmed: 2,
  expired: 2,
  cancelled: 2,
  sending_failed: 2,
  delivery_failed: 3,
  delivered: 4,
};

/**
 * Failures that count against the sender, and whether as spam. Other failures are due to the
 * recipient, the content or the network.
 */
const SENDER_FAILURES = new Map<ErrorReason, { readonly spam: 0 | 1 }>([
  [ErrorReason.BLOCKED_AS_SPAM_TEMPORARY, { spam: 1 }],
  [ErrorReason.BLOCKED_AS_SPAM_PERMANENT, { spam: 1 }],
  [ErrorReason.UNDELIVERABLE, { spam: 0 }],
  [ErrorReason.INVALID_MESSAGING_SOURCE, { spam: 0 }],
]);

/** The effect of a report on a message. Repeated and weaker reports change nothing. */
export function apply(progress: Progress, report: Report): Effect {
  if (report.kind === "deferred") return requeue(progress);
  const status = statusOf(report);
  // The earliest proof counts: the answer and the receipt may be booked in either order.
  const proof = PROOFS_OF_SUBMIT.has(report.kind) ? report.at : Number.POSITIVE_INFINITY;
  const earliest = Math.min(progress.sentAt ?? Number.POSITIVE_INFINITY, proof);
  const sentAt = earliest === Number.POSITIVE_INFINITY ? undefined : earliest;
  // The submit was unconfirmed; now the carrier says that the message did not leave.
  const isLateRefusal = report.kind === "refused" && isSubmitUnconfirmed(progress);
  if (STRENGTH[status] <= STRENGTH[progress.status] && !isLateRefusal) {
    const changesSentAt = report.kind === "accepted" && sentAt !== progress.sentAt;
    const error = isSubmitUnconfirmed(progress) ? NO_REPORT_ERRORS.receipt_timeout : progress.error;
    return { progress: changesSentAt ? { ...progress, sentAt, error } : undefined, health: undefined, reported: 0 };
  }
  const error = "error" in report ? report.error : NO_REPORT_ERRORS[report.kind];
  const completedAt = status === "sent" ? undefined : report.at;
  const before = evidence(progress.status, progress.error);
  const after = evidence(status, error);
  return {
    progress: { status, sentAt, completedAt, error },
    health: difference(before, after),
    reported: STRENGTH[progress.status] < 2 && STRENGTH[status] >= 2 ? 1 : 0,
  };
}

/** The error of a message whose carrier reported nothing. */
const NO_REPORT_ERRORS: Partial<Record<Report["kind"], MessageError>> = {
  submit_unconfirmed: {
    reason: ErrorReason.RECEIPT_MISSING,
    detail: "The carrier never answered, so it is unknown whether the message left. It is not sent again.",
  },
  receipt_timeout: {
    reason: ErrorReason.RECEIPT_MISSING,
    detail: "The carrier accepted the message, but no receipt arrived in time. It is not sent again.",
  },
};

/**
 * Whether the carrier never answered the submit, and nothing since proves that the message left.
 */
export function isSubmitUnconfirmed({ status, sentAt }: Pick<Progress, "status" | "sentAt">): boolean {
  return status === "delivery_unconfirmed" && sentAt === undefined;
}

/** Reports that prove that the carrier accepted the message. */
const PROOFS_OF_SUBMIT: ReadonlySet<Report["kind"]> = new Set(["accepted", "buffered", "delivered", "failed"]);

/** A temporary refusal requeues the message, unless its status is already stronger. */
function requeue(progress: Progress): Effect {
  const isSending = progress.status === "sending";
  return { progress: isSending ? { ...progress, status: "queued" } : undefined, health: undefined, reported: 0 };
}

function statusOf(report: Exclude<Report, { kind: "deferred" }>): MessageStatus {
  switch (report.kind) {
    case "accepted":
    case "buffered":
      return "sent";
    case "refused":
      return "sending_failed";
    case "submit_unconfirmed":
    case "receipt_timeout":
      return "delivery_unconfirmed";
    case "delivered":
      return "delivered";
    case "failed":
      return "delivery_failed";
  }
}

function evidence(status: MessageStatus, error: MessageError | undefined): HealthChange | undefined {
  if (status === "delivered") return { delivered: 1, failed: 0, spam: 0, inbound: 0 };
  if (status !== "delivery_failed" && status !== "sending_failed") return undefined;
  const fault = error === undefined ? undefined : SENDER_FAILURES.get(error.reason);
  return fault === undefined ? undefined : { delivered: 0, failed: 1, spam: fault.spam, inbound: 0 };
}

function difference(before: HealthChange | undefined, after: HealthChange | undefined): HealthChange | undefined {
  if (before === undefined) return after;
  return {
    delivered: (after?.delivered ?? 0) - before.delivered,
    failed: (after?.failed ?? 0) - before.failed,
    spam: (after?.spam ?? 0) - before.spam,
    inbound: 0,
  };
}
