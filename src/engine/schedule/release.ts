import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import { Failure, type Refusal } from "../../domain/failure.ts";
import type { Message } from "../../domain/message.ts";
import { changesOfReleased, type ReleasedMessage } from "../../domain/plan/released.ts";
import { EXPIRED_WITHOUT_ROOM } from "../../domain/plan/report.ts";
import { noteUnreported } from "../../domain/pool/book.ts";
import { decide } from "../../domain/pool/decide.ts";
import type { StickyMapping } from "../../domain/recipient.ts";
import { laneText, type ScheduledFacts, type ScheduledRead, type WaitingLane } from "../../store/schedule.ts";
import type { Store } from "../../store/store.ts";
import { type Booked, confirmAll, decideSend, undoAll } from "../decide-send.ts";
import type { LivePool, Pools } from "../pools/pools.ts";

/** What the release is made from. */
export type ReleaseParts = {
  readonly store: Store;
  readonly pools: Pools;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  /** How long a sticky mapping lives, milliseconds. */
  readonly stickyLifetime: number;
  /** Gets the segments that came into numbers' queues, by number, once they are on disk. */
  readonly onAccepted: (segments: ReadonlyMap<string, number>) => void;
};

/** One bounded pass over scheduled messages that are due; resolves with the moment of the next pass, undefined for none that is known. */
export type ScheduledRelease = () => Promise<number | undefined>;

/** Messages in one transaction: a few milliseconds. */
const GROUP = 100;
/** Full lanes that are tried in one pass; each gets an equal part of GROUP. */
const LANES_AT_ONCE = 10;
/** Lanes read in one pass when they are looked for, and how often that happens, milliseconds: other processes fill lanes, too. */
const LANES_PAGE = 500;
const LANES_POLL = 60_000;
/** A full pool is tried again no sooner and no later than this, milliseconds: a cancelled message or a higher rate may make room. */
const MIN_RETRY = 1_000;
const MAX_RETRY = 60_000;

type Written = ReleasedMessage;

/** What a message becomes: written, and charged when it has a sender; or it waits, and its lane with it until `fullUntil`. */
type Decided =
  | { readonly kind: "written"; readonly written: Written }
  | { readonly kind: "queued"; readonly written: Written; readonly decided: Sent }
  | { readonly kind: "laneFull"; readonly fullUntil: number };
type Sent = Extract<ReturnType<typeof decideSend>, { sender: unknown }>;

/** A lane in which messages wait, and when it is tried again. */
type Lane = { readonly lane: WaitingLane; readonly retryAt: number };

/**
 * Picks the senders of scheduled messages as they become due, as if they had been sent just then. What finds its pool full waits in
 * a lane, in order, and is not read again before there may be room: of a full lane only the first messages are ever read.
 */
export function createScheduledRelease(parts: ReleaseParts): ScheduledRelease {
  const { store, pools, clock } = parts;
  const lanes = new Map<string, Lane>();
  let lanesPage: WaitingLane | undefined;
  let lanesReadAt = Number.NEGATIVE_INFINITY;
  /** When the first of the messages that this pass put off alone is due again. */
  let putOffUntil = Number.POSITIVE_INFINITY;

  /** Releases a group; of one that the store does not take, each message alone, so that a bad one holds up no other. */
  const releaseGroup = async (due: readonly ScheduledRead[], isWaiting: boolean): Promise<Map<string, Lane>> => {
    try {
      return await release(due, isWaiting);
    } catch (error) {
      if (error instanceof Failure || due.length === 1) throw error;
    }
    let failed: unknown;
    const full = new Map<string, Lane>();
    for (const each of due) {
      try {
        for (const [text, lane] of await release([each], isWaiting)) full.set(text, lane);
      } catch (error) {
        failed = error;
      }
    }
    for (const [text, lane] of full) lanes.set(text, lane);
    throw failed ?? new Error("Messages that could not be released together were released one by one.");
  };

  /** Decides some that are due; resolves with the lanes that are full. `isWaiting`: they stand in lanes already. */
  const release = async (due: readonly ScheduledRead[], isWaiting: boolean): Promise<Map<string, Lane>> => {
    for (const { organizationId, messagingProfileId } of due) {
      if (pools.peek(organizationId, messagingProfileId) !== undefined) continue;
      await pools.load(organizationId, messagingProfileId);
      // Each may be of another pool, and a large one takes a while to load.
      await new Promise((resolve) => setImmediate(resolve));
    }
    let booked: Booked[] = [];
    let queued = new Map<string, number>();
    let full = new Map<string, Lane>();
    let retryAt = Number.POSITIVE_INFINITY;
    try {
      await store.releaseScheduled(due, (facts, occupied) => {
        undoAll(booked);
        for (const id of occupied) {
          for (const { organizationId, messagingProfileId } of due) {
            const pool = pools.peek(organizationId, messagingProfileId)?.pool;
            if (pool !== undefined) noteUnreported(pool, id);
          }
        }
        booked = [];
        queued = new Map();
        full = new Map();
        retryAt = Number.POSITIVE_INFINITY;
        const now = clock();
        const trials: string[] = [];
        const written: Written[] = [];
        const mappings = new Map<string, StickyMapping>();
        for (const fact of facts) {
          const { message } = fact;
          const lane = laneText(message);
          const recipient = `${message.messagingProfileId} ${message.to}`;
          const known = { ...fact.recipient, mapping: mappings.get(recipient) ?? fact.recipient.mapping };
          const live = pools.peek(message.organizationId, message.messagingProfileId);
          const one = full.has(lane) ? undefined : decideOne({ message, recipient: known }, live, now, parts);
          if (one?.kind === "laneFull") full.set(lane, { lane: laneOf(message), retryAt: one.fullUntil });
          if (one === undefined || one.kind === "laneFull") {
            if (!isWaiting) written.push({ message, at: now, retryAt: undefined });
            continue;
          }
          written.push(one.written);
          retryAt = Math.min(retryAt, one.written.retryAt ?? retryAt);
          if (one.kind === "written") continue;
          const { booked: charged, sender, mapping, isTrial } = one.decided;
          booked.push(charged);
          if (isTrial) trials.push(sender.phoneNumberId);
          queued.set(sender.phoneNumberId, (queued.get(sender.phoneNumberId) ?? 0) + message.parts);
          if (mapping !== undefined) mappings.set(recipient, mapping);
        }
        return { ...changesOfReleased(written), mappings: [...mappings.values()], trials };
      });
    } catch (error) {
      undoAll(booked);
      throw error;
    }
    confirmAll(booked);
    if (queued.size > 0) parts.onAccepted(queued);
    putOffUntil = Math.min(putOffUntil, retryAt);
    return full;
  };

  /** Reads a page of the lanes in which messages wait: from before this process started, or from another one. */
  const findLanes = async (now: number) => {
    if (lanesPage === undefined && now - lanesReadAt < LANES_POLL && now >= lanesReadAt) return;
    if (lanesPage === undefined) lanesReadAt = now;
    const page = await store.listWaitingLanes(LANES_PAGE, lanesPage);
    lanesPage = page.length < LANES_PAGE ? undefined : page.at(-1);
    for (const lane of page) {
      const text = laneText(lane);
      if (!lanes.has(text)) lanes.set(text, { lane, retryAt: now });
    }
  };

  /** Tries the first messages of some lanes that may have room. */
  const tryLanes = async (now: number) => {
    const due: Lane[] = [];
    for (const each of lanes.values()) {
      // A moment further ahead was planned before the clock was set back.
      if (each.retryAt <= now || each.retryAt > now + MAX_RETRY) due.push(each);
      if (due.length === LANES_AT_ONCE) break;
    }
    if (due.length === 0) return;
    const most = Math.floor(GROUP / due.length);
    const waiting = await store.listWaitingMessages(
      due.map(({ lane }) => lane),
      most,
    );
    // The next pass takes others first.
    for (const { lane } of due) lanes.delete(laneText(lane));
    const full = await releaseGroup(waiting, true).catch((error) => {
      for (const { lane } of due) lanes.set(laneText(lane), { lane, retryAt: now + MIN_RETRY });
      throw error;
    });
    for (const { lane } of due) {
      const text = laneText(lane);
      const known = full.get(text);
      if (known !== undefined) lanes.set(text, known);
      // There may be more behind those that were read.
      else if (waiting.length >= most) lanes.set(text, { lane, retryAt: now });
    }
  };

  return async () => {
    const now = clock();
    putOffUntil = Number.POSITIVE_INFINITY;
    await findLanes(now);
    await tryLanes(now);
    const { messages, nextAt } = await store.listDueMessages(now, GROUP);
    if (messages.length > 0) {
      for (const [text, lane] of await releaseGroup(messages, false)) lanes.set(text, lane);
    }
    if (messages.length === GROUP || lanesPage !== undefined) return now;
    let next = Math.min(nextAt ?? Number.POSITIVE_INFINITY, putOffUntil);
    for (const { retryAt } of lanes.values()) next = Math.min(next, retryAt);
    return next === Number.POSITIVE_INFINITY ? undefined : next;
  };
}

/** The message as it is after its moment came, its charge and its sticky mapping. */
function decideOne(
  { message, recipient }: ScheduledFacts,
  live: LivePool | undefined,
  now: number,
  { stickyLifetime }: ReleaseParts,
): Decided {
  if (message.validUntil <= now)
    return { kind: "written", written: ended(message, "expired", now, EXPIRED_WITHOUT_ROOM) };
  if (live === undefined) return { kind: "written", written: ended(message, "sending_failed", now, PROFILE_GONE) };
  const named = message.phoneNumberId;
  const from = named === undefined || live.numbers.has(named) ? named : "";
  const decided = decideSend(live, { ...message, from }, recipient, now, stickyLifetime);
  if ("refusal" in decided) return refused(message, decided.refusal, live, now);
  const { sender, decision, waitMs } = decided;
  const waitSeconds = Math.round(waitMs) / 1000;
  // Behind what was accepted in this millisecond, whose ids are newer.
  const queued: Message = { ...message, ...sender, decision, waitSeconds, status: "queued", queuedAt: now + 1 };
  return { kind: "queued", written: { message: queued, at: now, retryAt: undefined }, decided };
}

/** A pool that is merely full has room later; every other refusal is the message's end. */
function refused(message: Message, { reason, detail, retryAfterMs }: Refusal, live: LivePool, now: number): Decided {
  if (reason !== ErrorReason.QUEUE_FULL) {
    return { kind: "written", written: ended(message, "sending_failed", now, { reason, detail }) };
  }
  const wait = Math.min(MAX_RETRY, Math.max(MIN_RETRY, retryAfterMs ?? MIN_RETRY));
  const retryAt = Math.ceil(now + wait);
  // Where there is room for others, one that waits for longer, for its length or its recipient, holds up none of them.
  const isAlone = (retryAfterMs ?? 0) > MAX_RETRY || live.idByPhoneNumber.has(message.to);
  // Queues hold more than the time it has left: it is tried again, ever sooner, until it expires.
  const isDoomed = now + (retryAfterMs ?? 0) >= message.validUntil;
  const hasRoomForOthers = decide(live.pool, { segments: 1, from: message.phoneNumberId }).kind === "pick";
  if ((isAlone || isDoomed) && hasRoomForOthers) {
    const later = isDoomed ? Math.max(retryAt, Math.ceil((now + message.validUntil) / 2)) : retryAt;
    return { kind: "written", written: { message, at: now, retryAt: later } };
  }
  return { kind: "laneFull", fullUntil: retryAt };
}

function ended(message: Message, status: "expired" | "sending_failed", now: number, error: Message["error"]): Written {
  return { message: { ...message, status, completedAt: now, error }, at: now, retryAt: undefined };
}

function laneOf({ organizationId, messagingProfileId, phoneNumberId }: WaitingLane): WaitingLane {
  return { organizationId, messagingProfileId, phoneNumberId };
}

const PROFILE_GONE = {
  reason: ErrorReason.NO_USABLE_NUMBERS,
  detail: "The messaging profile was deleted before the message was due.",
} as const;
