import type { Log } from "../../telemetry/log.ts";

/** A recurring task of maintenance. `step` resolves with whether there is more to do at once. */
export type MaintenanceTask = {
  /** Its name in the log, in snake_case. */
  readonly name: string;
  /** The time between two runs. */
  readonly intervalMs: number;
  readonly step: () => Promise<boolean>;
};

/** Background maintenance, in small steps so that sends are never delayed. */
export type Maintenance = {
  readonly start: () => void;
  /** Resolves when no step is running. */
  readonly stop: () => Promise<void>;
};

/** A task with more to do pauses for this multiple of its last step's duration. */
const PAUSE_RATIO = 9;

/** Runs tasks, each at its own interval. */
export function createMaintenance(tasks: readonly MaintenanceTask[], log: Log): Maintenance {
  const timers = new Map<MaintenanceTask, NodeJS.Timeout>();
  const running = new Set<Promise<void>>();
  let isRunning = false;

  const plan = (task: MaintenanceTask, after: number) => {
    if (!isRunning) return;
    timers.set(
      task,
      setTimeout(() => {
        const work = perform(task).finally(() => running.delete(work));
        running.add(work);
      }, after),
    );
  };

  const perform = async (task: MaintenanceTask) => {
    const start = performance.now();
    let isMore = false;
    try {
      isMore = await task.step();
    } catch (error) {
      log.error({ event: "maintenance_failed", task: task.name, err: error }, "maintenance failed, retrying");
    }
    plan(task, isMore ? Math.min(task.intervalMs, PAUSE_RATIO * (performance.now() - start)) : task.intervalMs);
  };

  return {
    start: () => {
      isRunning = true;
      for (const task of tasks) plan(task, task.intervalMs);
    },
    stop: async () => {
      isRunning = false;
      for (const timer of timers.values()) clearTimeout(timer);
      await Promise.all(running);
    },
  };
}
