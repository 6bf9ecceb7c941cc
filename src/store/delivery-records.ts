import type { AppliedReport } from "../domain/carrier-report.ts";
import type { HealthCounts } from "../domain/health.ts";
import type { QueuedMessage } from "../domain/message.ts";

export type QueuedNumber = { readonly phoneNumberId: string; readonly dueAt: number };

export type ClaimRequest = {
  readonly now: number;
  /** The process that sends, to be found by when it is gone. */
  readonly owner: string;
  readonly phoneNumberIds: readonly string[];
  /** How many messages carriers that are throttled or down may be given in this claim; others take what comes. */
  readonly budgets: ReadonlyMap<string, number>;
  /** Delivery is held: every number is treated as paused, so that messages expire and none is taken. */
  readonly isDeliveryHeld?: boolean;
};

/** What a claim took from one number. */
export type Claim = {
  readonly phoneNumberId: string;
  /** The number's carrier; undefined: the number is gone. */
  readonly carrier: string | undefined;
  readonly messages: readonly QueuedMessage[];
  /** Messages wait only for their carrier. */
  readonly isHeld: boolean;
  /** What the claim did to messages whose time had run out. */
  readonly expired: readonly AppliedReport[];
  /** When to claim the number again; undefined: its queue is empty, or it is gone. A paused one is claimed for what expires. */
  readonly dueAt: number | undefined;
  /** When its pace lets it send again, should something be queued meanwhile. Infinity: not before its configuration changes. */
  readonly freeAt: number;
};

/** What one call of a sweep did, and where to go on; `next` undefined: it came to the end. */
export type Swept = { readonly applied: readonly AppliedReport[]; readonly next: string | undefined };

/** A process whose last heartbeat is older than this, milliseconds, is gone. */
export const SILENCE = 30_000;

export type Heartbeat = {
  readonly owner: string;
  readonly now: number;
  /** This process' whole contribution to the queues of numbers where it changed, in segments; negative: it sent more than it took. */
  readonly backlog: readonly QueuedSegments[];
};

export type QueuedSegments = { readonly phoneNumberId: string; readonly segments: number };

/** What changed elsewhere since the last heartbeat. */
export type PeerUpdates = {
  /** What all other processes together contributed to the queues of numbers. */
  readonly backlog: readonly QueuedSegments[];
  /** The counts of numbers whose health changed. */
  readonly health: readonly {
    readonly phoneNumberId: string;
    readonly messagingProfileId: string;
    readonly health: HealthCounts;
  }[];
  /** What was settled of processes that are gone. */
  readonly settled: readonly AppliedReport[];
};
