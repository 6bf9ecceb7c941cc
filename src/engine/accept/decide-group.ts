import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import type { ClientAttempt } from "../../domain/client-attempt.ts";
import { Failure, failure, type Refusal } from "../../domain/failure.ts";
import type { IdempotencyRecord, RecentSend } from "../../domain/idempotency.ts";
import type { Ids } from "../../domain/ids.ts";
import type { Message } from "../../domain/message.ts";
import type { RecipientFacts } from "../../domain/recipient.ts";
import { type CheckedSend, FROM_UNKNOWN, OPTED_OUT, TO_IS_FROM } from "../../domain/send.ts";
import { type AcceptFacts, type AcceptWrites, hashTextOf } from "../../store/accept.ts";
import { Decisions } from "../decisions.ts";
import type { LivePool } from "../pools/pools.ts";

/** One text to be decided upon: refused by its content already, or ready for the pool. */
export type Item = { readonly refusal: Refusal } | ReadyItem;

export type ReadyItem = {
  readonly live: LivePool;
  readonly send: CheckedSend;
  /** The number that the caller named, by id; "" when the profile has no such number. */
  readonly from: string | undefined;
  /** When to send it, milliseconds since 1970; undefined: now. */
  readonly sendAt: number | undefined;
  readonly webhookUrl: string | undefined;
  readonly webhookFailoverUrl: string | undefined;
  readonly useProfileWebhooks: boolean;
};

/** What arrives as one call: one text, or a batch that is never split between transactions. */
export type Unit = {
  readonly organizationId: string;
  readonly method: string;
  readonly items: readonly Item[];
  /** The idempotency key; undefined when there is none. */
  readonly key: string | undefined;
  /** SHA-256 of caller, method and content; undefined when nobody will ask for it. */
  readonly requestHash: Uint8Array | undefined;
  /**
   * Without a key: which attempt of the official client's it is. It is remembered, and a retry is answered with what the attempts
   * before it left, also those that are in flight.
   */
  readonly attempt: ClientAttempt | undefined;
  /** Why the caller no longer waits; asked right before the unit is decided, and then nothing of it is accepted. */
  readonly abandoned?: () => Refusal | undefined;
  /** The answer to these outcomes, as protobuf, to be kept with the key. */
  readonly answer: (outcomes: readonly Outcome[]) => Uint8Array;
};

/** What became of one text. */
export type Outcome = { readonly message: Message } | { readonly refusal: Refusal };

/** What became of a call: outcomes in the order of its items, or the first answer again. */
export type UnitOutcome =
  | { readonly kind: "decided"; readonly outcomes: readonly Outcome[] }
  | { readonly kind: "replayed"; readonly answer: Uint8Array }
  | { readonly kind: "repeated"; readonly message: Message };

/** `in_flight`: another transaction decides an equal attempt, and nothing was decided here. */
export type UnitResult = UnitOutcome | Failure | "in_flight";

export type DecidedGroup = {
  readonly results: UnitResult[];
  readonly writes: AcceptWrites;
  readonly decisions: Decisions;
};

/** What deciding goes by besides the facts. */
export type GroupParts = {
  readonly clock: () => number;
  readonly ids: Ids;
  /** How long a sticky mapping lives, milliseconds. */
  readonly stickyLifetime: number;
};

/** Decides a group; when that fails midway, the charges made until then are undone. */
export function decideOrUndo(units: readonly Unit[], facts: AcceptFacts, parts: GroupParts): DecidedGroup {
  const decisions = new Decisions(parts.clock(), parts.stickyLifetime);
  try {
    return decideGroup(units, facts, parts, decisions);
  } catch (error) {
    decisions.undo();
    throw error;
  }
}

/** Decides a group in order. Twins inside it see each other, as if each had been committed before the next. */
function decideGroup(
  units: readonly Unit[],
  facts: AcceptFacts,
  parts: GroupParts,
  decisions: Decisions,
): DecidedGroup {
  const { now } = decisions;
  const results: UnitResult[] = [];
  const writes = {
    messages: [] as Message[],
    keys: [] as IdempotencyRecord[],
    recentSends: [] as RecentSend[],
  };
  const keys = new Map<string, IdempotencyRecord>();
  const repeats = new Map<string, Message>();
  let nextKey = 0;
  let nextRetry = 0;
  let nextRecipient = 0;

  const decideItem = (item: Item, facts: RecipientFacts | undefined): Outcome => {
    if ("refusal" in item) return item;
    if (item.sendAt !== undefined) return scheduleItem(item, facts, item.sendAt);
    const { live, send, from } = item;
    const decided = decisions.decide(live, { to: send.to, parts: send.segments.parts, from }, facts);
    if ("refusal" in decided) return { refusal: decided.refusal };
    const message: Message = {
      ...newMessage(item, parts.ids(now), now),
      ...decided.sender,
      status: "queued",
      decision: decided.decision,
      waitSeconds: Math.round(decided.waitMs) / 1000,
    };
    writes.messages.push(message);
    return { message };
  };

  /** A scheduled text is decided upon when it is due; what is wrong with it by then already is told now. */
  const scheduleItem = (item: ReadyItem, facts: RecipientFacts | undefined, sendAt: number): Outcome => {
    const { live, send, from } = item;
    if (facts?.optedOut) return { refusal: OPTED_OUT };
    if (from !== undefined && live.idByPhoneNumber.get(send.to) === from) return { refusal: TO_IS_FROM };
    const record = from === undefined ? undefined : live.numbers.get(from);
    if (from !== undefined && record === undefined) return { refusal: FROM_UNKNOWN };
    const message: Message = {
      ...newMessage(item, parts.ids(now), now),
      phoneNumberId: record?.id,
      from: record?.phoneNumber,
      carrier: record?.carrier,
      lineType: record?.lineType,
      status: "scheduled",
      sendAt,
      queuedAt: undefined,
      validUntil: sendAt + live.profile.validityPeriodSeconds * 1000,
    };
    writes.messages.push(message);
    return { message };
  };

  for (const unit of units) {
    const { organizationId, method, items, key, requestHash } = unit;
    const ready = items.filter((item) => "live" in item).length;
    const recipients = facts.recipients.slice(nextRecipient, nextRecipient + ready);
    nextRecipient += ready;
    const keyText = `${organizationId} ${method} ${key}`;
    const hashText = requestHash === undefined ? "" : hashTextOf(requestHash);
    const isInFlight = unit.attempt !== undefined && facts.inFlight?.has(hashText) === true;
    if (key !== undefined) {
      const stored = facts.keys[nextKey] ?? keys.get(keyText);
      nextKey += 1;
      if (stored !== undefined) {
        const isSame = requestHash !== undefined && Buffer.compare(stored.requestHash, requestHash) === 0;
        results.push(isSame ? { kind: "replayed", answer: stored.response } : keyReused());
        continue;
      }
    } else if (isRetry(unit)) {
      const message = repeats.get(hashText) ?? facts.retries[nextRetry];
      nextRetry += 1;
      // What is in flight may be newer than what is found.
      if (message !== undefined && !isInFlight) {
        results.push({ kind: "repeated", message });
        continue;
      }
    }
    const abandoned = unit.abandoned?.();
    if (abandoned !== undefined) {
      results.push(new Failure(abandoned));
      continue;
    }
    if (isInFlight) {
      results.push("in_flight");
      continue;
    }
    let used = 0;
    const outcomes = items.map((item) => decideItem(item, "live" in item ? recipients[used++] : undefined));
    results.push({ kind: "decided", outcomes });
    const accepted = outcomes.find((outcome) => "message" in outcome)?.message;
    if (accepted === undefined || requestHash === undefined) continue;
    if (key !== undefined) {
      const response = unit.answer(outcomes);
      const record = { organizationId, method, key, requestHash, response, createdAt: now };
      keys.set(keyText, record);
      writes.keys.push(record);
    } else if (unit.attempt !== undefined) {
      repeats.set(hashText, accepted);
      writes.recentSends.push({ organizationId, requestHash, messageId: accepted.id, at: now });
    }
  }
  return { results, writes: { ...writes, mappings: decisions.mappings, trials: decisions.trials }, decisions };
}

/** What a message is before anything is decided. */
function newMessage({ live, send, ...item }: ReadyItem, id: string, now: number): Message {
  const { organizationId, id: messagingProfileId, validityPeriodSeconds } = live.profile;
  return {
    organizationId,
    id,
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

function keyReused(): Failure {
  return failure(
    ErrorReason.IDEMPOTENCY_KEY_REUSED,
    "The idempotency key belongs to an earlier send with other content; use a new key for a new send.",
  );
}

/** Whether the official client made an attempt before this one. */
export function isRetry({ attempt }: Unit): boolean {
  return attempt !== undefined && attempt.retryCount > 0;
}
