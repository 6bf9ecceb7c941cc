import { Failure } from "../../domain/failure.ts";
import { noteUnreported } from "../../domain/pool/book.ts";
import { laneText, type ScheduledRead } from "../../store/schedule.ts";
import type { Store } from "../../store/store.ts";
import type { Pools } from "../pools/pools.ts";
import { decideReleased, type Lane, MIN_RETRY_MS, type ReleasedGroup } from "./decide-released.ts";
import { Lanes } from "./lanes.ts";

/** The dependencies of the release. */
export type ReleaseParts = {
  readonly store: Store;
  readonly pools: Pools;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  /** How long a sticky mapping lives after its last message. */
  readonly stickyLifetimeMs: number;
  /** Receives the segments added to each number's queue, by number id, once they are on disk. */
  readonly onAccepted: (segments: ReadonlyMap<string, number>) => void;
};

/** Runs one bounded pass over due messages; resolves with the time of the next one, if known. */
export type ScheduledRelease = () => Promise<number | undefined>;

/** Messages in one transaction: a few milliseconds of work. */
const MAX_GROUP_MESSAGES = 100;
/** Full lanes retried in one pass; each gets an equal part of MAX_GROUP_MESSAGES. */
const MAX_PASS_LANES = 10;

/**
 * Picks the senders of scheduled messages when they are due, as if they were sent at that moment. A
 * message whose pool is full waits in a lane, in order. Only the head of a full lane is read, and
 * not before it may have room.
 */
export function createScheduledRelease(parts: ReleaseParts): ScheduledRelease {
  const { store, pools, clock } = parts;
  const lanes = new Lanes();
  /** When the first message that this pass deferred individually is retried. */
  let deferredUntil = Number.POSITIVE_INFINITY;

  /** Releases a group; if the store rejects it, releases each message alone. */
  const releaseGroup = async (
    due: readonly ScheduledRead[],
    isWaiting: boolean,
  ): Promise<ReadonlyMap<string, Lane>> => {
    try {
      return await release(due, isWaiting);
    } catch (error) {
      if (error instanceof Failure || due.length === 1) throw error;
    }
    let failed: unknown;
    const full = new Map<string, Lane>();
    for (const one of due) {
      try {
        for (const [text, lane] of await release([one], isWaiting)) full.set(text, lane);
      } catch (error) {
        failed = error;
      }
    }
    for (const lane of full.values()) lanes.put(lane);
    throw failed ?? new Error("The release of a group failed, but each of its messages was released alone.");
  };

  /** Decides due messages; resolves with the full lanes. `isWaiting`: they wait in lanes. */
  const release = async (due: readonly ScheduledRead[], isWaiting: boolean): Promise<ReadonlyMap<string, Lane>> => {
    for (const { organizationId, messagingProfileId } of due) {
      if (pools.peek(organizationId, messagingProfileId) !== undefined) continue;
      await pools.load(organizationId, messagingProfileId);
      // Each message may need another pool, and a large pool takes long to load.
      await new Promise((resolve) => setImmediate(resolve));
    }
    let group: ReleasedGroup | undefined;
    try {
      await store.releaseScheduled(due, (facts, occupied) => {
        group?.decisions.undo();
        for (const id of occupied) {
          for (const { organizationId, messagingProfileId } of due) {
            const pool = pools.peek(organizationId, messagingProfileId)?.pool;
            if (pool !== undefined) noteUnreported(pool, id);
          }
        }
        group = decideReleased(facts, isWaiting, parts);
        return group.changes;
      });
    } catch (error) {
      group?.decisions.undo();
      throw error;
    }
    const { decisions, full, retryAt } = group as ReleasedGroup;
    decisions.confirm();
    if (decisions.queued.size > 0) parts.onAccepted(decisions.queued);
    deferredUntil = Math.min(deferredUntil, retryAt);
    return full;
  };

  /** Retries the first messages of some lanes that may have room. */
  const tryLanes = async (now: number) => {
    const due = lanes.takeDue(now, MAX_PASS_LANES);
    if (due.length === 0) return;
    const limit = Math.floor(MAX_GROUP_MESSAGES / due.length);
    try {
      const waiting = await store.listWaitingMessages(
        due.map(({ lane }) => lane),
        limit,
      );
      const full = await releaseGroup(waiting, true);
      for (const { lane } of due) {
        const fullLane = full.get(laneText(lane));
        if (fullLane !== undefined) lanes.put(fullLane);
        // More messages may follow those that were read.
        else if (waiting.length >= limit) lanes.put({ lane, retryAt: now });
      }
    } catch (error) {
      for (const { lane } of due) lanes.put({ lane, retryAt: now + MIN_RETRY_MS });
      throw error;
    }
  };

  return async () => {
    const now = clock();
    deferredUntil = Number.POSITIVE_INFINITY;
    await lanes.read(store, now);
    await tryLanes(now);
    const { messages, nextAt } = await store.listDueMessages(now, MAX_GROUP_MESSAGES);
    if (messages.length > 0) {
      for (const lane of (await releaseGroup(messages, false)).values()) lanes.put(lane);
    }
    if (messages.length === MAX_GROUP_MESSAGES || lanes.isReading) return now;
    const next = Math.min(nextAt ?? Number.POSITIVE_INFINITY, deferredUntil, lanes.nextAt);
    return next === Number.POSITIVE_INFINITY ? undefined : next;
  };
}
