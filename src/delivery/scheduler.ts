import type { Logger } from "pino";

/** Has scheduled messages decided upon as they become due. */
export type Scheduler = {
  readonly start: () => void;
  /** Resolves when nothing is being decided any more. */
  readonly stop: () => Promise<void>;
};

export type SchedulerParts = {
  /** Decides what is due, and resolves with the moment the next will be, undefined for none. */
  readonly release: () => Promise<number | undefined>;
  readonly clock: () => number;
  readonly log: Logger;
};

/** How often the schedule is looked at, milliseconds: sooner only when something is due, and another process may have scheduled it. */
const POLL = 5_000;
/** Looks are no closer together than this, milliseconds: what becomes due together shares a transaction. */
const TURN = 50;

/** A scheduler; nothing happens before `start`. */
export function createScheduler({ release, clock, log }: SchedulerParts): Scheduler {
  let timer: NodeJS.Timeout | undefined;
  let releasing = Promise.resolve();
  let isRunning = false;

  const look = async () => {
    let next: number | undefined;
    try {
      next = await release();
    } catch (error) {
      log.error({ err: error }, "scheduled messages could not be decided upon; trying again");
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
