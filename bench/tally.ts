import { writeSync } from "node:fs";

/** How long a load lasts, seconds: what is answered during the warm-up counts for nothing but `total`. */
export type Timing = { readonly warmup: number; readonly seconds: number };

/** What a load generator prints as one JSON line. */
export type LoadResult = {
  /** Calls answered as they should be during `seconds`. */
  readonly ok: number;
  readonly errors: number;
  readonly seconds: number;
  /** Milliseconds from a call's first byte to its last. */
  readonly p50: number;
  readonly p99: number;
  /** The same as `ok`, the warm-up included. */
  readonly total: number;
  /** What the first error looked like. */
  readonly firstError: string | undefined;
  /** The part of one core that the generator itself used. */
  readonly cores: number;
};

/** Counts the calls of one load. */
export type Tally = {
  /** Takes in a good answer to a call that was begun at `since` (performance.now()), and gives the moment it ended. */
  readonly good: (since: number) => number;
  readonly bad: (why: string) => void;
  readonly isOver: () => boolean;
};

/** A tally that prints its result and ends the process when the time is over. */
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
