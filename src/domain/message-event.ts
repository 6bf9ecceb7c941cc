import type { Report } from "./lifecycle.ts";
import type { Message, MessageError, MessageStatus } from "./message.ts";

/** One change of a message or report about it. Moments are milliseconds since 1970. */
export type MessageEvent = {
  /** Grows with every event of the store; has gaps. */
  readonly sequence: number;
  readonly messageId: string;
  readonly kind: MessageEventKind;
  /** The message's status after it. */
  readonly status: MessageStatus;
  /** Whether the status was another one before it. */
  readonly changesStatus: boolean;
  readonly at: number;
  readonly carrierMessageId: string | undefined;
  readonly carrierCode: string | undefined;
  readonly error: MessageError | undefined;
};

/** A carrier's answer or report by its kind, or what Numberpool did itself. */
export type MessageEventKind =
  | Report["kind"]
  | "sending"
  | "requeued"
  | "decided"
  | "expired"
  | "cancelled"
  | "sending_failed";

/** An event before the store has given it its sequence. */
export type NewMessageEvent = Omit<MessageEvent, "sequence">;

/** What Numberpool did to a message by itself, which gave it another status. */
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

/** The sequence of a message's acceptance, which the message itself tells. */
export const ACCEPTANCE = 0;

/**
 * The id of an event, a UUID of version 7 with the moment of the event. It follows from the event and its message, so that it stays the
 * same wherever and however often the event is read, and takes no room in the store.
 */
export function eventId({ messageId, sequence, at }: Pick<MessageEvent, "messageId" | "sequence" | "at">): string {
  const time = Math.max(0, Math.floor(at)).toString(16).padStart(12, "0");
  const random = messageId.slice(14, 19);
  const tail = messageId.slice(19).replace("-", "");
  const mixed = (BigInt(`0x${tail}`) ^ BigInt(sequence + 1)).toString(16).padStart(16, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-${random}${mixed.slice(0, 4)}-${mixed.slice(4)}`;
}

/** The documented type of an event: a message left, or came to an end; undefined where nothing is documented. */
export function documentedType({
  status,
  changesStatus,
}: Pick<MessageEvent, "status" | "changesStatus">): "message.sent" | "message.finalized" | undefined {
  if (!changesStatus) return undefined;
  if (status === "sent") return "message.sent";
  return OPEN.has(status) ? undefined : "message.finalized";
}

const OPEN: ReadonlySet<MessageStatus> = new Set(["scheduled", "queued", "sending", "sent"]);
