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
import { createBacklog } from "./backlog.ts";
import { type LivePool, type LivePools, openLivePools } from "./live-pools.ts";

/** The pools of this process: loaded when first asked for, kept fresh by the store's changes and the reports that are booked here. */
export type Pools = {
  /** A pool that is in memory already. */
  readonly peek: (organizationId: string, profileId: string) => LivePool | undefined;
  /** Undefined when the organization has no such profile. */
  readonly load: (organizationId: string, profileId: string) => Promise<LivePool | undefined>;
  /** Lets what reports did count for the very next decision. */
  readonly book: (applied: readonly AppliedReport[]) => void;
  /** Takes in what claims took out of queues. */
  readonly bookClaims: (claims: readonly Claim[]) => void;
  /** Notes the segments that this process put into numbers' queues, by number. The pools were charged for them when they were decided. */
  readonly bookAccepted: (segments: ReadonlyMap<string, number>) => void;
  /** Hands over what changed in this process' contribution to queues, and takes in what changed elsewhere. */
  readonly exchange: (hand: (backlog: readonly QueuedSegments[]) => Promise<PeerUpdates>) => Promise<PeerUpdates>;
  /**
   * Begins a look at all queues: numbers that are thought to have something queued, get nothing meanwhile and are not seen by
   * `finish` have an empty queue. So what a process that was killed had sent without telling does not count for ever.
   */
  readonly lookAtQueues: () => { readonly see: (phoneNumberId: string) => void; readonly finish: () => void };
  /** How many numbers the pools in memory leave out as unhealthy. */
  readonly countUnhealthy: () => number;
  readonly close: () => void;
};

/** Numbers whose unreported messages are counted anew at one exchange: each is a small read. */
const MAX_RECOUNTED = 20;

/**
 * Opens the pools over a store. `clock` gives milliseconds since 1970, `carriers` are those that are configured: numbers of others are
 * left out. Absent: every carrier is.
 */
export function openPools(store: Store, clock: () => number, carriers?: ReadonlySet<string>): Pools {
  const backlog = createBacklog();
  // From here on the others' part changes by what they report. It begins with what they have queued, reported or not.
  const live = openLivePools(store, clock, carriers, (id, queuedSegments) => backlog.see(id, queuedSegments));
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

  /** What numbers on trial still owe a report for, which other processes may have booked: read anew, a few at a time. */
  const recount = async () => {
    const onTrial = [...live.all()].flatMap(({ pool }) => numbersOnTrial(pool));
    // Where there are many, each has its turn.
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
        // What others tell from now on is measured against this moment, at which there is nothing.
        if (isEmpty) backlog.see(phoneNumberId, 0);
        if (pool !== undefined) bookClaim(pool, phoneNumberId, segments, freeAt, isEmpty);
      }
    },
    bookAccepted: (segments) => {
      for (const [phoneNumberId, count] of segments) backlog.add(phoneNumberId, count);
    },
    exchange: async (hand) => {
      const peerUpdates = await backlog.hand(hand);
      for (const { phoneNumberId, segments } of peerUpdates.backlog) {
        const queued = backlog.learn(phoneNumberId, segments);
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
    lookAtQueues: () => lookAtQueues(live, backlog),
    countUnhealthy: () => {
      let count = 0;
      for (const { pool } of live.all()) {
        // Health returns with time alone, and a pool without sends does not notice.
        advance(pool, clock());
        count += pool.excluded.unhealthy;
      }
      return count;
    },
    close: live.close,
  };
}

/** Compares the queues in memory with a look at all stored queues: see `Pools`. */
function lookAtQueues(live: LivePools, backlog: ReturnType<typeof createBacklog>): ReturnType<Pools["lookAtQueues"]> {
  const before = new Map<string, number>();
  for (const { pool } of live.all()) {
    for (const [id, slot] of pool.byId) {
      const known = pool.slots[slot];
      if (known !== undefined && known.queuedSegments > 0) before.set(id, known.stay.arrivals);
    }
  }
  return {
    see: (phoneNumberId) => before.delete(phoneNumberId),
    finish: () => {
      for (const [id, arrivals] of before) {
        const pool = live.poolOf(id);
        const slot = pool?.byId.get(id);
        const known = slot === undefined ? undefined : pool?.slots[slot];
        if (pool === undefined || known?.stay.arrivals !== arrivals) continue;
        backlog.see(id, 0);
        bookQueued(pool, id, 0);
      }
    },
  };
}
