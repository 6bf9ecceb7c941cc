import type { AppliedReport } from "../domain/carrier-report.ts";
import type { HealthCounts } from "../domain/health.ts";

/** A process whose last heartbeat is older than this, in milliseconds, is gone. */
export const SILENCE_MS = 30_000;

/** The processes that serve a database. */
export type ProcessStore = {
  /**
   * Writes this process' heartbeat and its contribution to queues, and gives what other processes
   * changed. A process that sends calls it once a second. Settles the messages of processes that
   * are gone as submit unconfirmed: on SQLite, where a process serves alone, every other process;
   * on PostgreSQL those that are silent for `SILENCE_MS`.
   */
  readonly synchronize: (heartbeat: Heartbeat) => Promise<PeerUpdates>;
};

export type Heartbeat = {
  readonly owner: string;
  readonly now: number;
  /**
   * The whole contribution of this process to the queues of numbers where it changed, in segments;
   * negative where it sent more than it accepted.
   */
  readonly backlog: readonly QueuedSegments[];
};

export type QueuedSegments = { readonly phoneNumberId: string; readonly segments: number };

/** What other processes changed since the last heartbeat. */
export type PeerUpdates = {
  /** The sum of the other processes' contributions to the queues of numbers. */
  readonly backlog: readonly QueuedSegments[];
  /** The counts of numbers whose health changed. */
  readonly health: readonly {
    readonly phoneNumberId: string;
    readonly messagingProfileId: string;
    readonly health: HealthCounts;
  }[];
  /** Settled messages of processes that are gone. */
  readonly settled: readonly AppliedReport[];
};
