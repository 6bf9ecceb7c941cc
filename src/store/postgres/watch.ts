import { setTimeout } from "node:timers/promises";
import { connect } from "./connection.ts";

/** What a transaction notifies when it has changed configuration; it is told when it commits. */
export const CHANGES = "numberpool_changes";

/** A watch on the changes that are made to a database. */
export type ChangeWatch = {
  /** Resolves when a read that began after this call has ended; rejects as that read did. */
  readonly refresh: () => Promise<void>;
  /** Resolves when nothing more is read. */
  readonly close: () => Promise<void>;
};

export type ChangeWatchParts = {
  readonly url: string;
  /** Reads what is new. Never runs twice at once. */
  readonly read: () => Promise<void>;
  /** Told of reads that failed and of connections that were lost or not to be had; all are tried again. */
  readonly onError: (error: unknown) => void;
};

/** How long after the last read there is another, whatever was notified, milliseconds. */
const POLL = 2_000;
/** Pauses before a lost connection is made anew; each is twice the one before, milliseconds. */
const FIRST_PAUSE = 100;
const MAX_PAUSE = 5_000;
/** How long a server may take to end a connection, milliseconds. */
const GOODBYE = 1_000;

/**
 * Calls `read` whenever a change is notified, whenever it may have been missed because there was no connection, and every two
 * seconds at the latest. What a notification says is not looked at. One that comes during a read makes another read after it.
 */
export function watchChanges({ url, read, onError }: ChangeWatchParts): ChangeWatch {
  const ended = new AbortController();
  let last = Promise.resolve();
  let next: Promise<void> | undefined;
  let poll: NodeJS.Timeout | undefined;

  const refresh = (): Promise<void> => {
    if (ended.signal.aborted) return last;
    // One that has not begun yet will see what this caller wants seen.
    next ??= last
      .catch(() => {})
      .then(async () => {
        last = next as Promise<void>;
        next = undefined;
        if (ended.signal.aborted) return;
        clearTimeout(poll);
        try {
          await read();
        } finally {
          if (!ended.signal.aborted) poll = globalThis.setTimeout(wake, POLL);
        }
      });
    return next;
  };

  const wake = () => {
    refresh().catch(onError);
  };

  const closing = new Promise((resolve) => ended.signal.addEventListener("abort", resolve));

  /** Resolves when the connection is lost. */
  const listen = async () => {
    const client = await connect(url);
    const lost = new Promise((resolve) => client.once("end", resolve));
    client.on("error", onError);
    client.on("notification", wake);
    try {
      if (ended.signal.aborted) return;
      await client.query(`LISTEN ${CHANGES}`);
      // Whatever was notified before is only to be found by looking.
      wake();
      await Promise.race([lost, closing]);
    } finally {
      // A server that is gone does not say goodbye.
      await Promise.race([client.end(), setTimeout(GOODBYE, undefined, { ref: false })]);
    }
  };

  const keepListening = async () => {
    let pause = FIRST_PAUSE;
    while (!ended.signal.aborted) {
      try {
        await listen();
        pause = FIRST_PAUSE;
      } catch (error) {
        if (!ended.signal.aborted) onError(error);
      }
      await setTimeout(pause, undefined, { signal: ended.signal }).catch(() => {});
      pause = Math.min(pause * 2, MAX_PAUSE);
    }
  };

  wake();
  const listening = keepListening();
  return {
    refresh,
    close: async () => {
      ended.abort();
      clearTimeout(poll);
      await listening;
      await last.catch(() => {});
    },
  };
}
