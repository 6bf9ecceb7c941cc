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
  readonly standsIn: boolean;
};

/** Why a message failed: a reason of the catalogue and a sentence for a person. */
export type MessageError = { readonly reason: ErrorReason; readonly detail: string };

/** An outbound message as it is kept. Times are milliseconds since 1970. */
export type Message = {
  readonly organizationId: string;
  readonly id: string;
  readonly messagingProfileId: string;
  readonly phoneNumberId: string;
  /** The sender, +E.164. */
  readonly from: string;
  readonly carrier: string;
  readonly lineType: "long_code" | "toll_free";
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
  readonly decision: DecisionRecord;
  readonly receivedAt: number;
  readonly sentAt: number | undefined;
  readonly completedAt: number | undefined;
  readonly validUntil: number;
  readonly waitSeconds: number;
  readonly error: MessageError | undefined;
};
