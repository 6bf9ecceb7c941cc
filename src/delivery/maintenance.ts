import type { Logger } from "pino";

/** Something that is done again and again: one step of it, which resolves with whether there is more to do at once. */
export type MaintenanceTask = {
  /** For the log, when it fails: "outdated rows could not be forgotten". */
  readonly complaint: string;
  /** Milliseconds between two rounds. */
  readonly interval: number;
  readonly step: () => Promise<boolean>;
};

/** What keeps a store tidy, in steps that sends don't feel. */
export type Maintenance = {
  readonly start: () => void;
  /** Resolves when nothing is being done any more. */
  readonly stop: () => Promise<void>;
};

/** Where there is more to do, a task rests for so many times as long as its last step took. */
const REST = 9;

/** Runs tasks, each in its own rhythm. */
export function createMaintenance(tasks: readonly MaintenanceTask[], log: Logger): Maintenance {
  const timers = new Map<MaintenanceTask, NodeJS.Timeout>();
  const doing = new Set<Promise<void>>();
  let isRunning = false;

  const plan = (task: MaintenanceTask, after: number) => {
    if (!isRunning) return;
    timers.set(
      task,
      setTimeout(() => {
        const work = perform(task).finally(() => doing.delete(work));
        doing.add(work);
      }, after),
    );
  };

  const perform = async (task: MaintenanceTask) => {
    const start = performance.now();
    let isMore = false;
    try {
      isMore = await task.step();
    } catch (error) {
      log.error({ err: error }, task.complaint);
    }
    plan(task, isMore ? Math.min(task.interval, REST * (performance.now() - start)) : task.interval);
  };

  return {
    start: () => {
      isRunning = true;
      for (const task of tasks) plan(task, task.interval);
    },
    stop: async () => {
      isRunning = false;
      for (const timer of timers.values()) clearTimeout(timer);
      await Promise.all(doing);
    },
  };
}
