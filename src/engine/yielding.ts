import { setImmediate, setTimeout } from "node:timers/promises";

/** Shares the event loop between delivery and calls: calls go first. */
export type Yielding = {
  /** Records that a call is being served. */
  readonly noteCall: () => void;
  /** Resolves when delivery may continue after work of so many milliseconds. */
  readonly yieldAfter: (workMs: number) => Promise<void>;
};

/** For how long after a call more calls are likely. */
const BUSY_MS = 100;

/**
 * Creates the yielding of one process; `clock` gives milliseconds. Beside calls, delivery whose work
 * `isBlocking` the event loop rests for as long as it worked.
 */
export function createYielding(clock: () => number, isBlocking: boolean): Yielding {
  let lastCall = Number.NEGATIVE_INFINITY;
  return {
    noteCall: () => {
      lastCall = clock();
    },
    yieldAfter: async (workMs) => {
      if (isBlocking && clock() - lastCall < BUSY_MS) await setTimeout(workMs);
      else await setImmediate();
    },
  };
}
