import { statSync } from "node:fs";
import type { Connection } from "./open.ts";
import type { Transactions } from "./transactions.ts";
import { emptyLog } from "./write-ahead-log.ts";

/** Time between two looks at whether the file is in place, milliseconds. */
const PLACE_INTERVAL_MS = 500;
/**
 * Time between two looks at the log, milliseconds. An idle log is emptied at once, a busy one after
 * `MAX_LOOKS`.
 */
const LOG_INTERVAL_MS = 1_000;
const MAX_LOOKS = 10;

const MOVED = "The database file was deleted or replaced under the running server; put it back, or restart the server.";

/**
 * Keeps the log of a file short, and refuses writes while the file is not in place. Calls `onMoved`
 * with one sentence when the file leaves its place, and with undefined when it is back. Gives how
 * to stop.
 */
export function watchFile(
  db: Connection,
  path: string,
  { guard, refuseWrites }: Transactions,
  onMoved: (detail: string | undefined) => void,
): () => void {
  const files = [path, `${path}-wal`, `${path}-shm`];
  const opened = files.map(identityOf);
  let moved: string | undefined;
  const checkPlace = () => {
    const before = moved;
    moved = files.every((file, index) => identityOf(file) === opened[index]) ? undefined : MOVED;
    if (moved === before) return;
    refuseWrites(moved);
    onMoved(moved);
  };
  const inPlace = (work: () => void) => guard(() => moved === undefined && work());
  const empty = inPlace(() => emptyLog(db));
  empty();
  const timers = [
    setInterval(checkPlace, PLACE_INTERVAL_MS),
    setInterval(inPlace(logKeeper(db, path)), LOG_INTERVAL_MS),
  ];
  for (const timer of timers) timer.unref();
  return () => {
    for (const timer of timers) clearInterval(timer);
    empty();
  };
}

/**
 * Empties the log when nothing was written since the last look, and every `MAX_LOOKS` at the
 * latest.
 */
function logKeeper(db: Connection, path: string): () => void {
  // Rows, not transactions: maintenance begins many transactions that change no row.
  const changes = db.prepare("SELECT total_changes()").pluck();
  let seen = changes.get();
  let looks = 0;
  return () => {
    const now = changes.get();
    const isIdle = now === seen;
    seen = now;
    looks += 1;
    if ((!isIdle && looks < MAX_LOOKS) || (statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0) === 0) return;
    looks = 0;
    emptyLog(db);
  };
}

/** Distinguishes a file from another one with the same name; undefined when it does not exist. */
function identityOf(path: string): string | undefined {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false });
  return found && `${found.dev}:${found.ino}`;
}
