import type { AppliedReport } from "../../domain/carrier-report.ts";
import type { Claim } from "../../domain/plan/claims.ts";
import { advance } from "../../domain/pool/advance.ts";
import {
  bookClaim,
  bookOutcome,
  bookQueue,
  bookQueued,
  numbersOnTrial,
  setUnreported,
} from "../../domain/pool/book.ts";
import type { PeerUpdates, QueuedSegments } from "../../store/processes.ts";
import type { Store } from "../../store/store.ts";
import { type Backlog, createBacklog } from "./backlog.ts";
import { type LivePool, type LivePools, openLivePools } from "./live-pools.ts";

/**
 * The pools of this process: loaded at first use, and updated by configuration changes, claims and
 * reports.
 */
export type Pools = {
  /** A pool that is in memory. */
  readonly peek: (organizationId: string, profileId: string) => LivePool | undefined;
  /** Loads a pool if it is not in memory; undefined: the organization has no such profile. */
  readonly load: (organizationId: string, profileId: string) => Promise<LivePool | undefined>;
  /** Applies the effects of reports, so that the next decision sees them. */
  readonly book: (applied: readonly AppliedReport[]) => void;
  /** Applies what claims took out of queues. */
  readonly bookClaims: (claims: readonly Claim[]) => void;
  /**
   * Adds the segments that this process put into queues, by number, to its part of the backlog. The
   * decisions have charged the pools already.
   */
  readonly bookAccepted: (segments: ReadonlyMap<string, number>) => void;
  /** Publishes this process's part of the backlog, and applies the updates of the other processes. */
  readonly exchange: (publish: (backlog: readonly QueuedSegments[]) => Promise<PeerUpdates>) => Promise<PeerUpdates>;
  /**
   * Starts a scan of all stored queues. A number that has queued segments in memory, gets none during
   * the scan and is not among the queues found has an empty queue. This corrects what a killed process
   * sent but did not publish.
   */
  readonly startQueueScan: () => QueueScan;
  /** How many numbers the pools in memory exclude as unhealthy. */
  readonly countUnhealthy: () => number;
  readonly close: () => void;
};

/** A scan of all stored queues. */
type QueueScan = { readonly foundQueue: (phoneNumberId: string) => void; readonly finish: () => void };

/** Numbers whose unreported messages are counted again at one exchange: each is a small read. */
const MAX_RECOUNTED = 20;

/**
 * Opens the pools over a store. `clock` gives milliseconds since 1970. Numbers of carriers that are
 * not in `carriers` are excluded; absent: none are.
 */
export function openPools(store: Store, clock: () => number, carriers?: ReadonlySet<string>): Pools {
  const backlog = createBacklog();
  // The others' part begins with what is stored, and then changes by what they publish.
  const live = openLivePools(store, clock, carriers, (id, queuedSegments) => backlog.setQueued(id, queuedSegments));
  const { poolOf } = live;
  let recounted = 0;

  const book = (applied: readonly AppliedReport[]) => {
    for (const { phoneNumberId, health, reported, queuedSegments, followed } of applied) {
      if (phoneNumberId === undefined) continue;
      if (queuedSegments !== 0) backlog.add(phoneNumberId, queuedSegments);
      const pool = poolOf(phoneNumberId);
      if (pool !== undefined) {
        bookOutcome(pool, phoneNumberId, health, reported);
        bookQueue(pool, phoneNumberId, queuedSegments, queuedSegments < 0);
      }
      book(followed);
    }
  };

  /** Counts the unreported messages of numbers on trial again, a few at a time: other processes store reports, too. */
  const recount = async () => {
    const onTrial = [...live.all()].flatMap(({ pool }) => numbersOnTrial(pool));
    // The next exchange continues behind these.
    const from = onTrial.length === 0 ? 0 : recounted % onTrial.length;
    const some = [...onTrial.slice(from), ...onTrial.slice(0, from)].slice(0, MAX_RECOUNTED);
    recounted = from + some.length;
    for (const id of some) {
      const row = await store.loadPoolNumber(id);
      const pool = poolOf(id);
      if (row !== undefined && pool !== undefined) setUnreported(pool, id, row.traffic.unreported);
    }
  };

  return {
    peek: live.peek,
    load: live.load,
    book,
    bookClaims: (claims) => {
      for (const { phoneNumberId, carrier, messages, expired, dueAt, freeAt } of claims) {
        book(expired);
        const segments = messages.reduce((sum, { parts }) => sum + parts, 0);
        if (segments > 0) backlog.add(phoneNumberId, -segments);
        const pool = poolOf(phoneNumberId);
        const isEmpty = carrier !== undefined && dueAt === undefined;
        // The queue is empty now, so the other processes' part is the opposite of the own one.
        if (isEmpty) backlog.setQueued(phoneNumberId, 0);
        if (pool !== undefined) bookClaim(pool, phoneNumberId, segments, freeAt, isEmpty);
      }
    },
    bookAccepted: (segments) => {
      for (const [phoneNumberId, count] of segments) backlog.add(phoneNumberId, count);
    },
    exchange: async (publish) => {
      const peerUpdates = await backlog.publish(publish);
      for (const { phoneNumberId, segments } of peerUpdates.backlog) {
        const queued = backlog.setOthers(phoneNumberId, segments);
        const pool = poolOf(phoneNumberId);
        if (pool !== undefined) bookQueued(pool, phoneNumberId, queued);
      }
      for (const { phoneNumberId, health } of peerUpdates.health) {
        const pool = poolOf(phoneNumberId);
        if (pool !== undefined) bookOutcome(pool, phoneNumberId, health, 0);
      }
      book(peerUpdates.settled);
      await recount();
      return peerUpdates;
    },
    startQueueScan: () => startQueueScan(live, backlog),
    countUnhealthy: () => {
      let count = 0;
      for (const { pool } of live.all()) {
        // Health recovers with time, and a pool without sends does not advance by itself.
        advance(pool, clock());
        count += pool.excluded.unhealthy;
      }
      return count;
    },
    close: live.close,
  };
}

/** Compares the queues in memory with the stored ones: see `Pools`. */
function startQueueScan(live: LivePools, backlog: Backlog): QueueScan {
  const before = new Map<string, number>();
  for (const { pool } of live.all()) {
    for (const [id, slot] of pool.byId) {
      const known = pool.slots[slot];
      if (known !== undefined && known.queuedSegments > 0) before.set(id, known.stay.arrivals);
    }
  }
  return {
    foundQueue: (phoneNumberId) => before.delete(phoneNumberId),
    finish: () => {
      for (const [id, arrivals] of before) {
        const pool = live.poolOf(id);
        const slot = pool?.byId.get(id);
        const known = slot === undefined ? undefined : pool?.slots[slot];
        if (pool === undefined || known?.stay.arrivals !== arrivals) continue;
        backlog.setQueued(id, 0);
        bookQueued(pool, id, 0);
      }
    },
  };
}
