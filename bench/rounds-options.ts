import type { startKannel } from "./kannel.ts";
import type { Measure } from "./rows.ts";
import type { Timing } from "./tally.ts";

/** The figures of one run. With load: response times in milliseconds, and CPU. */
export type Figure = {
  readonly rate: number;
  readonly p50?: number;
  readonly p99?: number;
  /** The server's CPU time a message, microseconds. */
  readonly cpu?: number | undefined;
  /** The share of one core that the generator used. */
  readonly generatorCores?: number;
};

export type RoundsOptions = {
  readonly measures: ReadonlySet<Measure>;
  readonly rounds: number;
  /** Seconds of a measured run. */
  readonly timing: Timing;
  /** Seconds of warm-up before the first measured run of a process. */
  readonly warmup: number;
  readonly nodeArgs: readonly string[];
  readonly poolSettings: object;
  /** Makes an empty PostgreSQL database and returns its URL; undefined: SQLite. */
  readonly createDatabase: (() => Promise<string>) | undefined;
  readonly startKannel: typeof startKannel;
  readonly log: (line: string) => void;
};
