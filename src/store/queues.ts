import type { AppliedReport } from "../domain/carrier-report.ts";
import type { Claim, ClaimRequest } from "../domain/plan/claims.ts";

/** A number with queued messages, and the moment of its next claim. */
export type QueuedNumber = { readonly phoneNumberId: string; readonly dueAt: number };

/** The queues of numbers. */
export type QueueStore = {
  /** The count of queued messages, and the id of the one that was accepted first. */
  readonly measureQueue: () => Promise<{ readonly messages: number; readonly oldestId: string | undefined }>;
  /** Numbers with queued messages, by id after `after`, at most `limit`. */
  readonly listQueues: (limit: number, after?: string) => Promise<QueuedNumber[]>;
  /**
   * Claims from the queues of numbers that are due, oldest message first, what `domain/pace.ts`
   * allows. Marks each claimed message `sending` with `owner` and the carrier of the number, and
   * sets when the number is due again. Gives no message of a paused number, of a number that is not
   * due, or of a carrier without budget. Messages past their valid_until expire. Queued messages of
   * a removed number become `sending_failed`, at most `MAX_ORPHANS` in one claim.
   */
  readonly claim: (request: ClaimRequest) => Promise<Claim[]>;
  /**
   * Returns messages to their queues that `owner` claimed without knowing it, because the answer to
   * the claim was lost: those that are `sending` and whose ids are not in `underWay`. Call it while
   * no claim runs, until it is settled.
   */
  readonly requeue: (owner: string, underWay: readonly string[], now: number) => Promise<Requeued>;
  /**
   * Expires messages that are queued or scheduled at `now` past their valid_until, earliest first.
   */
  readonly expireMessages: (now: number, limit: number) => Promise<AppliedReport[]>;
};

/** Messages that returned to their queues. */
export type Requeued = {
  /** The numbers of the queues, once for each message. */
  readonly phoneNumberIds: readonly string[];
  /**
   * False while a transaction of this process whose answer was lost may still commit: it may have
   * claimed more.
   */
  readonly isSettled: boolean;
};
