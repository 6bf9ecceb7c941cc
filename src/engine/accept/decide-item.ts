import type { Refusal } from "../../domain/failure.ts";
import type { Ids } from "../../domain/ids.ts";
import type { Message } from "../../domain/message.ts";
import type { RecipientFacts } from "../../domain/recipient.ts";
import { type CheckedSend, FROM_UNKNOWN, OPTED_OUT, TO_IS_FROM } from "../../domain/send.ts";
import type { Decisions } from "../decisions.ts";
import type { LivePool } from "../pools/live-pools.ts";

/** One send to decide: already refused for its content, or ready for the pool. */
export type Item = { readonly refusal: Refusal } | ReadyItem;

/** A checked send. */
export type ReadyItem = {
  readonly live: LivePool;
  readonly send: CheckedSend;
  /** The id of the number that the caller named; "": the profile has no such number. */
  readonly from: string | undefined;
  /** When to send it, milliseconds since 1970; undefined: now. */
  readonly sendAt: number | undefined;
  readonly webhookUrl: string | undefined;
  readonly webhookFailoverUrl: string | undefined;
  readonly useProfileWebhooks: boolean;
};

/** The result of one send. */
export type Outcome = { readonly message: Message } | { readonly refusal: Refusal };

/** Decides one send: its message or its refusal. */
export function decideItem(item: Item, recipient: RecipientFacts | undefined, decisions: Decisions, ids: Ids): Outcome {
  if ("refusal" in item) return item;
  if (item.sendAt !== undefined) return scheduleItem(item, item.sendAt, recipient, decisions, ids);
  const { live, send, from } = item;
  const decided = decisions.decide(live, { to: send.to, parts: send.segments.parts, from }, recipient);
  if ("refusal" in decided) return { refusal: decided.refusal };
  const { sender, decision, waitMs } = decided;
  const waitSeconds = Math.round(waitMs) / 1000;
  return { message: { ...newMessage(item, decisions.now, ids), ...sender, decision, waitSeconds } };
}

/** Accepts a scheduled send. Its sender is decided when it is due; a known fault is refused now. */
function scheduleItem(
  item: ReadyItem,
  sendAt: number,
  recipient: RecipientFacts | undefined,
  { now }: Decisions,
  ids: Ids,
): Outcome {
  const { live, send, from } = item;
  if (recipient?.optedOut) return { refusal: OPTED_OUT };
  if (from !== undefined && live.idByPhoneNumber.get(send.to) === from) return { refusal: TO_IS_FROM };
  const number = from === undefined ? undefined : live.numbers.get(from);
  if (from !== undefined && number === undefined) return { refusal: FROM_UNKNOWN };
  const message: Message = {
    ...newMessage(item, now, ids),
    phoneNumberId: number?.id,
    from: number?.phoneNumber,
    carrier: number?.carrier,
    lineType: number?.lineType,
    status: "scheduled",
    sendAt,
    queuedAt: undefined,
    validUntil: sendAt + live.profile.validityPeriodSeconds * 1000,
  };
  return { message };
}

/** A message without a sender. */
function newMessage({ live, send, ...item }: ReadyItem, now: number, ids: Ids): Message {
  const { organizationId, id: messagingProfileId, validityPeriodSeconds } = live.profile;
  return {
    organizationId,
    id: ids(now),
    messagingProfileId,
    phoneNumberId: undefined,
    from: undefined,
    carrier: undefined,
    lineType: undefined,
    to: send.to,
    text: send.text,
    encoding: send.segments.encoding,
    parts: send.segments.parts,
    numChars: send.segments.numChars,
    webhookUrl: item.webhookUrl,
    webhookFailoverUrl: item.webhookFailoverUrl,
    useProfileWebhooks: item.useProfileWebhooks,
    status: "queued",
    decision: undefined,
    receivedAt: now,
    sendAt: undefined,
    queuedAt: now,
    sentAt: undefined,
    completedAt: undefined,
    validUntil: now + validityPeriodSeconds * 1000,
    waitSeconds: 0,
    submits: 0,
    error: undefined,
  };
}
