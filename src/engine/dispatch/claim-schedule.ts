import type { Claim } from "../../domain/plan/claims.ts";
import type { QueuedNumber } from "../../store/queues.ts";
import { createBlockedNumbers } from "./blocked-numbers.ts";
import type { CircuitBreakers } from "./circuit-breakers.ts";
import { createDueQueue } from "./due-queue.ts";

/** The numbers with queued messages, and the moment when each can be claimed next. */
export type ClaimSchedule = {
  /** Adds numbers with new messages: due now, or when their pace allows. */
  readonly addWoken: (phoneNumberIds: Iterable<string>, now: number) => void;
  /** Adds a queue that a scan found. */
  readonly addFound: (queue: QueuedNumber) => void;
  /** Adds a number that is due at a moment. */
  readonly addDue: (phoneNumberId: string, at: number) => void;
  /** Forgets the pace of a number whose configuration changed. */
  readonly forgetPace: (phoneNumberId: string) => void;
  /** Adds a number as its last claim left it. */
  readonly addClaimed: (claim: Claim) => void;
  /** Takes out at most `max` numbers that are due, and blocked numbers whose carrier has a budget. */
  readonly takeDue: (now: number, max: number) => string[];
  /** Makes every blocked number due, so that its expired messages end. */
  readonly unblockAll: (now: number) => void;
  /** Milliseconds until a number is due; Infinity: none will be. */
  readonly waitMs: (now: number) => number;
  readonly clear: () => void;
};

/** Creates an empty schedule. */
export function createClaimSchedule(breakers: CircuitBreakers): ClaimSchedule {
  const due = createDueQueue();
  const blocked = createBlockedNumbers();
  // A claim before a number's pace allows a message would write to disk for nothing.
  const freeAt = new Map<string, number>();

  const unblock = (carrier: string, max: number, now: number) => {
    for (const id of blocked.take(carrier, max)) due.put(id, now);
  };

  return {
    addWoken: (phoneNumberIds, now) => {
      for (const id of phoneNumberIds) due.put(id, Math.max(now, freeAt.get(id) ?? now));
    },
    addFound: ({ phoneNumberId, dueAt }) => {
      // The wait for a daily limit is not in the store: without it, each scan would claim in vain.
      const free = freeAt.get(phoneNumberId) ?? dueAt;
      due.put(phoneNumberId, Number.isFinite(free) ? Math.max(dueAt, free) : dueAt);
    },
    addDue: due.put,
    forgetPace: (phoneNumberId) => freeAt.delete(phoneNumberId),
    addClaimed: ({ phoneNumberId, carrier, waitsForCarrier, dueAt, freeAt: free }) => {
      if (carrier === undefined) freeAt.delete(phoneNumberId);
      else freeAt.set(phoneNumberId, free);
      if (waitsForCarrier && carrier !== undefined) blocked.put(carrier, phoneNumberId);
      else if (dueAt !== undefined) due.put(phoneNumberId, dueAt);
    },
    takeDue: (now, max) => {
      for (const carrier of blocked.carriers()) unblock(carrier, Math.min(max, breakers.budget(carrier)), now);
      return due.takeDue(now, max);
    },
    unblockAll: (now) => {
      for (const carrier of blocked.carriers()) unblock(carrier, Number.POSITIVE_INFINITY, now);
    },
    waitMs: (now) => {
      const dueInMs = (due.nextAt() ?? Number.POSITIVE_INFINITY) - now;
      return Math.min(dueInMs, ...[...blocked.carriers()].map(breakers.opensInMs));
    },
    clear: () => {
      due.clear();
      freeAt.clear();
    },
  };
}
