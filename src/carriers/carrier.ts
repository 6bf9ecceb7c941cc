import type { Report } from "../domain/lifecycle.ts";
import type { MessageError } from "../domain/message.ts";

/** What a carrier is handed. */
export type Submission = {
  readonly messageId: string;
  readonly from: string;
  readonly to: string;
  readonly text: string;
  readonly encoding: "GSM-7" | "UCS-2";
  readonly parts: number;
};

/**
 * A carrier's answer to a submit. `refused` is for good. `deferred` speaks of this message,
 * `throttled` of all that the carrier is given: both may be tried again, after `retryAfterMs`
 * milliseconds if it says so. `unavailable`: there is no connection, and nothing left.
 * `submit_unconfirmed` is for submits whose outcome nobody knows: they are never sent again.
 */
export type SubmitAnswer =
  | { readonly kind: "accepted"; readonly carrierMessageId: string }
  | { readonly kind: "refused"; readonly error: MessageError; readonly carrierCode: string }
  | { readonly kind: "deferred"; readonly carrierCode: string; readonly retryAfterMs: number | undefined }
  | { readonly kind: "throttled"; readonly carrierCode: string; readonly retryAfterMs: number | undefined }
  | { readonly kind: "unavailable"; readonly carrierCode: string }
  | { readonly kind: "submit_unconfirmed" };

/** What a carrier tells by itself: a receipt, named by the carrier's own id of the message. */
export type CarrierEvent = {
  readonly kind: "receipt";
  readonly carrierMessageId: string;
  readonly report: Extract<Report, { kind: "buffered" | "delivered" | "failed" }>;
};

/**
 * A connection that messages leave through. Adding a kind of carrier is one file that gives one of
 * these.
 */
export type Carrier = {
  /** The configured name, as phone numbers name it. */
  readonly name: string;
  /** Hands one message over. Never rejects: whatever happens is one of the answers. */
  readonly submit: (submission: Submission) => Promise<SubmitAnswer>;
  /** Ends the connection; submits that are under way are answered `submit_unconfirmed`. */
  readonly close: () => Promise<void>;
};

/** What a carrier is made with. */
export type CarrierParts = {
  readonly name: string;
  /** Takes what the carrier tells by itself. */
  readonly onEvent: (carrier: string, event: CarrierEvent) => void;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  /** A number from 0 to 1, 1 excluded. */
  readonly random: () => number;
};
