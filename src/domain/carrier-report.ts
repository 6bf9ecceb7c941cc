import type { HealthCounts } from "./health.ts";
import type { Report } from "./lifecycle.ts";
import type { MessageStatus } from "./message.ts";

/** A report for one message, named by its own id or by the carrier's. */
export type CarrierReport = {
  readonly target:
    | { readonly organizationId: string; readonly messageId: string }
    /** The organization whose messages are meant; undefined: whoever's. */
    | { readonly carrier: string; readonly carrierMessageId: string; readonly organizationId?: string | undefined };
  /** The carrier that answered a submit. */
  readonly carrier?: string | undefined;
  readonly report: Report;
  /** Which submit of the message is answered, counted from 1; undefined: it is no answer. */
  readonly submit?: number | undefined;
  /** When it came here, by our clock; undefined: when it happened. A receipt that fits no message is kept from then on. */
  readonly receivedAt?: number | undefined;
};

/** What a report did. Undefined message: it fits none that is known. */
export type AppliedReport = {
  readonly messageId: string | undefined;
  readonly messagingProfileId: string | undefined;
  readonly phoneNumberId: string | undefined;
  /** Where the message stands after the report. */
  readonly status: MessageStatus | undefined;
  /** The sender's counts after the report; undefined when they did not change. */
  readonly health: HealthCounts | undefined;
  readonly reported: 0 | 1;
  /** Segments that came back into the number's queue, or (negative) left it without being sent. */
  readonly queuedSegments: number;
  /** What receipts did that had come before anybody knew whose they are. */
  readonly followed: readonly AppliedReport[];
};
