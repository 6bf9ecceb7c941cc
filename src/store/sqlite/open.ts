import { closeSync, existsSync, openSync, readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import Database from "better-sqlite3";

const MIGRATIONS = join(import.meta.dirname, "migrations");
/** Below this a crash between two writers of one WAL can damage the file. */
const MIN_SQLITE = [3, 51, 3];
/** How long another writer (an import, a backup) is waited for, milliseconds. */
const BUSY_TIMEOUT = 5_000;

export type Connection = Database.Database;

/**
 * Opens and migrates a SQLite file, made if need be, with every commit synced to disk. Throws one
 * sentence when SQLite is too old, the settings do not hold, the file has several names, or it is
 * newer than this program.
 */
export function openConnection(path: string): Connection {
  createPrivately(path);
  const { nlink = 1 } = statSync(path, { throwIfNoEntry: false }) ?? {};
  if (nlink > 1) {
    throw new Error(
      `${path} has ${nlink} names (hard links), and the log that belongs to it is found by its name; remove all names but one.`,
    );
  }
  const db = new Database(path, { timeout: BUSY_TIMEOUT });
  try {
    checkVersion(db);
    switchToWal(db);
    // The library is compiled for NORMAL, under which the newest commits may vanish with the power.
    // It holds per connection.
    db.pragma("synchronous = FULL");
    db.pragma("foreign_keys = ON");
    db.pragma("temp_store = MEMORY");
    db.pragma("cache_size = -65536");
    // 32 MiB of log before it is copied into the file: pages that many commits touch are then
    // copied once, not once a second.
    db.pragma("wal_autocheckpoint = 8192");
    const journal = db.pragma("journal_mode", { simple: true });
    const synchronous = db.pragma("synchronous", { simple: true });
    if (journal !== "wal" || synchronous !== 2) {
      throw new Error(`${path}: SQLite did not take WAL with synchronous=FULL (${journal}, ${synchronous}).`);
    }
    migrate(db, path);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

/**
 * Migrates a SQLite file, made if need be, and gives the schema that it had, 0 for a new one, and
 * the one that it has.
 */
export function bringUpToDate(path: string): { readonly from: number; readonly to: number } {
  createPrivately(path);
  const before = new Database(path, { timeout: BUSY_TIMEOUT });
  const from = before.pragma("user_version", { simple: true }) as number;
  before.close();
  const db = openConnection(path);
  const to = db.pragma("user_version", { simple: true }) as number;
  db.close();
  return { from, to };
}

/**
 * Holds a database for one serving process, by an exclusive transaction on a file beside it that
 * ends with the process, however it ends. Throws one sentence when another process holds it for
 * longer than five seconds. Gives how to let go.
 */
export function holdExclusively(path: string): () => void {
  // Two names of one file must lead to one lock.
  const file = existsSync(path) ? realpathSync(path) : join(realpathSync(dirname(path)), basename(path));
  createPrivately(`${file}.lock`);
  const lock = new Database(`${file}.lock`, { timeout: BUSY_TIMEOUT });
  try {
    lock.exec("BEGIN EXCLUSIVE");
  } catch (error) {
    lock.close();
    if (codeOf(error).startsWith("SQLITE_BUSY")) {
      throw new Error(`${path} is served by another process; stop that one, or name another database.`);
    }
    throw error;
  }
  return () => lock.close();
}

/**
 * Makes an empty file that its owner alone can read, if there is none; SQLite makes its log and
 * index alike.
 */
function createPrivately(path: string): void {
  try {
    closeSync(openSync(path, "wx", 0o600));
  } catch {
    // It is there, or SQLite says why it cannot be made.
  }
}

/** The extended result code of an SQLite error, or "" for anything else. */
export function codeOf(error: unknown): string {
  return error instanceof Database.SqliteError ? error.code : "";
}

/**
 * The switch takes the whole file and, unlike everything else, does not wait for whoever else is in
 * it.
 */
function switchToWal(db: Connection): void {
  const until = performance.now() + BUSY_TIMEOUT;
  for (;;) {
    try {
      db.pragma("journal_mode = WAL");
      return;
    } catch (error) {
      if (!codeOf(error).startsWith("SQLITE_BUSY") || performance.now() > until) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
    }
  }
}

function checkVersion(db: Connection): void {
  const version = db.prepare("SELECT sqlite_version()").pluck().get() as string;
  const parts = version.split(".").map(Number);
  const differs = MIN_SQLITE.findIndex((least, index) => parts[index] !== least);
  if (differs >= 0 && (parts[differs] ?? 0) < (MIN_SQLITE[differs] as number)) {
    throw new Error(`SQLite ${version} is too old; ${MIN_SQLITE.join(".")} or later is needed.`);
  }
}

/**
 * Applies the numbered migrations that the file has not seen, each in a transaction of its own.
 * They go forward only.
 */
function migrate(db: Connection, path: string): void {
  const files = readdirSync(MIGRATIONS).sort();
  const newest = files.length;
  const done = db.pragma("user_version", { simple: true }) as number;
  if (done > newest) {
    const needed = db.prepare("SELECT minimum_program_version FROM schema_compatibility").pluck().get() as number;
    if (needed > newest) {
      throw new Error(`${path} has schema ${done}, which needs a newer Numberpool; this one knows schema ${newest}.`);
    }
  }
  for (const [index, file] of files.entries()) {
    const version = index + 1;
    db.transaction(() => {
      // Another process may have been faster.
      if ((db.pragma("user_version", { simple: true }) as number) >= version) return;
      db.exec(readFileSync(join(MIGRATIONS, file), "utf8"));
      db.pragma(`user_version = ${version}`);
    }).immediate();
  }
}
