import type { Log } from "../../telemetry/log.ts";
import type { Yielding } from "../yielding.ts";

/** Has scheduled messages decided upon as they become due. */
export type Scheduler = {
  readonly start: () => void;
  /** Resolves when nothing is being decided any more. */
  readonly stop: () => Promise<void>;
};

export type SchedulerParts = {
  /** One bounded pass over what is due; resolves with the moment of the next pass, undefined for none that is known. */
  readonly release: () => Promise<number | undefined>;
  readonly yieldAfter: Yielding["yieldAfter"];
  readonly clock: () => number;
  readonly log: Log;
};

/** How often the schedule is looked at, milliseconds: sooner only when something is due, and another process may have scheduled it. */
const POLL = 5_000;
/** Looks are no closer together than this, milliseconds: what becomes due together shares a transaction. */
const TURN = 50;

/** A scheduler; nothing happens before `start`. */
export function createScheduler({ release, yieldAfter, clock, log }: SchedulerParts): Scheduler {
  let timer: NodeJS.Timeout | undefined;
  let releasing = Promise.resolve();
  let isRunning = false;

  const look = async () => {
    let next: number | undefined;
    try {
      // Between two passes calls are answered, other delivery goes on, and a stop is heeded.
      do {
        const start = performance.now();
        next = await release();
        await yieldAfter(performance.now() - start);
      } while (isRunning && next !== undefined && next <= clock());
    } catch (error) {
      next = undefined;
      log.error({ event: "scheduled_release_failed", err: error }, "scheduled messages not decided, retrying");
    }
    if (!isRunning) return;
    const wait = next === undefined ? POLL : Math.min(POLL, Math.max(TURN, next - clock()));
    timer = setTimeout(() => {
      releasing = look();
    }, wait);
  };

  return {
    start: () => {
      isRunning = true;
      releasing = look();
    },
    stop: async () => {
      isRunning = false;
      clearTimeout(timer);
      await releasing;
    },
  };
}
