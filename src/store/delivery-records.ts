import type { AppliedReport } from "../domain/carrier-report.ts";
import type { HealthCounts } from "../domain/health.ts";

export type QueuedNumber = { readonly phoneNumberId: string; readonly dueAt: number };

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
