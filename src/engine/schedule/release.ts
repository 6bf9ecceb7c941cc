import { Failure } from "../../domain/failure.ts";
import { noteUnreported } from "../../domain/pool/book.ts";
import { laneText, type ScheduledRead } from "../../store/schedule.ts";
import type { Store } from "../../store/store.ts";
import type { Pools } from "../pools/pools.ts";
import { decideReleased, type Lane, MIN_RETRY_MS, type ReleasedGroup } from "./decide-released.ts";
import { Lanes } from "./lanes.ts";

/** What the release is made from. */
export type ReleaseParts = {
  readonly store: Store;
  readonly pools: Pools;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  /** How long a sticky mapping lives, milliseconds. */
  readonly stickyLifetimeMs: number;
  /** Gets the segments that came into numbers' queues, by number, once they are on disk. */
  readonly onAccepted: (segments: ReadonlyMap<string, number>) => void;
};

/** One bounded pass over scheduled messages that are due; resolves with the moment of the next pass, undefined for none that is known. */
export type ScheduledRelease = () => Promise<number | undefined>;

/** Messages in one transaction: a few milliseconds. */
const GROUP = 100;
/** Full lanes that are tried in one pass; each gets an equal part of GROUP. */
const LANES_AT_ONCE = 10;

/**
 * Picks the senders of scheduled messages as they become due, as if they had been sent just then. What finds its pool full waits in
 * a lane, in order, and is not read again before there may be room: of a full lane only the first messages are ever read.
 */
export function createScheduledRelease(parts: ReleaseParts): ScheduledRelease {
  const { store, pools, clock } = parts;
  const lanes = new Lanes();
  /** When the first of the messages that this pass put off alone is due again. */
  let putOffUntil = Number.POSITIVE_INFINITY;

  /** Releases a group; of one that the store does not take, each message alone, so that a bad one holds up no other. */
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
    for (const each of due) {
      try {
        for (const [text, lane] of await release([each], isWaiting)) full.set(text, lane);
      } catch (error) {
        failed = error;
      }
    }
    for (const lane of full.values()) lanes.put(lane);
    throw failed ?? new Error("Messages that could not be released together were released one by one.");
  };

  /** Decides some that are due; resolves with the lanes that are full. `isWaiting`: they stand in lanes already. */
  const release = async (due: readonly ScheduledRead[], isWaiting: boolean): Promise<ReadonlyMap<string, Lane>> => {
    for (const { organizationId, messagingProfileId } of due) {
      if (pools.peek(organizationId, messagingProfileId) !== undefined) continue;
      await pools.load(organizationId, messagingProfileId);
      // Each may be of another pool, and a large one takes a while to load.
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
    putOffUntil = Math.min(putOffUntil, retryAt);
    return full;
  };

  /** Tries the first messages of some lanes that may have room. */
  const tryLanes = async (now: number) => {
    const due = lanes.takeDue(now, LANES_AT_ONCE);
    if (due.length === 0) return;
    const limit = Math.floor(GROUP / due.length);
    try {
      const waiting = await store.listWaitingMessages(
        due.map(({ lane }) => lane),
        limit,
      );
      const full = await releaseGroup(waiting, true);
      for (const { lane } of due) {
        const known = full.get(laneText(lane));
        if (known !== undefined) lanes.put(known);
        // There may be more behind those that were read.
        else if (waiting.length >= limit) lanes.put({ lane, retryAt: now });
      }
    } catch (error) {
      for (const { lane } of due) lanes.put({ lane, retryAt: now + MIN_RETRY_MS });
      throw error;
    }
  };

  return async () => {
    const now = clock();
    putOffUntil = Number.POSITIVE_INFINITY;
    await lanes.read(store, now);
    await tryLanes(now);
    const { messages, nextAt } = await store.listDueMessages(now, GROUP);
    if (messages.length > 0) {
      for (const lane of (await releaseGroup(messages, false)).values()) lanes.put(lane);
    }
    if (messages.length === GROUP || lanes.isReading) return now;
    const next = Math.min(nextAt ?? Number.POSITIVE_INFINITY, putOffUntil, lanes.nextAt);
    return next === Number.POSITIVE_INFINITY ? undefined : next;
  };
}
