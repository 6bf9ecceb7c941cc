import type { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import type { Rule, Standings, Tier } from "./pool/decide.ts";

/** Where a message stands; the documented words. */
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

/** Which rule picked the sender, and what it had to choose from. */
export type DecisionRecord = Standings & {
  /** Undefined while nothing was picked. */
  readonly rule: Rule | undefined;
  readonly tier: Tier | undefined;
  readonly isFallback: boolean;
};

/** Why a message failed: a reason of the catalogue and a sentence for a person. */
export type MessageError = { readonly reason: ErrorReason; readonly detail: string };

/** The number that a message leaves from, as it was when it was picked; +E.164 in `from`. */
export type MessageSender = {
  readonly phoneNumberId: string;
  readonly from: string;
  readonly carrier: string;
  readonly lineType: "long_code" | "toll_free";
};

/** An outbound message that has its sender. */
export type QueuedMessage = Message & MessageSender;

/**
 * An outbound message as it is kept. Times are milliseconds since 1970. Until it is due, a scheduled message has a sender only if the
 * caller named one.
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
  /** Undefined until there was one: a scheduled message is decided upon when it is due. */
  readonly decision: DecisionRecord | undefined;
  readonly receivedAt: number;
  /** When it is to be sent; undefined: at once. */
  readonly sendAt: number | undefined;
  /** Its place in its number's queue, first come, first served; undefined while it is scheduled. */
  readonly queuedAt: number | undefined;
  readonly sentAt: number | undefined;
  readonly completedAt: number | undefined;
  readonly validUntil: number;
  readonly waitSeconds: number;
  /** How often it was handed to a carrier. */
  readonly submits: number;
  readonly error: MessageError | undefined;
};

/** Where a message can still be cancelled: nothing of it has left. */
export const CANCELLABLE: ReadonlySet<MessageStatus> = new Set(["scheduled", "queued"]);
