import type { HealthCounts } from "../domain/health.ts";
import type { Report } from "../domain/lifecycle.ts";
import type { MessageStatus, QueuedMessage } from "../domain/message.ts";

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

/** A report for one message, named by its own id or by the carrier's. */
export type CarrierReport = {
  readonly target:
    | { readonly organizationId: string; readonly messageId: string }
    /** The organization whose messages are meant; undefined: whoever's. */
    | { readonly carrier: string; readonly carrierMessageId: string; readonly organizationId?: string | undefined };
  /** The carrier that answered a submit. */
  readonly carrier?: string | undefined;
  readonly report: Report;
  /** Which submit of the message is answered, counted from 1; undefined: it is no answer. */
  readonly submit?: number | undefined;
  /** When it came here, by our clock; undefined: when it happened. A receipt that fits no message is kept from then on. */
  readonly receivedAt?: number | undefined;
};

/** What a report did. Undefined message: it fits none that is known. */
export type AppliedReport = {
  readonly messageId: string | undefined;
  readonly messagingProfileId: string | undefined;
  readonly phoneNumberId: string | undefined;
  /** Where the message stands after the report. */
  readonly status: MessageStatus | undefined;
  /** The sender's counts after the report; undefined when they did not change. */
  readonly health: HealthCounts | undefined;
  readonly reported: 0 | 1;
  /** Segments that came back into the number's queue, or (negative) left it without being sent. */
  readonly queuedSegments: number;
  /** What receipts did that had come before anybody knew whose they are. */
  readonly followed: readonly AppliedReport[];
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
