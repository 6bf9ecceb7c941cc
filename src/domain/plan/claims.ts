import type { AppliedReport } from "../carrier-report.ts";
import type { QueuedMessage } from "../message.ts";
import type { Changes, MessageChange, NumberUse, OwnedEvent } from "./changes.ts";
import { ownedEvent } from "./changes.ts";
import { type ClaimPlan, dayOfClaim, maxQueueRows, type Pace, planClaim } from "./claim.ts";
import { EXPIRED_IN_QUEUE, OPTED_OUT_WHILE_QUEUED, planEnd, REMOVED_WHILE_QUEUED } from "./report.ts";

/** A claim of several numbers. */
export type ClaimRequest = {
  readonly now: number;
  /** The process that sends. When it dies, other processes find its messages by this id. */
  readonly owner: string;
  readonly phoneNumberIds: readonly string[];
  /** How many messages each throttled or failing carrier may get; others have no limit. */
  readonly budgets: ReadonlyMap<string, number>;
  /** Delivery is held: every number is treated as paused. */
  readonly isDeliveryHeld?: boolean;
};

/** The claim of one number. */
export type Claim = {
  readonly phoneNumberId: string;
  /** The number's carrier; undefined: the number was removed. */
  readonly carrier: string | undefined;
  readonly messages: readonly QueuedMessage[];
  /** Only the carrier's budget keeps messages waiting. */
  readonly waitsForCarrier: boolean;
  /** The messages that the claim ended. */
  readonly expired: readonly AppliedReport[];
  /**
   * When to claim the number again; undefined: its queue is empty, or it was removed. A claim of a
   * paused number only ends messages.
   */
  readonly dueAt: number | undefined;
  /** When its rate lets it send again; Infinity: not before its configuration changes. */
  readonly freeAt: number;
};

/** The facts that a claim needs. */
export type ClaimFacts = {
  /** The numbers of the claim that exist. */
  readonly known: ReadonlyMap<string, { readonly carrier: string; readonly dueAt: number }>;
  /** The claimable numbers among them that this transaction has locked. */
  readonly paces: ReadonlyMap<string, Pace>;
  /** The heads of their queues, and of the queues of removed numbers, oldest first. */
  readonly queues: ReadonlyMap<string, readonly QueuedMessage[]>;
  /** How many messages the store reads at most of each removed number. */
  readonly maxOrphans: number;
  readonly isOptedOut: (message: QueuedMessage) => boolean;
  /** When a number's first deferred message is due; undefined: it has none. */
  readonly nextDeferredAt: (phoneNumberId: string) => number | undefined;
  /** When to claim a number again that another process has locked. */
  readonly occupiedRetryAt: number;
};

/** Plans the claims of numbers, in order. */
export function planClaims(request: ClaimRequest, facts: ClaimFacts): { claims: Claim[]; changes: Changes } {
  const budgets = new Map(request.budgets);
  const changes: ClaimChanges = { changed: [], events: [], uses: [] };
  const claims = request.phoneNumberIds.map((phoneNumberId): Claim => {
    const number = facts.known.get(phoneNumberId);
    if (number === undefined) return endQueue(phoneNumberId, request, facts, changes);
    const pace = facts.paces.get(phoneNumberId);
    if (pace === undefined) {
      const dueAt = number.dueAt > request.now ? number.dueAt : facts.occupiedRetryAt;
      const nothing = { phoneNumberId, messages: [], expired: [], waitsForCarrier: false };
      return { ...nothing, carrier: number.carrier, dueAt, freeAt: dueAt };
    }
    const budget = budgets.get(pace.carrier) ?? Number.POSITIVE_INFINITY;
    // Earlier numbers of the claim may have used the carrier's budget since the queue was read.
    const queue = (facts.queues.get(phoneNumberId) ?? []).slice(0, maxQueueRows(pace, budget));
    const plan = planClaim(pace, queue, request.now, budget, facts.isOptedOut);
    budgets.set(pace.carrier, budget - plan.send.length);
    return claimOne(phoneNumberId, pace, plan, request, facts, changes);
  });
  return { claims, changes };
}

type ClaimChanges = { changed: MessageChange[]; events: OwnedEvent[]; uses: NumberUse[] };

function claimOne(
  phoneNumberId: string,
  pace: Pace,
  { send, expire, optedOut, setDueAt, next, freeAt, waitsForCarrier }: ClaimPlan,
  { now, owner }: ClaimRequest,
  facts: ClaimFacts,
  changes: ClaimChanges,
): Claim {
  const { carrier } = pace;
  const expired = [
    ...expire.map((message) => end(message, "expired", now, changes)),
    ...optedOut.map((message) => end(message, "optedOut", now, changes)),
  ];
  for (const { organizationId, id, sentAt, completedAt, error } of send) {
    const progress = { status: "sending", sentAt, completedAt, error } as const;
    changes.changed.push({ organizationId, id, progress, submit: { owner, carrier, at: now } });
    changes.events.push(ownedEvent({ organizationId, id }, "sending", now));
  }
  if (setDueAt !== undefined) {
    const segments = send.reduce((sum, { parts }) => sum + parts, 0);
    const day = dayOfClaim(pace, now);
    changes.uses.push({ phoneNumberId, at: now, dueAt: setDueAt, messages: send.length, segments, day });
  }
  const messages = send.map((message) => ({ ...message, carrier, submits: message.submits + 1 }));
  const claim = { phoneNumberId, carrier, messages, expired, freeAt, waitsForCarrier };
  if (next !== "whenDeferred") return { ...claim, dueAt: next };
  const deferredAt = facts.nextDeferredAt(phoneNumberId);
  return { ...claim, dueAt: deferredAt && Math.max(deferredAt, pace.isPaused ? now : freeAt) };
}

/** Ends the messages of a removed number, deferred ones included. */
function endQueue(phoneNumberId: string, { now }: ClaimRequest, facts: ClaimFacts, changes: ClaimChanges): Claim {
  const queue = facts.queues.get(phoneNumberId) ?? [];
  const expired = queue.map((message) => {
    const isExpired = message.validUntil <= now;
    return end(message, isExpired ? "expired" : facts.isOptedOut(message) ? "optedOut" : "removed", now, changes);
  });
  const dueAt = queue.length === facts.maxOrphans ? now : undefined;
  const nothing = { phoneNumberId, carrier: undefined, messages: [], waitsForCarrier: false };
  return { ...nothing, expired, dueAt, freeAt: Number.POSITIVE_INFINITY };
}

const ENDS = {
  expired: ["expired", EXPIRED_IN_QUEUE],
  optedOut: ["sending_failed", OPTED_OUT_WHILE_QUEUED],
  removed: ["sending_failed", REMOVED_WHILE_QUEUED],
} as const;

function end(message: QueuedMessage, cause: keyof typeof ENDS, now: number, changes: ClaimChanges): AppliedReport {
  const { organizationId, id } = message;
  const [kind, error] = ENDS[cause];
  const { progress, event, applied } = planEnd(message, kind, now, error);
  changes.changed.push({ organizationId, id, progress });
  changes.events.push({ organizationId, event });
  return applied;
}
