import type { Changes } from "../domain/plan/changes.ts";
import type { AcceptStore } from "./accept.ts";
import type { ConfigurationChangeStore } from "./configuration-changes.ts";
import type { DeliveryHoldStore } from "./delivery-hold.ts";
import type { EventStore } from "./events.ts";
import type { MessageStore } from "./messages.ts";
import type { NumberStore } from "./numbers.ts";
import type { OrganizationStore } from "./organizations.ts";
import type { PoolRowStore } from "./pool-rows.ts";
import type { ProcessStore } from "./processes.ts";
import type { ProfileStore } from "./profiles.ts";
import type { QueueStore } from "./queues.ts";
import type { RecipientStore } from "./recipients.ts";
import type { ReportStore } from "./reports.ts";
import type { RetentionStore } from "./retention.ts";
import type { ScheduleStore } from "./schedule.ts";

/**
 * The port to the database. Every method is one transaction, and its result is on disk when its
 * promise resolves. Functions passed in are pure policies: they run inside the transaction, must
 * not wait, and roll the transaction back when they throw. No method takes or gives a connection.
 * Times are milliseconds since 1970.
 *
 * A store that cannot be written rejects with the reason UNAVAILABLE. After an input or output
 * error of the disk it calls StoreOptions.onLost and rejects everything.
 */
export type Store = StoreLife &
  OrganizationStore &
  ProfileStore &
  NumberStore &
  PoolRowStore &
  AcceptStore &
  MessageStore &
  EventStore &
  ScheduleStore &
  RecipientStore &
  QueueStore &
  ReportStore &
  DeliveryHoldStore &
  ProcessStore &
  RetentionStore &
  ConfigurationChangeStore;

/** The part of a store that concerns the whole of it. */
export type StoreLife = {
  /** A short name for logs and the ready line, without secrets. */
  readonly name: string;
  /** How delivery uses this store without delaying sends. */
  readonly delivery: {
    /** Messages, reports or numbers in one transaction: a few milliseconds. */
    readonly atOnce: number;
    /**
     * Whether a transaction blocks the whole process; while callers are served, delivery then rests
     * as long as it works.
     */
    readonly isBlocking: boolean;
  };
  /**
   * The time of the database server, milliseconds since 1970; undefined where one process owns the
   * database.
   */
  readonly readClock: (() => Promise<number>) | undefined;
  /** Writes and reads back; rejects when the store cannot be written. */
  readonly probe: () => Promise<void>;
  readonly close: () => Promise<void>;
};

/** The options of opening a store. */
export type StoreOptions = {
  /**
   * Called once when the disk failed: the process must end, so that the next start reads the truth.
   */
  readonly onLost: (error: unknown) => void;
  /**
   * Set by the process that serves: SQLite then keeps its log short and watches that the file stays
   * in place. Called with one sentence when the file was deleted or replaced, and with undefined
   * when it is back; writes are refused meanwhile.
   */
  readonly onMoved?: (detail: string | undefined) => void;
  /**
   * Called with the changes of each transaction once they are on disk; must not throw. A
   * transaction whose outcome is unknown is not reported.
   */
  readonly onCommitted?: (changes: Changes) => void;
};
