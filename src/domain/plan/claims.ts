import type { AppliedReport } from "../carrier-report.ts";
import type { QueuedMessage } from "../message.ts";
import type { Changes, MessageChange, NumberUse, OwnedEvent } from "./changes.ts";
import { ownedEvent } from "./changes.ts";
import { type ClaimPlan, dayOfClaim, maxQueueRows, type Pace, planClaim } from "./claim.ts";
import { EXPIRED_IN_QUEUE, OPTED_OUT_MEANWHILE, planEnd, REMOVED_MEANWHILE } from "./report.ts";

export type ClaimRequest = {
  readonly now: number;
  /** The process that sends; its messages are found by it when it is gone. */
  readonly owner: string;
  readonly phoneNumberIds: readonly string[];
  /** How many messages throttled or broken carriers may get in this claim; others get what is there. */
  readonly budgets: ReadonlyMap<string, number>;
  /** Delivery is held: every number counts as paused, so messages expire and none is sent. */
  readonly isDeliveryHeld?: boolean;
};

/** What a claim took from one number. */
export type Claim = {
  readonly phoneNumberId: string;
  /** The number's carrier; undefined: the number is gone. */
  readonly carrier: string | undefined;
  readonly messages: readonly QueuedMessage[];
  /** Messages wait only for their carrier. */
  readonly waitsForCarrier: boolean;
  /** What the claim did to messages that it ended. */
  readonly expired: readonly AppliedReport[];
  /** When to claim the number again; undefined: its queue is empty, or it is gone. A paused one is claimed for what expires. */
  readonly dueAt: number | undefined;
  /** When its pace lets it send again. Infinity: not before its configuration changes. */
  readonly freeAt: number;
};

/** What a claim needs to know. */
export type ClaimFacts = {
  /** The numbers of the claim that exist. */
  readonly known: ReadonlyMap<string, { readonly carrier: string; readonly dueAt: number }>;
  /** Those of them that this claim holds and that are claimable. */
  readonly paces: ReadonlyMap<string, Pace>;
  /** The beginnings of the queues of those, and of numbers that are gone, oldest first. */
  readonly queues: ReadonlyMap<string, readonly QueuedMessage[]>;
  /** How many messages at most were read of each number that is gone. */
  readonly maxOrphans: number;
  readonly isOptedOut: (message: QueuedMessage) => boolean;
  /** When the first message that was put off may be tried again, by number; undefined: none was. */
  readonly nextDeferredAt: (phoneNumberId: string) => number | undefined;
  /** When to look again at a number that another process holds. */
  readonly occupiedRetryAt: number;
};

/** Plans the claims of numbers, in order. */
export function planClaims(request: ClaimRequest, facts: ClaimFacts): { claims: Claim[]; changes: Changes } {
  const budgets = new Map(request.budgets);
  const writes = { changed: [], events: [], uses: [] } as Writes;
  const claims = request.phoneNumberIds.map((phoneNumberId): Claim => {
    const known = facts.known.get(phoneNumberId);
    if (known === undefined) return endQueue(phoneNumberId, request, facts, writes);
    const pace = facts.paces.get(phoneNumberId);
    if (pace === undefined) {
      const dueAt = known.dueAt > request.now ? known.dueAt : facts.occupiedRetryAt;
      const nothing = { phoneNumberId, messages: [], expired: [], waitsForCarrier: false };
      return { ...nothing, carrier: known.carrier, dueAt, freeAt: dueAt };
    }
    const budget = budgets.get(pace.carrier) ?? Number.POSITIVE_INFINITY;
    // Numbers before it may have used up what its carrier takes: then it looks at less than was read.
    const queue = (facts.queues.get(phoneNumberId) ?? []).slice(0, maxQueueRows(pace, budget));
    const plan = planClaim(pace, queue, request.now, budget, facts.isOptedOut);
    budgets.set(pace.carrier, budget - plan.send.length);
    return claimOne(phoneNumberId, pace, plan, request, facts, writes);
  });
  return { claims, changes: writes };
}

type Writes = { changed: MessageChange[]; events: OwnedEvent[]; uses: NumberUse[] };

function claimOne(
  phoneNumberId: string,
  pace: Pace,
  { send, expire, optedOut, setDueAt, next, freeAt, waitsForCarrier }: ClaimPlan,
  { now, owner }: ClaimRequest,
  facts: ClaimFacts,
  writes: Writes,
): Claim {
  const { carrier } = pace;
  const expired = [
    ...expire.map((message) => end(message, "expired", now, writes)),
    ...optedOut.map((message) => end(message, "optedOut", now, writes)),
  ];
  for (const { organizationId, id, sentAt, completedAt, error } of send) {
    const progress = { status: "sending", sentAt, completedAt, error } as const;
    writes.changed.push({ organizationId, id, progress, submit: { owner, carrier, at: now } });
    writes.events.push(ownedEvent({ organizationId, id }, "sending", now));
  }
  if (setDueAt !== undefined) {
    const segments = send.reduce((sum, { parts }) => sum + parts, 0);
    const day = dayOfClaim(pace, now);
    writes.uses.push({ phoneNumberId, at: now, dueAt: setDueAt, messages: send.length, segments, day });
  }
  const messages = send.map((message) => ({ ...message, carrier, submits: message.submits + 1 }));
  const claim = { phoneNumberId, carrier, messages, expired, freeAt, waitsForCarrier };
  if (next !== "whenDeferred") return { ...claim, dueAt: next };
  const deferredAt = facts.nextDeferredAt(phoneNumberId);
  return { ...claim, dueAt: deferredAt && Math.max(deferredAt, pace.isPaused ? now : freeAt) };
}

/** Ends messages of a number that was removed, also those that were put off. */
function endQueue(phoneNumberId: string, { now }: ClaimRequest, facts: ClaimFacts, writes: Writes): Claim {
  const queue = facts.queues.get(phoneNumberId) ?? [];
  const expired = queue.map((message) => {
    const isLate = message.validUntil <= now;
    return end(message, isLate ? "expired" : facts.isOptedOut(message) ? "optedOut" : "removed", now, writes);
  });
  const dueAt = queue.length === facts.maxOrphans ? now : undefined;
  const nothing = { phoneNumberId, carrier: undefined, messages: [], waitsForCarrier: false };
  return { ...nothing, expired, dueAt, freeAt: Number.POSITIVE_INFINITY };
}

const ENDS = {
  expired: ["expired", EXPIRED_IN_QUEUE],
  optedOut: ["sending_failed", OPTED_OUT_MEANWHILE],
  removed: ["sending_failed", REMOVED_MEANWHILE],
} as const;

function end(message: QueuedMessage, why: keyof typeof ENDS, now: number, writes: Writes): AppliedReport {
  const { organizationId, id } = message;
  const [kind, error] = ENDS[why];
  const { progress, event, applied } = planEnd(message, kind, now, error);
  writes.changed.push({ organizationId, id, progress });
  writes.events.push({ organizationId, event });
  return applied;
}
