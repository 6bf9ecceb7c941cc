import type { Changes } from "../../../src/domain/plan/changes.ts";
import type { Store } from "../../../src/store/store.ts";

/** Gives what was opened for the test that runs. */
export type Subject = () => Opened;

/** An empty database, opened for one test. */
export type Opened = {
  readonly store: Store;
  /** What the stores gave to their observer of commits. */
  readonly committed: Changes[];
  /** Closes the store and opens the same database again. */
  readonly reopen: () => Promise<Store>;
  /** A second store on the same database, as another process has it. Without it, what needs one is skipped. */
  readonly another?: () => Promise<Store>;
  /** Runs SQL that every database understands, as another program would. */
  readonly execute: (sql: string) => Promise<void>;
  /** Closes everything and removes the database. */
  readonly dispose: () => Promise<void>;
};
