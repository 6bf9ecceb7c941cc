import { closeSync, existsSync, openSync, readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import Database from "better-sqlite3";

const MIGRATIONS = join(import.meta.dirname, "migrations");
/** In older versions a crash between two writers of one WAL can damage the file. */
const MIN_SQLITE = [3, 51, 3];
/** The timeout of waiting for another writer (an import, a backup), milliseconds. */
const BUSY_TIMEOUT_MS = 5_000;

export type Connection = Database.Database;

/**
 * Opens and migrates a SQLite file, created if it does not exist, with every commit synced to disk.
 * Throws one sentence when SQLite is too old or refuses the settings, or when the file has several
 * names or is newer than this program.
 */
export function openConnection(path: string): Connection {
  createPrivately(path);
  const { nlink = 1 } = statSync(path, { throwIfNoEntry: false }) ?? {};
  if (nlink > 1) {
    throw new Error(
      `${path} has ${nlink} names (hard links), but SQLite finds its log by its name; remove all names but one.`,
    );
  }
  const db = new Database(path, { timeout: BUSY_TIMEOUT_MS });
  try {
    checkVersion(db);
    switchToWal(db);
    // The default of the library is NORMAL, with which a power failure may lose the newest commits.
    // The setting belongs to the connection.
    db.pragma("synchronous = FULL");
    db.pragma("foreign_keys = ON");
    db.pragma("temp_store = MEMORY");
    db.pragma("cache_size = -65536");
    // 32 MiB of log before it is copied into the file: a page that many commits change is then
    // copied once, not once a second.
    db.pragma("wal_autocheckpoint = 8192");
    const journal = db.pragma("journal_mode", { simple: true });
    const synchronous = db.pragma("synchronous", { simple: true });
    if (journal !== "wal" || synchronous !== 2) {
      throw new Error(`${path}: SQLite refused WAL with synchronous=FULL (${journal}, ${synchronous}).`);
    }
    migrate(db, path);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

/**
 * Migrates a SQLite file, created if it does not exist, and gives its schema before, 0 for a new
 * file, and after.
 */
export function bringUpToDate(path: string): { readonly from: number; readonly to: number } {
  createPrivately(path);
  const before = new Database(path, { timeout: BUSY_TIMEOUT_MS });
  const from = before.pragma("user_version", { simple: true }) as number;
  before.close();
  const db = openConnection(path);
  const to = db.pragma("user_version", { simple: true }) as number;
  db.close();
  return { from, to };
}

/**
 * Locks a database for one serving process, by an exclusive transaction on a file beside it that
 * ends with the process, however it ends. Throws one sentence when another process keeps the lock
 * for longer than five seconds. Gives how to release it.
 */
export function holdExclusively(path: string): () => void {
  // Two names of one file must have one lock.
  const file = existsSync(path) ? realpathSync(path) : join(realpathSync(dirname(path)), basename(path));
  createPrivately(`${file}.lock`);
  const lock = new Database(`${file}.lock`, { timeout: BUSY_TIMEOUT_MS });
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
 * Creates an empty file that only its owner can read, unless it exists; SQLite gives its log and
 * index the same mode.
 */
function createPrivately(path: string): void {
  try {
    closeSync(openSync(path, "wx", 0o600));
  } catch {
    // The file exists, or SQLite reports why it cannot be created.
  }
}

/** The extended result code of a SQLite error, or "" for any other error. */
export function codeOf(error: unknown): string {
  return error instanceof Database.SqliteError ? error.code : "";
}

/**
 * The switch locks the whole file and, unlike other statements, does not wait for other
 * connections.
 */
function switchToWal(db: Connection): void {
  const until = performance.now() + BUSY_TIMEOUT_MS;
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

/** Applies the new numbered migrations, each in a transaction of its own. There is no way back. */
function migrate(db: Connection, path: string): void {
  const files = readdirSync(MIGRATIONS).sort();
  const newest = files.length;
  const done = db.pragma("user_version", { simple: true }) as number;
  if (done > newest) {
    const needed = db.prepare("SELECT minimum_program_version FROM schema_compatibility").pluck().get() as number;
    if (needed > newest) {
      throw new Error(
        `${path} has schema ${done}, which needs a newer Numberpool; this one supports schema ${newest}.`,
      );
    }
  }
  for (const [index, file] of files.entries()) {
    const version = index + 1;
    db.transaction(() => {
      // Another process may have migrated meanwhile.
      if ((db.pragma("user_version", { simple: true }) as number) >= version) return;
      db.exec(readFileSync(join(MIGRATIONS, file), "utf8"));
      db.pragma(`user_version = ${version}`);
    }).immediate();
  }
}
