import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import type { ClientAttempt } from "../../domain/client-attempt.ts";
import { Failure, failure, type Refusal } from "../../domain/failure.ts";
import type { IdempotencyRecord, RecentSend } from "../../domain/idempotency.ts";
import type { Ids } from "../../domain/ids.ts";
import type { Message } from "../../domain/message.ts";
import { type AcceptFacts, type AcceptWrites, hashTextOf } from "../../store/accept.ts";
import { Decisions } from "../decisions.ts";
import { decideItem, type Item, type Outcome } from "./decide-item.ts";

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
  readonly stickyLifetimeMs: number;
};

/** Decides a group; when that fails midway, the charges made until then are undone. */
export function decideOrUndo(units: readonly Unit[], facts: AcceptFacts, parts: GroupParts): DecidedGroup {
  const decisions = new Decisions(parts.clock(), parts.stickyLifetimeMs);
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
    const outcomes = items.map((item) =>
      decideItem(item, "live" in item ? recipients[used++] : undefined, decisions, parts.ids),
    );
    for (const outcome of outcomes) if ("message" in outcome) writes.messages.push(outcome.message);
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
