import type { Changes } from "../../../src/domain/plan/changes.ts";
import type { Store } from "../../../src/store/store.ts";

/** Gives the store that was opened for the running test. */
export type Subject = () => Opened;

/** An empty database, opened for one test. */
export type Opened = {
  readonly store: Store;
  /** The changes that the stores passed to their observer of commits. */
  readonly committed: Changes[];
  /** Closes the store and opens the same database again. */
  readonly reopen: () => Promise<Store>;
  /**
   * A second store on the same database, as in another process. Without it, tests of two processes
   * are skipped.
   */
  readonly another?: () => Promise<Store>;
  /** Runs SQL that every database understands, as another program. */
  readonly execute: (sql: string) => Promise<void>;
  /** Closes everything and removes the database. */
  readonly dispose: () => Promise<void>;
};
