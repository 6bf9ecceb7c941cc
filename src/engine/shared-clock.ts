import type { Log } from "../telemetry/log.ts";

/** The database server's clock, for processes that share a database. */
export type SharedClock = {
  /** Milliseconds since 1970. It never goes backwards: a clock that was ahead pauses. */
  readonly now: () => number;
  readonly close: () => void;
};

/** The dependencies of the shared clock. */
export type SharedClockParts = {
  /** The database server's time, milliseconds since 1970. */
  readonly read: () => Promise<number>;
  /** This machine's clock, milliseconds since 1970. It may be wrong, and it may be set. */
  readonly system: () => number;
  /** A clock that is never set, milliseconds. */
  readonly monotonic: () => number;
  /** Resolves after the given time, and does not keep the process running. */
  readonly sleep: (milliseconds: number) => Promise<unknown>;
  readonly log: Log;
};

/** How often the database server's clock is read. */
const READ_INTERVAL_MS = 1_000;
/** The largest difference between this machine's clock and the server's without a warning. */
const MAX_DIFFERENCE_MS = 1_000;
/** The longest round trip of a read that is exact enough to use. */
const MAX_ROUND_TRIP_MS = 500;
/** Reads at the start, of which the fastest is used. */
const FIRST_READS = 5;

/** Opens the clock; rejects if a first read fails. Between reads it follows the monotonic clock. */
export async function openSharedClock({ read, system, monotonic, sleep, log }: SharedClockParts): Promise<SharedClock> {
  const measure = async () => {
    const sentAt = monotonic();
    const time = await read();
    const receivedAt = monotonic();
    // The server read its clock somewhere between the two.
    return { offset: time - (sentAt + receivedAt) / 2, uncertainty: (receivedAt - sentAt) / 2 };
  };

  let best = await measure();
  for (let done = 1; done < FIRST_READS; done += 1) {
    const next = await measure();
    if (next.uncertainty < best.uncertainty) best = next;
  }
  let { offset } = best;
  let latest = Number.NEGATIVE_INFINITY;
  let isOpen = true;
  let wasDifferent = false;

  const now = () => {
    latest = Math.max(latest, Math.round(monotonic() + offset));
    return latest;
  };

  const compare = () => {
    const difference = Math.round(system() - now());
    const isDifferent = Math.abs(difference) > MAX_DIFFERENCE_MS;
    if (isDifferent && !wasDifferent) {
      log.warn({ event: "clock_differs", difference_ms: difference }, "clock differs from the database server's");
    }
    wasDifferent = isDifferent;
  };

  const follow = async () => {
    while (isOpen) {
      await sleep(READ_INTERVAL_MS);
      if (!isOpen) return;
      try {
        const { offset: newOffset, uncertainty } = await measure();
        if (2 * uncertainty > MAX_ROUND_TRIP_MS) continue;
        // A change within the uncertainty is noise.
        if (Math.abs(newOffset - offset) > uncertainty + 1) offset = newOffset;
        compare();
      } catch {
        // The database is unavailable: the clock follows the monotonic one until the next read.
      }
    }
  };

  compare();
  void follow();
  return {
    now,
    close: () => {
      isOpen = false;
    },
  };
}
