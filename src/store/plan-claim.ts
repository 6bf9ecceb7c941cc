import type { QueuedMessage } from "../domain/message.ts";
import { mostReleased, release } from "../domain/pace.ts";

/** What a claim must know of a number. */
export type Pace = {
  readonly carrier: string;
  readonly messagesPerSecond: number;
  readonly isPaused: boolean;
  /** When it may be claimed. */
  readonly dueAt: number;
};

/** Messages of a number that is gone which one claim ends. */
export const MOST_LEFT_BEHIND = 100;

/** What a claim of one number does, for any store to write. */
export type ClaimPlan = {
  /** To be handed over, oldest first. */
  readonly send: readonly QueuedMessage[];
  /** Their time ran out. */
  readonly expire: readonly QueuedMessage[];
  /** The number's new `dueAt`; undefined: as it was. */
  readonly setDueAt: number | undefined;
  /** When to look at it again; "whenDeferred": when the first of the messages that were put off may be tried again, if there are any. */
  readonly next: number | "whenDeferred";
  readonly freeAt: number;
  readonly isHeld: boolean;
};

/** How many messages of a queue a claim looks at: one more than can be released, to know whether anything is left. */
export function mostLookedAt(pace: Pace, budget: number): number {
  return Math.min(mostReleased(pace.messagesPerSecond), budget) + 1;
}

/** Whether a claim does anything at a moment. A paused number is looked at for what expires. */
export function isClaimable(pace: Pace, now: number): boolean {
  return pace.isPaused || pace.dueAt <= now;
}

/**
 * Plans the claim of a number that is claimable. `queue` holds what may be tried now, oldest first, up to `mostLookedAt`; `budget` is
 * how many messages its carrier may be given.
 */
export function planClaim(pace: Pace, queue: readonly QueuedMessage[], now: number, budget: number): ClaimPlan {
  const expire = queue.filter((message) => message.validUntil <= now);
  const waiting = expire.length === 0 ? queue : queue.filter((message) => message.validUntil > now);
  if (pace.isPaused) {
    const soonest = Math.min(...waiting.map((message) => message.validUntil));
    const next = expire.length > 0 ? now : waiting.length > 0 ? soonest : "whenDeferred";
    return { send: [], expire, setDueAt: undefined, next, freeAt: Number.POSITIVE_INFINITY, isHeld: false };
  }
  const allowed = waiting.slice(0, budget).map((message) => message.parts);
  const released = release(allowed, pace.dueAt, now, pace.messagesPerSecond);
  const send = waiting.slice(0, released.count);
  const setDueAt = send.length > 0 ? released.dueAt : undefined;
  const freeAt = setDueAt ?? pace.dueAt;
  const isHeld = send.length === budget && waiting.length > send.length;
  // Behind late messages there may be more than were looked at.
  const next = queue.length > send.length ? freeAt : "whenDeferred";
  return { send, expire, setDueAt, next, freeAt, isHeld };
}
