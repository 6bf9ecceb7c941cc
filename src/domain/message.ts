import type { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import type { Rule, Standings, Tier } from "./pool/decide.ts";

/** A message's status, in the documented words. */
export type MessageStatus =
  | "scheduled"
  | "queued"
  | "sending"
  | "sent"
  | "delivered"
  | "delivery_failed"
  | "delivery_unconfirmed"
  | "sending_failed"
  | "expired"
  | "cancelled";

/** Which rule picked the sender, and from which candidates. */
export type DecisionRecord = Standings & {
  /** Undefined while no sender is picked. */
  readonly rule: Rule | undefined;
  readonly tier: Tier | undefined;
  readonly isFallback: boolean;
};

/** Why a message failed: a reason of the catalogue and a sentence for people. */
export type MessageError = { readonly reason: ErrorReason; readonly detail: string };

/** The sender of a message, as it was when picked; `from` is +E.164. */
export type MessageSender = {
  readonly phoneNumberId: string;
  readonly from: string;
  readonly carrier: string;
  readonly lineType: "long_code" | "toll_free";
};

/** An outbound message that has its sender. */
export type QueuedMessage = Message & MessageSender;

/**
 * An outbound message as stored. Times are milliseconds since 1970. A scheduled message has no
 * sender until it is due, unless the caller named one.
 */
export type Message = { readonly [Field in keyof MessageSender]: MessageSender[Field] | undefined } & {
  readonly organizationId: string;
  readonly id: string;
  readonly messagingProfileId: string;
  /** The recipient, +E.164. */
  readonly to: string;
  readonly text: string;
  readonly encoding: "GSM-7" | "UCS-2";
  readonly parts: number;
  readonly numChars: number;
  readonly webhookUrl: string | undefined;
  readonly webhookFailoverUrl: string | undefined;
  readonly useProfileWebhooks: boolean;
  readonly status: MessageStatus;
  /** Undefined until the first decision: a scheduled message gets one when it is due. */
  readonly decision: DecisionRecord | undefined;
  readonly receivedAt: number;
  /** When to send it; undefined: at once. */
  readonly sendAt: number | undefined;
  /** Its place in its number's queue, first in, first out; undefined while it is scheduled. */
  readonly queuedAt: number | undefined;
  readonly sentAt: number | undefined;
  readonly completedAt: number | undefined;
  readonly validUntil: number;
  readonly waitSeconds: number;
  /** How often it was submitted to a carrier. */
  readonly submits: number;
  readonly error: MessageError | undefined;
};

/** Statuses in which a message can be cancelled: no part of it has left. */
export const CANCELLABLE: ReadonlySet<MessageStatus> = new Set(["scheduled", "queued"]);
