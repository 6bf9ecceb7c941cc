import type { Logger } from "pino";

/** Something that is done again and again: one step of it, which resolves with whether there is more to do at once. */
export type Chore = {
  /** For the log, when it fails: "outdated rows could not be forgotten". */
  readonly complaint: string;
  /** Milliseconds between two rounds. */
  readonly interval: number;
  readonly step: () => Promise<boolean>;
};

/** What keeps a store tidy, in steps that sends don't feel. */
export type Housekeeping = {
  readonly start: () => void;
  /** Resolves when nothing is being done any more. */
  readonly stop: () => Promise<void>;
};

/** Where there is more to do, a chore rests for so many times as long as its last step took. */
const REST = 9;

/** Runs chores, each in its own rhythm. */
export function createHousekeeping(chores: readonly Chore[], log: Logger): Housekeeping {
  const timers = new Map<Chore, NodeJS.Timeout>();
  const doing = new Set<Promise<void>>();
  let isRunning = false;

  const plan = (chore: Chore, after: number) => {
    if (!isRunning) return;
    timers.set(
      chore,
      setTimeout(() => {
        const work = perform(chore).finally(() => doing.delete(work));
        doing.add(work);
      }, after),
    );
  };

  const perform = async (chore: Chore) => {
    const start = performance.now();
    let isMore = false;
    try {
      isMore = await chore.step();
    } catch (error) {
      log.error({ err: error }, chore.complaint);
    }
    plan(chore, isMore ? Math.min(chore.interval, REST * (performance.now() - start)) : chore.interval);
  };

  return {
    start: () => {
      isRunning = true;
      for (const chore of chores) plan(chore, chore.interval);
    },
    stop: async () => {
      isRunning = false;
      for (const timer of timers.values()) clearTimeout(timer);
      await Promise.all(doing);
    },
  };
}
