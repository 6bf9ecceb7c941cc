import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { startCopy } from "../../store/sqlite/start-copy.ts";
import { answer, type Command, JSON_OPTION } from "../command.ts";
import { createProgress } from "../progress.ts";
import { existingSqliteFile } from "../with-store.ts";

/**
 * `numberpool backup`: makes a verified copy of the database as of one moment, while other
 * processes may write to it.
 */
export const backup: Command = {
  name: "backup",
  summary: "Copies the database into a new file, beside a running server, and verifies the copy.",
  details: `FILE appears once the copy is complete and verified; until then the copy is FILE.partial. An existing FILE is never overwritten.
A server on the copy accepts sends, and holds delivery until \`numberpool delivery resume\`.`,
  argument: "FILE",
  options: [JSON_OPTION],
  run: async (call) => {
    const database = existingSqliteFile(call.config);
    const file = call.argument;
    refuseExisting(file);
    // An absolute path: SQLite reads `file:…` as a URI.
    const partial = `${resolve(file)}.partial`;
    // Before the file exists, so that no signal in between leaves it behind.
    const unguard = removeWhenSignalled(partial);
    try {
      reserve(partial);
    } catch (error) {
      unguard();
      throw error;
    }
    try {
      const copy = await copyWithProgress(database, partial);
      refuseExisting(file);
      renameSync(partial, file);
      syncFolder(dirname(resolve(file)));
      const { messages, numbers, bytes } = copy;
      const size = `${(bytes / 1e6).toFixed(1)} MB`;
      const content = `${messages.toLocaleString("en-US")} messages and ${numbers.toLocaleString("en-US")} numbers`;
      answer(call, `${file}: ${content}, ${size}, verified.`, { file, database, messages, numbers, bytes });
    } catch (error) {
      remove(partial);
      const reason = (error as Error).message.replace(/\.?$/, ".");
      throw new Error(`${database} was not backed up: ${reason}`);
    } finally {
      unguard();
    }
  },
};

async function copyWithProgress(database: string, partial: string) {
  const progress = createProgress(process.stderr, () => performance.now());
  const total = statSync(database).size;
  let phase = "copying";
  const timer = setInterval(() => progress.show(phase, statSync(partial).size, total), 250);
  try {
    return await startCopy(database, partial, Date.now(), () => {
      phase = "verifying";
    });
  } finally {
    clearInterval(timer);
    progress.clear();
  }
}

function refuseExisting(file: string): void {
  if (existsSync(file)) throw new Error(`${file} exists; name a new file.`);
}

/** Creates the file that this backup alone writes to, readable by its owner alone. */
function reserve(partial: string): void {
  try {
    closeSync(openSync(partial, "wx", 0o600));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "EEXIST") throw new Error(`${partial} cannot be written (${code}).`);
    throw new Error(
      `${partial} exists: another backup is writing it, or one was interrupted; in the second case remove the file.`,
    );
  }
}

/**
 * Removes the unfinished file when a signal ends the process. Returns a function that stops this.
 */
function removeWhenSignalled(partial: string): () => void {
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  const onSignal = (signal: NodeJS.Signals) => {
    remove(partial);
    stop();
    process.kill(process.pid, signal);
  };
  const stop = () => {
    for (const signal of signals) process.off(signal, onSignal);
  };
  for (const signal of signals) process.on(signal, onSignal);
  return stop;
}

function remove(partial: string): void {
  for (const file of [partial, `${partial}-journal`, `${partial}-wal`, `${partial}-shm`]) rmSync(file, { force: true });
}

/** Syncs a folder: only then is a new name in it on disk. */
function syncFolder(path: string): void {
  const folder = openSync(path, "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
