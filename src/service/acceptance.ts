import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import { type ClientAttempt, lookBackMs } from "../domain/client-attempt.ts";
import { Failure, failure, type Refusal } from "../domain/failure.ts";
import type { Ids } from "../domain/ids.ts";
import type { Message } from "../domain/message.ts";
import { noteUnreported } from "../domain/pool/book.ts";
import type { Pool } from "../domain/pool/pool.ts";
import { type CheckedSend, FROM_UNKNOWN, OPTED_OUT, TO_IS_FROM } from "../domain/send.ts";
import type { LivePool } from "../store/pools.ts";
import {
  type AcceptFacts,
  type AcceptReads,
  type AcceptWrites,
  hashTextOf,
  type RecipientFacts,
  type Store,
} from "../store/store.ts";
import { type Booked, confirmAll, decideSend, undoAll } from "./decide-send.ts";

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

export type AcceptanceParts = {
  readonly store: Store;
  readonly clock: () => number;
  readonly ids: Ids;
  /** How long a sticky mapping lives, milliseconds. */
  readonly stickyLifetime: number;
  /** Told how many segments came into which numbers' queues, once they are on disk. */
  readonly onAccepted: (segments: ReadonlyMap<string, number>) => void;
};

/** What another process accepted may be in its future by so much, milliseconds: clocks differ. */
const CLOCKS_APART = 10_000;
/** Sends that arrive together share one transaction, up to so many texts; a larger batch has one of its own. */
const GROUP_ITEMS = 500;

/** An attempt that meets an equal one in flight elsewhere is tried again after so long, and refused after so long, milliseconds. */
const DEFERRED_FOR = 100;
const MAX_DEFERRED = 5_000;

type Waiting = {
  readonly unit: Unit;
  /** Monotonic milliseconds. */
  readonly arrivedAt: number;
  /** When it first met an equal attempt in flight elsewhere, monotonic milliseconds. */
  deferredAt?: number;
  readonly resolve: (outcome: UnitOutcome) => void;
  readonly reject: (error: unknown) => void;
};

/**
 * Accepts messages by group commit: what arrives during one turn of the event loop is decided in order and written in one
 * transaction, one at a time. The promise of `accept` settles when the unit is on disk, or rejects with nothing accepted; with
 * UNAVAILABLE the outcome may be unknown.
 */
export function createAcceptance(parts: AcceptanceParts) {
  const { store } = parts;
  let waiting: Waiting[] = [];
  let isScheduled = false;

  const schedule = () => {
    if (isScheduled) return;
    isScheduled = true;
    setImmediate(commitNext);
  };

  const commitNext = async () => {
    const group = takeGroup();
    try {
      await commit(group);
    } finally {
      isScheduled = false;
      if (waiting.length > 0) schedule();
    }
  };

  const takeGroup = (): Waiting[] => {
    let items = 0;
    let count = 0;
    for (const { unit } of waiting) {
      if (count > 0 && items + unit.items.length > GROUP_ITEMS) break;
      items += unit.items.length;
      count += 1;
    }
    const group = waiting.slice(0, count);
    waiting = waiting.slice(count);
    return group;
  };

  const commit = async (group: readonly Waiting[]): Promise<void> => {
    const units = group.map(({ unit }) => unit);
    let decided: DecidedGroup | undefined;
    try {
      await store.accept(readsOf(group, parts.clock()), (facts) => {
        undoAll(decided?.booked ?? []);
        decided = undefined;
        for (const id of facts.occupied ?? []) for (const pool of poolsOf(units)) noteUnreported(pool, id);
        decided = decideOrUndo(units, facts, parts);
        return decided.writes;
      });
    } catch (error) {
      undoAll(decided?.booked ?? []);
      // One bad unit must not take the others down; but a store that cannot be written is no better for one.
      const isOurs = error instanceof Failure;
      if (isOurs || group.length === 1) for (const { reject } of group) reject(error);
      else for (const one of group) await commit([one]);
      return;
    }
    const { results, queued, booked } = decided as DecidedGroup;
    confirmAll(booked);
    group.forEach(({ resolve, reject }, index) => {
      const result = results[index] as UnitResult;
      if (result === "in_flight") defer(group[index] as Waiting);
      else if (result instanceof Failure) reject(result);
      else resolve(result);
    });
    if (queued.size > 0) parts.onAccepted(queued);
  };

  /** Others go on meanwhile: whoever waited inside the transaction would hold up every send. */
  const defer = (one: Waiting) => {
    one.deferredAt ??= performance.now();
    if (performance.now() - one.deferredAt >= MAX_DEFERRED) {
      one.reject(new Failure(STILL_IN_FLIGHT));
      return;
    }
    setTimeout(() => {
      waiting.push(one);
      schedule();
    }, DEFERRED_FOR);
  };

  return {
    accept: (unit: Unit): Promise<UnitOutcome> => {
      const needsStore = unit.key !== undefined || isRetry(unit) || unit.items.some((item) => "live" in item);
      if (!needsStore)
        return Promise.resolve({ kind: "decided", outcomes: unit.items as readonly { refusal: Refusal }[] });
      return new Promise((resolve, reject) => {
        waiting.push({ unit, arrivedAt: performance.now(), resolve, reject });
        schedule();
      });
    },
  };
}

/** Whether the official client made an attempt before this one. */
function isRetry({ attempt }: Unit): boolean {
  return attempt !== undefined && attempt.retryCount > 0;
}

const STILL_IN_FLIGHT: Refusal = {
  reason: ErrorReason.UNAVAILABLE,
  detail:
    "What became of an earlier attempt of this send is not known yet, so this one was not accepted; try again, or give sends an Idempotency-Key.",
};

/** `in_flight`: another transaction decides an equal attempt, and nothing was decided here. */
type UnitResult = UnitOutcome | Failure | "in_flight";

type DecidedGroup = {
  readonly results: UnitResult[];
  readonly writes: AcceptWrites;
  readonly booked: Booked[];
  readonly queued: Map<string, number>;
};

/** The pools that a group may pick from. */
function poolsOf(units: readonly Unit[]): Set<Pool> {
  return new Set(units.flatMap(({ items }) => items.flatMap((item) => ("live" in item ? [item.live.pool] : []))));
}

/** What the group must know, in the order in which `decideGroup` asks for it. */
function readsOf(group: readonly Waiting[], now: number): AcceptReads {
  const reads = { recipients: [], keys: [], retries: [], firstAttempts: [] } as {
    [Kind in keyof Required<AcceptReads>]: Required<AcceptReads>[Kind][number][];
  };
  for (const { unit, arrivedAt } of group) {
    const { organizationId, method, items, key, requestHash, attempt } = unit;
    if (key !== undefined) reads.keys.push({ organizationId, method, key });
    else if (attempt !== undefined && requestHash !== undefined) {
      if (attempt.retryCount === 0) reads.firstAttempts.push(requestHash);
      else {
        const span = lookBackMs(attempt) + Math.round(performance.now() - arrivedAt);
        reads.retries.push({ requestHash, since: now - span, until: now + CLOCKS_APART });
      }
    }
    for (const item of items) {
      if (!("live" in item)) continue;
      const { live, send } = item;
      const sticky = item.from === undefined && live.profile.poolSettings?.stickySender === true;
      reads.recipients.push({ organizationId, messagingProfileId: live.profile.id, to: send.to, sticky });
    }
  }
  return reads;
}

/** Decides a group; when that fails midway, the charges made until then are undone. */
function decideOrUndo(units: readonly Unit[], facts: AcceptFacts, parts: AcceptanceParts): DecidedGroup {
  const booked: Booked[] = [];
  try {
    return decideGroup(units, facts, parts, booked);
  } catch (error) {
    undoAll(booked);
    throw error;
  }
}

/** Decides a group in order. Twins inside it see each other through the overlays, as if each had been committed before the next. */
function decideGroup(
  units: readonly Unit[],
  facts: AcceptFacts,
  parts: AcceptanceParts,
  booked: Booked[],
): DecidedGroup {
  const now = parts.clock();
  const trials: string[] = [];
  const writes = { messages: [], mappings: [], keys: [], recentSends: [], trials } as {
    [Kind in keyof Required<AcceptWrites>]: NonNullable<AcceptWrites[Kind]>[number][];
  };
  const group: DecidedGroup = { results: [], writes, booked, queued: new Map() };
  const keys = new Map<string, AcceptWrites["keys"][number]>();
  const repeats = new Map<string, Message>();
  const mappings = new Map<string, AcceptWrites["mappings"][number]>();
  let nextKey = 0;
  let nextRetry = 0;
  let nextRecipient = 0;

  const decideItem = (item: Item, facts: RecipientFacts | undefined): Outcome => {
    if ("refusal" in item) return item;
    if (item.sendAt !== undefined) return scheduleItem(item, facts, item.sendAt);
    const { live, send, from } = item;
    const recipient = `${live.profile.id} ${send.to}`;
    const known = facts && { ...facts, mapping: mappings.get(recipient) ?? facts.mapping };
    const request = { to: send.to, parts: send.segments.parts, from };
    const decided = decideSend(live, request, known, now, parts.stickyLifetime);
    if ("refusal" in decided) return decided;
    group.booked.push(decided.booked);
    const message: Message = {
      ...newMessage(item, parts.ids(now), now),
      ...decided.sender,
      status: "queued",
      decision: decided.decision,
      waitSeconds: Math.round(decided.waitTime) / 1000,
    };
    writes.messages.push(message);
    if (decided.isTrial) trials.push(decided.sender.phoneNumberId);
    const { phoneNumberId } = decided.sender;
    group.queued.set(phoneNumberId, (group.queued.get(phoneNumberId) ?? 0) + message.parts);
    if (decided.mapping !== undefined) {
      mappings.set(recipient, decided.mapping);
      writes.mappings.push(decided.mapping);
    }
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
        group.results.push(isSame ? { kind: "replayed", answer: stored.response } : keyReused());
        continue;
      }
    } else if (isRetry(unit)) {
      const message = repeats.get(hashText) ?? facts.retries[nextRetry];
      nextRetry += 1;
      // What is in flight may be newer than what is found.
      if (message !== undefined && !isInFlight) {
        group.results.push({ kind: "repeated", message });
        continue;
      }
    }
    const abandoned = unit.abandoned?.();
    if (abandoned !== undefined) {
      group.results.push(new Failure(abandoned));
      continue;
    }
    if (isInFlight) {
      group.results.push("in_flight");
      continue;
    }
    let used = 0;
    const outcomes = items.map((item) => decideItem(item, "live" in item ? recipients[used++] : undefined));
    group.results.push({ kind: "decided", outcomes });
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
  return group;
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
