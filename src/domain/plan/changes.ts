import type { IdForm } from "../carrier-message-id.ts";
import type { HealthChange, HealthCounts } from "../health.ts";
import type { IdempotencyRecord, RecentSend } from "../idempotency.ts";
import type { Progress, Report } from "../lifecycle.ts";
import type { Message } from "../message.ts";
import { type MessageEventKind, type NewMessageEvent, ownEvent } from "../message-event.ts";
import type { StickyMapping } from "../recipient.ts";

/**
 * What one transaction writes. Each store has one function that writes it, so what is absent costs nothing and what is here is
 * written in the same way by all of them. Moments are milliseconds since 1970.
 */
export type Changes = {
  /** New messages. */
  readonly messages?: readonly Message[];
  /** Stored messages of which any field may have changed. */
  readonly rewritten?: readonly Message[];
  /** Stored messages of which a few fields change. */
  readonly changed?: readonly MessageChange[];
  readonly events?: readonly OwnedEvent[];
  readonly mappings?: readonly StickyMapping[];
  readonly keys?: readonly IdempotencyRecord[];
  readonly recentSends?: readonly RecentSend[];
  /** Outcomes for senders' health, in order. */
  readonly health?: readonly HealthOutcome[];
  /** What numbers sent, and when they are due again. */
  readonly uses?: readonly NumberUse[];
  /** Receipts that fit no message yet. */
  readonly newReceipts?: readonly UnmatchedReceipt[];
  /** Sequences of stored receipts whose message was found. */
  readonly deletedReceipts?: readonly number[];
  /** Sequences of stored receipts that only a message with exactly their id can fit. */
  readonly examinedReceipts?: readonly number[];
  /** Carriers' ids, by key, whose stored receipts are compared again. */
  readonly reopenedReceipts?: readonly CarrierKey[];
  /** How carriers' receipts write the ids of their answers. */
  readonly idForms?: readonly CarrierIdForm[];
};

/** A message by name. */
export type MessageKey = Pick<Message, "organizationId" | "id">;

/** The fields of a message that change; an absent one stays. */
export type MessageChange = MessageKey & {
  readonly progress?: Progress | undefined;
  /** Another submit begins. Its progress is `sending`. */
  readonly submit?: { readonly owner: string; readonly carrier: string; readonly at: number } | undefined;
  /** The latest submit never began. */
  readonly isSubmitUndone?: boolean | undefined;
  /** When to try it again; "never": it waits for room in its lane. */
  readonly nextSubmitAt?: number | "never" | undefined;
  readonly carrierMessageId?: string | undefined;
};

/** An event and the organization that owns its message. */
export type OwnedEvent = { readonly organizationId: string; readonly event: NewMessageEvent };

/** An outcome of a sender's message, and which of the transaction's outcomes of its number it is. */
export type HealthOutcome = {
  readonly phoneNumberId: string;
  readonly change: HealthChange;
  readonly at: number;
  /** When the message was submitted: a reset of the health decides by it. */
  readonly submittedAt: number;
  /** How many outcomes of this number came before it. */
  readonly place: number;
};

/** The counts after an outcome; undefined: the number is gone, or its health was reset after the submit. */
export type HealthAfter = (outcome: HealthOutcome) => HealthCounts | undefined;

/** What a claim took from a number. */
export type NumberUse = {
  readonly phoneNumberId: string;
  readonly at: number;
  readonly dueAt: number;
  readonly messages: number;
  readonly segments: number;
  /** The UTC day that it counts for, in days since 1970. */
  readonly day: number;
};

/** A carrier's id of a message by its key, and the carrier. */
export type CarrierKey = { readonly carrierMessageKey: string; readonly carrier: string };

/** A receipt that fits no message yet. `sequence` is that of its row; undefined: it has none. */
export type UnmatchedReceipt = CarrierKey & {
  readonly sequence: number | undefined;
  readonly carrierMessageId: string;
  /** The organization that reported it; "": the carrier itself. */
  readonly organizationId: string;
  readonly report: Report;
  readonly receivedAt: number;
};

/** The form in which a carrier's receipts write ids, as an organization reports them ("": the carrier itself). */
export type CarrierIdForm = { readonly carrier: string; readonly organizationId: string; readonly form: IdForm };

/** An event of something that Numberpool did itself. */
export function ownedEvent(
  { organizationId, id }: MessageKey,
  kind: Exclude<MessageEventKind, Report["kind"]>,
  at: number,
  error?: Message["error"],
): OwnedEvent {
  return { organizationId, event: ownEvent({ id }, kind, at, error) };
}
