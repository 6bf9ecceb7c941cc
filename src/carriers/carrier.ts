import type { z } from "zod";
import type { Report } from "../domain/lifecycle.ts";
import type { MessageError } from "../domain/message.ts";

/** One message for a carrier. */
export type Submission = {
  readonly messageId: string;
  readonly from: string;
  readonly to: string;
  readonly text: string;
  readonly encoding: "GSM-7" | "UCS-2";
  readonly parts: number;
};

/**
 * A carrier's answer to a submit. `refused` is final. `deferred` concerns this message, `throttled`
 * every message of the carrier: both may be submitted again, after `retryAfterMs` if it is given.
 * `unavailable` means that the message did not leave. `submit_unconfirmed` means that the outcome
 * is unknown: the message is never submitted again.
 */
export type SubmitAnswer =
  | { readonly kind: "accepted"; readonly carrierMessageId: string }
  | { readonly kind: "refused"; readonly error: MessageError; readonly carrierCode: string }
  | { readonly kind: "deferred"; readonly carrierCode: string; readonly retryAfterMs: number | undefined }
  | { readonly kind: "throttled"; readonly carrierCode: string; readonly retryAfterMs: number | undefined }
  | { readonly kind: "unavailable"; readonly carrierCode: string }
  | { readonly kind: "submit_unconfirmed" };

/** An event that a carrier sends by itself: a receipt, with the carrier's own id of the message. */
export type CarrierEvent = {
  readonly kind: "receipt";
  readonly carrierMessageId: string;
  readonly report: Extract<Report, { kind: "buffered" | "delivered" | "failed" }>;
};

/** Whether a carrier can take messages now; `reason` says why not. */
export type CarrierState = { readonly kind: "connected" } | { readonly kind: "disconnected"; readonly reason: string };

/** An open connection to a carrier, through which messages leave and receipts arrive. */
export type Carrier = {
  /** The configured name, as phone numbers name it. */
  readonly name: string;
  /** The most submits that may be under way; messages beyond it wait in the database. */
  readonly window: number;
  /** Submits one message. Never rejects: every outcome is one of the answers. */
  readonly submit: (submission: Submission) => Promise<SubmitAnswer>;
  readonly state: () => CarrierState;
  /** Ends the connection; submits under way are answered with `submit_unconfirmed`. */
  readonly close: () => Promise<void>;
};

/** The surroundings of a carrier. */
export type CarrierParts = {
  readonly name: string;
  /** Takes the events that the carrier sends by itself. */
  readonly onEvent: (carrier: string, event: CarrierEvent) => void;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  /** A number from 0 to 1, 1 excluded. */
  readonly random: () => number;
};

/**
 * A type of carrier. A carrier is a folder that gives one of these, and its line in `registry.ts`.
 */
export type CarrierType<Settings extends z.ZodObject = z.ZodObject> = {
  /**
   * The carrier's section of the configuration file, `type` included: a strict object, with
   * defaults. Values of names that end in key, password, secret or token are masked when shown.
   */
  readonly settings: Settings;
  /** Opens a connection. A method, so that types with different settings share one registry. */
  open(parts: CarrierParts, settings: z.output<Settings>): Carrier;
};
