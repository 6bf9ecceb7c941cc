import type { HealthCounts } from "./health.ts";
import type { Report } from "./lifecycle.ts";
import type { MessageStatus } from "./message.ts";

/** A report about one message, named by its own id or by the carrier's id. Times are milliseconds since 1970. */
export type CarrierReport = {
  readonly target:
    | { readonly organizationId: string; readonly messageId: string }
    /** The organization that owns the message; undefined: any. */
    | { readonly carrier: string; readonly carrierMessageId: string; readonly organizationId?: string | undefined };
  /** The carrier, if the report answers a submit. */
  readonly carrier?: string | undefined;
  readonly report: Report;
  /** Which submit of the message it answers, from 1; undefined: it is not an answer. */
  readonly submit?: number | undefined;
  /** When it arrived; undefined: when it happened. The retention of an unmatched receipt starts then. */
  readonly receivedAt?: number | undefined;
};

/** The effect of a report. Undefined message: the report matches none. */
export type AppliedReport = {
  readonly messageId: string | undefined;
  readonly messagingProfileId: string | undefined;
  readonly phoneNumberId: string | undefined;
  /** The message's status after the report. */
  readonly status: MessageStatus | undefined;
  /** The sender's counts after the report; undefined when they did not change. */
  readonly health: HealthCounts | undefined;
  /** 1: the message had no outcome before. */
  readonly reported: 0 | 1;
  /** Segments that returned to the number's queue; negative: left it without being sent. */
  readonly queuedSegments: number;
  /** The effects of receipts that arrived before their message had the carrier's id. */
  readonly followed: readonly AppliedReport[];
};
