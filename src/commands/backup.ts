import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { startCopy } from "../store/sqlite/start-copy.ts";
import { answer, type Command, JSON_OPTION } from "./command.ts";
import { createProgress } from "./progress.ts";
import { knownSqliteFile } from "./with-store.ts";

/** `numberpool backup`: a verified copy of the database as it is at one moment, while others may write to it. */
export const backup: Command = {
  name: "backup",
  summary: "Copies the database into a new file, beside a running server, and verifies the copy.",
  details: `FILE appears when it is complete and verified, and is never overwritten; until then it is FILE.partial.
A server on it accepts sends and holds them until \`numberpool delivery resume\`.`,
  argument: "FILE",
  options: [JSON_OPTION],
  run: async (call) => {
    const database = knownSqliteFile(call.config);
    const file = call.argument;
    refuseExisting(file);
    // As an absolute path, because SQLite would take `file:…` for a URI.
    const partial = `${resolve(file)}.partial`;
    // Before the file is there: a signal that comes in between is heeded afterwards.
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
      const held = `${messages.toLocaleString("en-US")} messages and ${numbers.toLocaleString("en-US")} numbers`;
      answer(call, `${file}: ${held}, ${size}, verified.`, { file, database, messages, numbers, bytes });
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
  let doing = "copying";
  const drawing = setInterval(() => progress.show(doing, statSync(partial).size, total), 250);
  try {
    return await startCopy(database, partial, Date.now(), () => {
      doing = "verifying";
    });
  } finally {
    clearInterval(drawing);
    progress.clear();
  }
}

function refuseExisting(file: string): void {
  if (existsSync(file)) throw new Error(`${file} exists; name a new file.`);
}

/** Makes the file that is written to, for this backup alone, and readable to its owner alone. */
function reserve(partial: string): void {
  try {
    closeSync(openSync(partial, "wx", 0o600));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "EEXIST") throw new Error(`${partial} cannot be written (${code}).`);
    throw new Error(`${partial} exists: another backup is writing it, or one was cut off; remove it in that case.`);
  }
}

/** A signal ends the process as it always does, but takes the unfinished file with it. Gives how to stop that. */
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

/** Only then is the new name on disk, too. */
function syncFolder(path: string): void {
  const folder = openSync(path, "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
