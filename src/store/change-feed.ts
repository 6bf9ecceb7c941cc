import { setImmediate } from "node:timers/promises";
import type { ConfigurationChange } from "./configuration-changes.ts";

/** A change with its position in the order of all changes. */
export type SequencedChange = { readonly sequence: number; readonly change: ConfigurationChange };

/**
 * Passes configuration changes on to listeners, to each at its own pace: a slow or failing listener
 * delays no other.
 */
export type ChangeFeed = {
  /** Passes on the changes that commit after this call. Returns how to stop. */
  readonly listen: (listener: (change: ConfigurationChange) => Promise<void>) => () => void;
  /**
   * Resolves when every listener has every change that was committed before this call. Rejects when
   * a listener failed, after all others have theirs; the next call continues with the change that
   * failed.
   */
  readonly deliver: () => Promise<void>;
};

/** The most changes of one read. */
const PAGE = 1_000;
/** Changes that a listener gets before other work runs: a few milliseconds. */
const MAX_AT_ONCE = 50;

type Follower = {
  readonly listener: (change: ConfigurationChange) => Promise<void>;
  /** The sequence of its latest change. */
  sequence: number;
  /** The delivery in progress, or the latest one. */
  current: Promise<void>;
  /** A delivery that has not started. */
  next: Promise<void> | undefined;
};

/**
 * A feed of the changes after `start`. `read` gives changes after a sequence, in order, at most
 * `limit`.
 */
export function createChangeFeed(
  read: (after: number, limit: number) => Promise<SequencedChange[]>,
  start: number,
): ChangeFeed {
  const follower = (listener: Follower["listener"], sequence: number): Follower => ({
    listener,
    sequence,
    current: Promise.resolve(),
    next: undefined,
  });
  // Follows the changes without a listener: a new listener starts where this one is.
  const head = follower(async () => {}, start);
  const followers = new Set([head]);

  const passOn = async (to: Follower) => {
    for (;;) {
      const changes = await read(to.sequence, PAGE);
      for (const [index, { sequence, change }] of changes.entries()) {
        // An import makes thousands of changes; sends must not wait for all of them.
        if (index % MAX_AT_ONCE === MAX_AT_ONCE - 1) await setImmediate();
        if (!followers.has(to)) return;
        await to.listener(change);
        to.sequence = sequence;
      }
      if (changes.length < PAGE) return;
    }
  };

  /**
   * One at a time for each listener. A delivery that has not started reads the changes of this
   * caller too.
   */
  const deliverTo = (to: Follower): Promise<void> => {
    to.next ??= to.current
      .catch(() => {})
      .then(() => {
        to.current = to.next as Promise<void>;
        to.next = undefined;
        return passOn(to);
      });
    return to.next;
  };

  return {
    listen: (listener) => {
      const added = follower(listener, head.sequence);
      followers.add(added);
      return () => followers.delete(added);
    },
    deliver: async () => {
      const outcomes = await Promise.allSettled([...followers].map(deliverTo));
      for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
    },
  };
}
