import type { IdForm } from "../carrier-message-id.ts";
import type { HealthChange, HealthCounts } from "../health.ts";
import type { IdempotencyRecord, RecentSend } from "../idempotency.ts";
import type { Progress, Report } from "../lifecycle.ts";
import type { Message } from "../message.ts";
import { type MessageEventKind, type NewMessageEvent, ownEvent } from "../message-event.ts";
import type { StickyMapping } from "../recipient.ts";

/**
 * Everything that one transaction writes. Each store has one function that writes it, and an absent
 * field costs nothing. Times are milliseconds since 1970.
 */
export type Changes = {
  /** New messages. */
  readonly messages?: readonly Message[];
  /** Stored messages of which any field may change. */
  readonly rewritten?: readonly Message[];
  /** Stored messages of which a few fields change. */
  readonly changed?: readonly MessageChange[];
  readonly events?: readonly OwnedEvent[];
  readonly mappings?: readonly StickyMapping[];
  readonly keys?: readonly IdempotencyRecord[];
  readonly recentSends?: readonly RecentSend[];
  /** Outcomes for the senders' health, in order. */
  readonly health?: readonly HealthOutcome[];
  /** What each number sent, and when it is due again. */
  readonly uses?: readonly NumberUse[];
  /** What lost claims took from numbers and did not send. */
  readonly returns?: readonly NumberReturn[];
  /** Receipts to store, because they match no message yet. */
  readonly newReceipts?: readonly UnmatchedReceipt[];
  /** Sequences of stored receipts that now match a message. */
  readonly deletedReceipts?: readonly number[];
  /** Sequences of stored receipts that only a message with exactly their id can match. */
  readonly examinedReceipts?: readonly number[];
  /** Keys of carriers' ids whose stored receipts are compared again. */
  readonly reopenedReceipts?: readonly CarrierKey[];
  /** How each carrier's receipts write the ids of its answers. */
  readonly idForms?: readonly CarrierIdForm[];
};

/** The key of a message. */
export type MessageKey = Pick<Message, "organizationId" | "id">;

/** The changed fields of a message; an absent field keeps its value. */
export type MessageChange = MessageKey & {
  readonly progress?: Progress | undefined;
  /** A submit that begins. The progress is `sending`. */
  readonly submit?: { readonly owner: string; readonly carrier: string; readonly at: number } | undefined;
  /** The latest submit never began. */
  readonly isSubmitUndone?: boolean | undefined;
  /** When to retry it; "never": it waits for room in its lane. */
  readonly nextSubmitAt?: number | "never" | undefined;
  readonly carrierMessageId?: string | undefined;
};

/** An event and the organization that owns its message. */
export type OwnedEvent = { readonly organizationId: string; readonly event: NewMessageEvent };

/** The outcome of one message for its sender's health. */
export type HealthOutcome = {
  readonly phoneNumberId: string;
  readonly change: HealthChange;
  readonly at: number;
  /** When the message was submitted. A later reset of the health discards the outcome. */
  readonly submittedAt: number;
  /** How many outcomes of this number precede it in the transaction. */
  readonly place: number;
};

/** Gives the counts after an outcome; undefined: number removed, or health reset since. */
export type HealthAfter = (outcome: HealthOutcome) => HealthCounts | undefined;

/** A number's use of its rate and its daily limit by one claim. */
export type NumberUse = {
  readonly phoneNumberId: string;
  readonly at: number;
  readonly dueAt: number;
  readonly messages: number;
  readonly segments: number;
  /** The UTC day of the daily limit, in days since 1970. */
  readonly day: number;
};

/** What a number gets back of a day's use. Its pace is not returned: it waits as if it had sent. */
export type NumberReturn = Pick<NumberUse, "phoneNumberId" | "messages" | "segments" | "day">;

/** The key of a carrier's id of a message. */
export type CarrierKey = { readonly carrierMessageKey: string; readonly carrier: string };

/** A receipt that matches no message yet. `sequence` is that of its row; undefined: not stored. */
export type UnmatchedReceipt = CarrierKey & {
  readonly sequence: number | undefined;
  readonly carrierMessageId: string;
  /** The organization that reported it; "": the carrier. */
  readonly organizationId: string;
  readonly report: Report;
  readonly receivedAt: number;
};

/** The form of the ids in a carrier's receipts, by reporting organization ("": the carrier). */
export type CarrierIdForm = { readonly carrier: string; readonly organizationId: string; readonly form: IdForm };

/** An event that no carrier caused, with its organization. */
export function ownedEvent(
  { organizationId, id }: MessageKey,
  kind: Exclude<MessageEventKind, Report["kind"]>,
  at: number,
  error?: Message["error"],
): OwnedEvent {
  return { organizationId, event: ownEvent({ id }, kind, at, error) };
}
