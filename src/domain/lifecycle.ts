import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import type { HealthChange } from "./health.ts";
import type { MessageError, MessageStatus } from "./message.ts";

/** What a carrier said about a message, or failed to say. */
export type Report =
  | { readonly kind: "accepted"; readonly at: number; readonly carrierMessageId: string }
  | { readonly kind: "refused"; readonly at: number; readonly error: MessageError; readonly carrierCode: string }
  | { readonly kind: "deferred"; readonly at: number; readonly carrierCode: string; readonly retryAt: number }
  | { readonly kind: "submit_unconfirmed"; readonly at: number }
  /** The receipt window passed. */
  | { readonly kind: "receipt_timeout"; readonly at: number }
  /** The carrier has it and says no more yet. */
  | { readonly kind: "buffered"; readonly at: number; readonly carrierCode?: string | undefined }
  | { readonly kind: "delivered"; readonly at: number; readonly carrierCode?: string | undefined }
  | { readonly kind: "failed"; readonly at: number; readonly error: MessageError; readonly carrierCode: string };

/** The part of a message that reports change. */
export type Progress = {
  readonly status: MessageStatus;
  readonly sentAt: number | undefined;
  readonly completedAt: number | undefined;
  readonly error: MessageError | undefined;
};

/** What a report did: the message's new progress (undefined: nothing), and what the sender's health learns from it. */
export type Effect = {
  readonly progress: Progress | undefined;
  readonly health: HealthChange | undefined;
  /** 1 when the message was unreported until now, else 0. */
  readonly reported: 0 | 1;
};

/** The stronger of two reports settles a message, in whatever order they come. */
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

/** Failures that count against the sender, and whether as spam. The others speak of the recipient, the content or the network. */
const SENDERS_FAULT = new Map<ErrorReason, { readonly spam: 0 | 1 }>([
  [ErrorReason.BLOCKED_AS_SPAM_TEMPORARY, { spam: 1 }],
  [ErrorReason.BLOCKED_AS_SPAM_PERMANENT, { spam: 1 }],
  [ErrorReason.UNDELIVERABLE, { spam: 0 }],
  [ErrorReason.INVALID_MESSAGING_SOURCE, { spam: 0 }],
]);

/** What a report does to a message. Repeats and weaker reports do nothing. */
export function apply(progress: Progress, report: Report): Effect {
  if (report.kind === "deferred") return defer(progress);
  const status = statusOf(report);
  // The first moment that proves it: an answer may be booked after the receipt that it precedes, and the other way round.
  const proof = SENT_BY.has(report.kind) ? report.at : Number.POSITIVE_INFINITY;
  const earliest = Math.min(progress.sentAt ?? Number.POSITIVE_INFINITY, proof);
  const sentAt = earliest === Number.POSITIVE_INFINITY ? undefined : earliest;
  // Nobody knew whether it left; now the carrier says that it did not.
  const isLateRefusal = report.kind === "refused" && isSubmitUnconfirmed(progress);
  if (STRENGTH[status] <= STRENGTH[progress.status] && !isLateRefusal) {
    const isNews = report.kind === "accepted" && sentAt !== progress.sentAt;
    const error = isSubmitUnconfirmed(progress) ? SILENCE.receipt_timeout : progress.error;
    return { progress: isNews ? { ...progress, sentAt, error } : undefined, health: undefined, reported: 0 };
  }
  const error = "error" in report ? report.error : SILENCE[report.kind];
  const completedAt = status === "sent" ? undefined : report.at;
  const before = evidence(progress.status, progress.error);
  const after = evidence(status, error);
  return {
    progress: { status, sentAt, completedAt, error },
    health: difference(before, after),
    reported: STRENGTH[progress.status] < 2 && STRENGTH[status] >= 2 ? 1 : 0,
  };
}

/** What a message's error says when a carrier said nothing. */
const SILENCE: Partial<Record<Report["kind"], MessageError>> = {
  submit_unconfirmed: {
    reason: ErrorReason.RECEIPT_MISSING,
    detail: "The carrier never answered, so it is not known whether the message left. It is not sent again.",
  },
  receipt_timeout: {
    reason: ErrorReason.RECEIPT_MISSING,
    detail: "The carrier took the message, and no receipt came in time. It is not sent again.",
  },
};

/** Whether a message was given up because its carrier did not answer, and nothing has proved since that it left. */
export function isSubmitUnconfirmed({ status, sentAt }: Pick<Progress, "status" | "sentAt">): boolean {
  return status === "delivery_unconfirmed" && sentAt === undefined;
}

/** Reports that prove that the carrier took the message. */
const SENT_BY: ReadonlySet<Report["kind"]> = new Set(["accepted", "buffered", "delivered", "failed"]);

/** A temporary refusal puts the message back into its queue, unless something stronger is known of it. */
function defer(progress: Progress): Effect {
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
  const fault = error === undefined ? undefined : SENDERS_FAULT.get(error.reason);
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
