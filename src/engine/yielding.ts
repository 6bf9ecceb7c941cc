import { setImmediate, setTimeout } from "node:timers/promises";

/** Shares the event loop between delivery, which has time, and callers, who wait for an answer. */
export type Yielding = {
  /** Tells that callers are being served. */
  readonly noteCall: () => void;
  /** Resolves when delivery may go on after work of so many milliseconds. */
  readonly yieldAfter: (took: number) => Promise<void>;
};

/** Callers who were served this lately, milliseconds, are likely to have more. */
const LATELY = 100;

/**
 * A yielding; `clock` gives milliseconds. While there are callers, delivery rests as long as it works, if its work `isBlocking`: if
 * nothing else can happen meanwhile.
 */
export function createYielding(clock: () => number, isBlocking: boolean): Yielding {
  let lastCall = Number.NEGATIVE_INFINITY;
  return {
    noteCall: () => {
      lastCall = clock();
    },
    yieldAfter: async (took) => {
      if (isBlocking && clock() - lastCall < LATELY) await setTimeout(took);
      else await setImmediate();
    },
  };
}
