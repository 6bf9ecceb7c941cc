import type { Report } from "./lifecycle.ts";
import type { Message, MessageError, MessageStatus } from "./message.ts";

/** A change of a message, or a report about it. Times are milliseconds since 1970. */
export type MessageEvent = {
  /** Grows with every event of the store; has gaps. */
  readonly sequence: number;
  readonly messageId: string;
  readonly kind: MessageEventKind;
  /** The message's status after the event. */
  readonly status: MessageStatus;
  /** Whether the event changed the status. */
  readonly changesStatus: boolean;
  readonly at: number;
  readonly carrierMessageId: string | undefined;
  readonly carrierCode: string | undefined;
  readonly error: MessageError | undefined;
};

/** The kind of a carrier's answer or report, or an action of Numberpool. */
export type MessageEventKind =
  | Report["kind"]
  | "sending"
  | "requeued"
  | "decided"
  | "expired"
  | "cancelled"
  | "sending_failed";

/** An event without its sequence, which the store assigns. */
export type NewMessageEvent = Omit<MessageEvent, "sequence">;

/** The event of an action of Numberpool, which changes the message's status. */
export function ownEvent(
  { id }: Pick<Message, "id">,
  kind: Exclude<MessageEventKind, Report["kind"]>,
  at: number,
  error?: MessageError,
): NewMessageEvent {
  const status = kind === "decided" || kind === "requeued" ? "queued" : kind;
  const none = { carrierMessageId: undefined, carrierCode: undefined };
  return { messageId: id, kind, status, changesStatus: true, at, error, ...none };
}

/** The sequence of a message's acceptance, which is derived from the message. */
export const ACCEPTANCE = 0;

/**
 * The id of an event, a UUID of version 7 with the time of the event. It is derived from the event, so
 * every reader gets the same one, and the store needs no column for it.
 */
export function eventId({ messageId, sequence, at }: Pick<MessageEvent, "messageId" | "sequence" | "at">): string {
  const time = Math.max(0, Math.floor(at)).toString(16).padStart(12, "0");
  const random = messageId.slice(14, 19);
  const tail = messageId.slice(19).replace("-", "");
  const mixed = (BigInt(`0x${tail}`) ^ BigInt(sequence + 1)).toString(16).padStart(16, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-${random}${mixed.slice(0, 4)}-${mixed.slice(4)}`;
}

/** The documented type of an event; undefined: no documented webhook reports it. */
export function documentedType({
  status,
  changesStatus,
}: Pick<MessageEvent, "status" | "changesStatus">): "message.sent" | "message.finalized" | undefined {
  if (!changesStatus) return undefined;
  if (status === "sent") return "message.sent";
  return OPEN.has(status) ? undefined : "message.finalized";
}

const OPEN: ReadonlySet<MessageStatus> = new Set(["scheduled", "queued", "sending", "sent"]);
