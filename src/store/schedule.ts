import type { Message } from "../domain/message.ts";
import type { Changes } from "../domain/plan/changes.ts";
import type { RecipientFacts } from "../domain/recipient.ts";
import type { Trials } from "./trials.ts";

/** Scheduled messages. */
export type ScheduleStore = {
  /**
   * Scheduled messages that are due at `now`, earliest first, and the time of the next one.
   * Messages that wait for room are absent.
   */
  readonly listDueMessages: (now: number, limit: number) => Promise<DueMessages>;
  /**
   * A page of the lanes in which due messages wait for room, after `after`. Its cost grows with
   * lanes, not with messages.
   */
  readonly listWaitingLanes: (limit: number, after?: WaitingLane) => Promise<WaitingLane[]>;
  /** Messages that wait for room in these lanes, by `send_at`, at most `limit` of each lane. */
  readonly listWaitingMessages: (lanes: readonly WaitingLane[], limit: number) => Promise<ScheduledRead[]>;
  /**
   * Reads those of the named messages that are still scheduled, with the facts of their recipients,
   * has `decide` decide them, and writes its changes, in one transaction. The rules of `accept` for
   * `decide` apply.
   */
  readonly releaseScheduled: (reads: readonly ScheduledRead[], decide: DecideScheduled) => Promise<void>;
};

export type DueMessages = {
  readonly messages: readonly ScheduledRead[];
  /** Undefined: no further message is scheduled. */
  readonly nextAt: number | undefined;
};

/** The identity of a scheduled message. */
export type ScheduledRead = {
  readonly organizationId: string;
  readonly id: string;
  readonly messagingProfileId: string;
};

export type ScheduledFacts = { readonly message: Message; readonly recipient: RecipientFacts };

/**
 * Due messages that wait for room in the pool of one profile, or at one number that their callers
 * named.
 */
export type WaitingLane = {
  readonly organizationId: string;
  readonly messagingProfileId: string;
  /** Undefined: any number of the pool. */
  readonly phoneNumberId: string | undefined;
};

/** Decides scheduled messages; runs again when numbers on trial that it picked are occupied. */
export type DecideScheduled = (facts: readonly ScheduledFacts[], occupied: readonly string[]) => Changes & Trials;

/** A lane as a string, by which lanes are ordered. */
export function laneText({ organizationId, messagingProfileId, phoneNumberId = "" }: WaitingLane): string {
  return `${organizationId} ${messagingProfileId} ${phoneNumberId}`;
}
