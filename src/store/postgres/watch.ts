import { setTimeout } from "node:timers/promises";
import { connect } from "./connection.ts";

/**
 * The channel that a transaction notifies when it changes configuration; the server sends the
 * notification at the commit.
 */
export const CHANGES = "numberpool_changes";

/** A watch on the changes of a database. */
export type ChangeWatch = {
  /** Resolves or rejects with the first read that starts after this call. */
  readonly refresh: () => Promise<void>;
  /** Resolves when nothing more is read. */
  readonly close: () => Promise<void>;
};

export type ChangeWatchParts = {
  readonly url: string;
  /** Reads new changes. Never runs twice at once. */
  readonly read: () => Promise<void>;
  /** Called with the errors of reads and connections; all are retried. */
  readonly onError: (error: unknown) => void;
};

/** Time between two reads without a notification, milliseconds. */
const POLL_MS = 2_000;
/** Pauses before reconnecting, milliseconds; each is twice the one before. */
const FIRST_PAUSE_MS = 100;
const MAX_PAUSE_MS = 5_000;
/** The timeout of closing a connection, milliseconds. */
const GOODBYE_MS = 1_000;

/**
 * Calls `read` after every notification, after every time without a connection, and every two
 * seconds at the latest. Ignores the content of a notification. A notification during a read causes
 * another read after it.
 */
export function watchChanges({ url, read, onError }: ChangeWatchParts): ChangeWatch {
  const ended = new AbortController();
  let last = Promise.resolve();
  let next: Promise<void> | undefined;
  let poll: NodeJS.Timeout | undefined;

  const refresh = (): Promise<void> => {
    if (ended.signal.aborted) return last;
    // A read that has not started sees the changes of this caller too.
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
          if (!ended.signal.aborted) poll = globalThis.setTimeout(wake, POLL_MS);
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
      // Earlier notifications are lost: only a read finds their changes.
      wake();
      await Promise.race([lost, closing]);
    } finally {
      // A lost server does not confirm the end of a connection.
      await Promise.race([client.end(), setTimeout(GOODBYE_MS, undefined, { ref: false })]);
    }
  };

  const keepListening = async () => {
    let pause = FIRST_PAUSE_MS;
    while (!ended.signal.aborted) {
      try {
        await listen();
        pause = FIRST_PAUSE_MS;
      } catch (error) {
        if (!ended.signal.aborted) onError(error);
      }
      await setTimeout(pause, undefined, { signal: ended.signal }).catch(() => {});
      pause = Math.min(pause * 2, MAX_PAUSE_MS);
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
