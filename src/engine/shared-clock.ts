import type { Log } from "../telemetry/log.ts";

/** The clock of a process that shares its database with others: the database server's, kept between two looks at it. */
export type SharedClock = {
  /** Milliseconds since 1970. It never runs backwards: where it was ahead it stands still. */
  readonly now: () => number;
  readonly close: () => void;
};

export type SharedClockParts = {
  /** The database server's time, milliseconds since 1970. */
  readonly read: () => Promise<number>;
  /** This machine's time of day, which may be wrong and may be set. */
  readonly system: () => number;
  /** A clock that is never set, milliseconds. */
  readonly monotonic: () => number;
  /** Resolves after so many milliseconds, and keeps no program alive. */
  readonly sleep: (milliseconds: number) => Promise<unknown>;
  readonly log: Log;
};

/** How often the database server's clock is looked at, milliseconds. */
const INTERVAL = 1_000;
/** What a machine's clock may differ from the database server's by before the log says so, milliseconds. */
const MAX_DIFFERENCE = 1_000;
/** A look that takes longer than this tells too little, milliseconds: the next one may be quicker. */
const MAX_ROUND_TRIP = 500;
/** Looks at the start, of which the quickest counts. */
const FIRST_LOOKS = 5;

/** Opens the clock; rejects when the database does not tell its time. Between looks it goes by the monotonic clock. */
export async function openSharedClock({ read, system, monotonic, sleep, log }: SharedClockParts): Promise<SharedClock> {
  const look = async () => {
    const sent = monotonic();
    const time = await read();
    const received = monotonic();
    // The server read its clock somewhere between the two.
    return { offset: time - (sent + received) / 2, uncertainty: (received - sent) / 2 };
  };

  let best = await look();
  for (let done = 1; done < FIRST_LOOKS; done += 1) {
    const next = await look();
    if (next.uncertainty < best.uncertainty) best = next;
  }
  let { offset } = best;
  let latest = Number.NEGATIVE_INFINITY;
  let isOpen = true;
  let wasOff = false;

  const now = () => {
    latest = Math.max(latest, Math.round(monotonic() + offset));
    return latest;
  };

  const compare = () => {
    const difference = Math.round(system() - now());
    const isOff = Math.abs(difference) > MAX_DIFFERENCE;
    if (isOff && !wasOff) {
      log.warn({ event: "clock_differs", difference_ms: difference }, "clock differs from the database server's");
    }
    wasOff = isOff;
  };

  const follow = async () => {
    while (isOpen) {
      await sleep(INTERVAL);
      if (!isOpen) return;
      try {
        const { offset: seen, uncertainty } = await look();
        if (2 * uncertainty > MAX_ROUND_TRIP) continue;
        // What is within the uncertainty is no difference.
        if (Math.abs(seen - offset) > uncertainty + 1) offset = seen;
        compare();
      } catch {
        // The database is away; its time goes on by the monotonic clock.
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
