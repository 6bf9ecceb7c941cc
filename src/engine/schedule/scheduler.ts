import type { Log } from "../../telemetry/log.ts";
import type { Yielding } from "../yielding.ts";

/** Releases scheduled messages when they are due. */
export type Scheduler = {
  readonly start: () => void;
  /** Resolves when no pass is running. */
  readonly stop: () => Promise<void>;
};

/** The dependencies of a scheduler. */
export type SchedulerParts = {
  /** Runs one bounded pass over due messages; resolves with the time of the next one, if known. */
  readonly release: () => Promise<number | undefined>;
  readonly yieldAfter: Yielding["yieldAfter"];
  readonly clock: () => number;
  readonly log: Log;
};

/** The longest time between two passes: another process may schedule messages. */
const MAX_WAIT_MS = 5_000;
/** The shortest time between two passes: messages due together share a transaction. */
const MIN_WAIT_MS = 50;

/** Creates a scheduler, which does nothing before `start`. */
export function createScheduler({ release, yieldAfter, clock, log }: SchedulerParts): Scheduler {
  let timer: NodeJS.Timeout | undefined;
  let releasing = Promise.resolve();
  let isRunning = false;

  const runPass = async () => {
    let next: number | undefined;
    try {
      // Between two passes the process serves calls, delivers other messages and may stop.
      do {
        const startMs = performance.now();
        next = await release();
        await yieldAfter(performance.now() - startMs);
      } while (isRunning && next !== undefined && next <= clock());
    } catch (error) {
      next = undefined;
      log.error({ event: "scheduled_release_failed", err: error }, "scheduled release failed, retrying");
    }
    if (!isRunning) return;
    const waitMs = next === undefined ? MAX_WAIT_MS : Math.min(MAX_WAIT_MS, Math.max(MIN_WAIT_MS, next - clock()));
    timer = setTimeout(() => {
      releasing = runPass();
    }, waitMs);
  };

  return {
    start: () => {
      isRunning = true;
      releasing = runPass();
    },
    stop: async () => {
      isRunning = false;
      clearTimeout(timer);
      await releasing;
    },
  };
}
