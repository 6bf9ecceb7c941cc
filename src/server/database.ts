import { setTimeout as delay } from "node:timers/promises";
import type { Config } from "../config/config.ts";
import type { Changes } from "../domain/plan/changes.ts";
import { openSharedClock } from "../engine/shared-clock.ts";
import { codeOf, holdExclusively } from "../store/sqlite/open.ts";
import { inspectLog } from "../store/sqlite/write-ahead-log.ts";
import type { Store, StoreOptions } from "../store/store.ts";
import type { Log } from "../telemetry/log.ts";
import { isPostgres, openStore } from "./open-store.ts";

/** The database of a running server, and the clock that goes with it. */
export type ServerDatabase = {
  readonly store: Store;
  /** Milliseconds since 1970; on PostgreSQL, the time of its server. */
  readonly clock: () => number;
  readonly close: () => Promise<void>;
};

/**
 * Opens the configured database for a server: a SQLite file for this process alone. A disk error
 * ends the process. `onCommitted` receives the changes of each transaction. Throws an error of one
 * sentence when the database cannot be used.
 */
export async function openDatabase(
  config: Config,
  log: Log,
  onCommitted: NonNullable<StoreOptions["onCommitted"]>,
): Promise<ServerDatabase> {
  const unlock = isPostgres(config) ? () => {} : holdExclusively(config.database);
  if (!isPostgres(config)) logRecovery(config.database, log);
  const onLost = (error: unknown) => {
    // Memory and disk may differ now; the next start reads the disk.
    log.fatal({ event: "disk_failed", err: error }, "disk failed");
    log.flush();
    process.exit(1);
  };
  const onMoved = (detail: string | undefined) => {
    if (detail === undefined) log.warn({ event: "database_file_back" }, "database file back in place");
    else log.error({ event: "database_file_moved", database: config.database }, detail);
  };
  // The transaction is on disk: a failure to observe it must not look like a failure of its commit.
  const onCommittedSafely = (changes: Changes) => {
    try {
      onCommitted(changes);
    } catch (error) {
      log.error({ event: "metrics_update_failed", err: error }, "metrics update failed");
    }
  };
  const store = await openStore(config, { onLost, onMoved, onCommitted: onCommittedSafely });
  await checkWritable(store);
  // All processes share the numbers' pace and daily limits, so they share one clock.
  const sleep = (milliseconds: number) => delay(milliseconds, undefined, { ref: false });
  const own = { system: Date.now, monotonic: () => performance.now(), sleep };
  const shared = store.readClock && (await openSharedClock({ read: store.readClock, ...own, log }));
  return {
    store,
    clock: shared?.now ?? Date.now,
    close: async () => {
      shared?.close();
      await store.close();
      unlock();
    },
  };
}

/**
 * Logs the state of a SQLite file's write-ahead log: the commits that recovery applies, and those
 * that are lost.
 */
function logRecovery(database: string, log: Log): void {
  const { pages, commits, lostCommits, keptAs } = inspectLog(database);
  const found = { database, log_pages: pages, log_commits: commits };
  if (lostCommits === 0) {
    log.info({ event: "log_recovered", ...found }, "write-ahead log recovered");
    return;
  }
  log.error(
    { event: "log_damaged", ...found, lost_commits: lostCommits, kept_as: keptAs },
    "write-ahead log damaged: commits behind the damage are lost; the log is kept",
  );
}

/** Throws an error of one sentence when the store is not writable. */
async function checkWritable(store: Store): Promise<void> {
  try {
    await store.probe();
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    const isReadOnly = codeOf(cause).startsWith("SQLITE_READONLY");
    const why = isReadOnly
      ? "it is read-only"
      : cause instanceof Error
        ? cause.message.replace(/\.$/, "")
        : String(cause);
    throw new Error(`${store.name} cannot be written: ${why}.`);
  }
}
