import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import type { ClientAttempt } from "../../domain/client-attempt.ts";
import { Failure, failure, type Refusal } from "../../domain/failure.ts";
import type { IdempotencyRecord, RecentSend } from "../../domain/idempotency.ts";
import type { Ids } from "../../domain/ids.ts";
import type { Message } from "../../domain/message.ts";
import { type AcceptFacts, type AcceptWrites, hashTextOf } from "../../store/accept.ts";
import { Decisions } from "../decisions.ts";
import { decideItem, type Item, type Outcome } from "./decide-item.ts";

/** One call: a single send, or a batch. A unit is never split between transactions. */
export type Unit = {
  readonly organizationId: string;
  readonly method: string;
  readonly items: readonly Item[];
  /** The idempotency key; undefined: none. */
  readonly key: string | undefined;
  /** SHA-256 of caller, method and content; undefined where neither a key nor a retry needs it. */
  readonly requestHash: Uint8Array | undefined;
  /**
   * The attempt of the official client, if the send has no key. The attempt is stored, and a retry
   * returns the result of an earlier attempt, even of one that is still in flight.
   */
  readonly attempt: ClientAttempt | undefined;
  /** Why the caller no longer waits, checked before the decision. A refusal accepts nothing. */
  readonly abandoned?: () => Refusal | undefined;
  /** The response for these outcomes as protobuf bytes, to store with the key. */
  readonly answer: (outcomes: readonly Outcome[]) => Uint8Array;
};

/** The result of a call: outcomes in the order of its items, or the first response again. */
export type UnitOutcome =
  | { readonly kind: "decided"; readonly outcomes: readonly Outcome[] }
  | { readonly kind: "replayed"; readonly answer: Uint8Array }
  | { readonly kind: "repeated"; readonly message: Message };

/** The result of one unit; `in_flight`: another transaction is deciding an equal attempt. */
export type UnitResult = UnitOutcome | Failure | "in_flight";

/** A decided group: a result for each unit, and what to write. */
export type DecidedGroup = {
  readonly results: UnitResult[];
  readonly writes: AcceptWrites;
  readonly decisions: Decisions;
};

/** The dependencies of a decision. */
export type GroupParts = {
  readonly clock: () => number;
  readonly ids: Ids;
  /** How long a sticky mapping lives after its last message. */
  readonly stickyLifetimeMs: number;
};

/** Decides a group; on an error it undoes the charges of the group. */
export function decideOrUndo(units: readonly Unit[], facts: AcceptFacts, parts: GroupParts): DecidedGroup {
  const decisions = new Decisions(parts.clock(), parts.stickyLifetimeMs);
  try {
    return decideGroup(units, facts, parts, decisions);
  } catch (error) {
    decisions.undo();
    throw error;
  }
}

/** Decides a group in order, as if each unit were committed before the next. */
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
  const keyRecords = new Map<string, IdempotencyRecord>();
  const acceptedByHash = new Map<string, Message>();
  let nextKey = 0;
  let nextRetry = 0;
  let nextRecipient = 0;

  for (const unit of units) {
    const { organizationId, method, items, key, requestHash } = unit;
    const readyCount = items.filter((item) => "live" in item).length;
    const recipients = facts.recipients.slice(nextRecipient, nextRecipient + readyCount);
    nextRecipient += readyCount;
    const keyText = `${organizationId} ${method} ${key}`;
    const hashText = requestHash === undefined ? "" : hashTextOf(requestHash);
    const isInFlight = unit.attempt !== undefined && facts.inFlight?.has(hashText) === true;
    if (key !== undefined) {
      const stored = facts.keys[nextKey] ?? keyRecords.get(keyText);
      nextKey += 1;
      if (stored !== undefined) {
        const isSame = requestHash !== undefined && Buffer.compare(stored.requestHash, requestHash) === 0;
        results.push(isSame ? { kind: "replayed", answer: stored.response } : keyReused());
        continue;
      }
    } else if (isRetry(unit)) {
      const message = acceptedByHash.get(hashText) ?? facts.retries[nextRetry];
      nextRetry += 1;
      // An attempt in flight may be newer than the stored one.
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
    let recipientIndex = 0;
    const outcomes = items.map((item) =>
      decideItem(item, "live" in item ? recipients[recipientIndex++] : undefined, decisions, parts.ids),
    );
    for (const outcome of outcomes) if ("message" in outcome) writes.messages.push(outcome.message);
    results.push({ kind: "decided", outcomes });
    const accepted = outcomes.find((outcome) => "message" in outcome)?.message;
    if (accepted === undefined || requestHash === undefined) continue;
    if (key !== undefined) {
      const response = unit.answer(outcomes);
      const record = { organizationId, method, key, requestHash, response, createdAt: now };
      keyRecords.set(keyText, record);
      writes.keys.push(record);
    } else if (unit.attempt !== undefined) {
      acceptedByHash.set(hashText, accepted);
      writes.recentSends.push({ organizationId, requestHash, messageId: accepted.id, at: now });
    }
  }
  return { results, writes: { ...writes, mappings: decisions.mappings, trials: decisions.trials }, decisions };
}

function keyReused(): Failure {
  return failure(
    ErrorReason.IDEMPOTENCY_KEY_REUSED,
    "The idempotency key belongs to an earlier send with different content; use a new key for a new send.",
  );
}

/** Whether the unit is a retry by the official client. */
export function isRetry({ attempt }: Unit): boolean {
  return attempt !== undefined && attempt.retryCount > 0;
}
