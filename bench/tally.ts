import { writeSync } from "node:fs";

/** The duration of a load, seconds; responses of the warm-up count only in `total`. */
export type Timing = { readonly warmup: number; readonly seconds: number };

/** The result of a load generator, printed as one line of JSON. */
export type LoadResult = {
  /** Calls with a good response during `seconds`. */
  readonly ok: number;
  readonly errors: number;
  readonly seconds: number;
  /** Milliseconds from a call's first byte to its last. */
  readonly p50: number;
  readonly p99: number;
  /** Like `ok`, with the warm-up. */
  readonly total: number;
  /** The first error. */
  readonly firstError: string | undefined;
  /** The share of one core that the generator used. */
  readonly cores: number;
};

/** Counts the calls of one load. */
export type Tally = {
  /**
   * Counts a good response to a call started at `since` (performance.now()), and returns the time
   * of its end.
   */
  readonly good: (since: number) => number;
  readonly bad: (why: string) => void;
  readonly isOver: () => boolean;
};

/** A tally that prints its result and exits when the time is over. */
export function createTally({ warmup, seconds }: Timing): Tally {
  const start = performance.now();
  const from = start + warmup * 1000;
  const until = from + seconds * 1000;
  const times: number[] = [];
  let total = 0;
  let errors = 0;
  let firstError: string | undefined;
  let cpu = process.cpuUsage();

  setTimeout(() => {
    cpu = process.cpuUsage();
  }, warmup * 1000);
  setTimeout(
    () => {
      const { user, system } = process.cpuUsage(cpu);
      times.sort((a, b) => a - b);
      const at = (share: number) => Math.round((times[Math.floor(times.length * share)] ?? 0) * 100) / 100;
      const cores = Math.round((user + system) / seconds / 1e4) / 100;
      const result: LoadResult = {
        ok: times.length,
        errors,
        seconds,
        p50: at(0.5),
        p99: at(0.99),
        total,
        firstError,
        cores,
      };
      writeSync(1, `${JSON.stringify(result)}\n`);
      process.exit(0);
    },
    (warmup + seconds) * 1000,
  );

  return {
    good: (since) => {
      const now = performance.now();
      total += 1;
      if (now >= from && now < until) times.push(now - since);
      return now;
    },
    bad: (why) => {
      errors += 1;
      firstError ??= why.slice(0, 300);
    },
    isOver: () => performance.now() >= until,
  };
}
