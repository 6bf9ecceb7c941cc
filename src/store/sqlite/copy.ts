import { closeSync, fsyncSync, openSync, statSync } from "node:fs";
import Database from "better-sqlite3";
import type { Connection } from "./open.ts";

/** The rows of a verified copy, and the bytes of its file. */
export type Copy = { readonly messages: number; readonly numbers: number; readonly bytes: number };

/**
 * Copies a snapshot of a SQLite file into another file, which must be empty or not exist, marks the
 * copy so that a server on it holds delivery (`heldSince`: milliseconds since 1970), syncs it to
 * disk and verifies it, by SQLite's own check and against the rows of the source. Other processes
 * may write to the source meanwhile, and retention may delete. Throws one sentence when the copy is
 * wrong, and leaves the written file. Calls `onCopied` before the verification.
 */
export function copyVerified(from: string, to: string, heldSince: number, onCopied: () => void): Copy {
  const source = new Database(from, { fileMustExist: true });
  let copy: Connection | undefined;
  try {
    const acceptedBefore = countAccepted(source);
    source.prepare("VACUUM INTO ?").run(to);
    mark(to, heldSince);
    sync(to);
    onCopied();
    copy = new Database(to, { readonly: true, fileMustExist: true });
    const found = copy.pragma("integrity_check(1)", { simple: true });
    if (found !== "ok") throw new Error(`The copy is damaged (${found}).`);

    const accepted = countAccepted(copy);
    const acceptedAfter = countAccepted(source);
    if (accepted < acceptedBefore || accepted > acceptedAfter) {
      throw new Error(
        `The copy has ${accepted} messages; the source had ${acceptedBefore} before and ${acceptedAfter} after, including deleted ones.`,
      );
    }
    const { changed, others } = numbersUnchangedSince(source, lastChange(copy));
    const inCopy = countOthers(copy, changed);
    if (inCopy !== others) {
      throw new Error(`The copy has ${inCopy} of the ${others} unchanged numbers.`);
    }
    return { messages: count(copy, "messages"), numbers: count(copy, "phone_numbers"), bytes: statSync(to).size };
  } finally {
    copy?.close();
    source.close();
  }
}

/** A copy of a copy keeps the earlier mark. */
function mark(path: string, heldSince: number): void {
  const copy = new Database(path, { fileMustExist: true });
  try {
    copy.prepare("INSERT INTO delivery_holds SELECT ? WHERE NOT EXISTS (SELECT 1 FROM delivery_holds)").run(heldSince);
  } finally {
    copy.close();
  }
}

/**
 * Counts every message that was ever accepted: the stored ones, and those that retention deleted.
 * The count only grows.
 */
function countAccepted(db: Connection): number {
  return db
    .prepare("SELECT (SELECT count(*) FROM messages) + (SELECT count FROM forgotten_messages)")
    .pluck()
    .get() as number;
}

/** VACUUM INTO does not sync its pages to disk. */
function sync(path: string): void {
  const file = openSync(path, "r+");
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/**
 * The ids of the numbers that were added, removed or changed after a change of the configuration,
 * as a JSON list, and the count of all others. Read in one snapshot, because numbers may change
 * meanwhile.
 */
function numbersUnchangedSince(source: Connection, change: number): { changed: string; others: number } {
  const select = source
    .prepare(
      "SELECT json_group_array(DISTINCT id) FROM configuration_changes WHERE kind = 'phone_number' AND change_sequence > ?",
    )
    .pluck();
  return source.transaction(() => {
    const changed = select.get(change) as string;
    return { changed, others: countOthers(source, changed) };
  })();
}

function lastChange(db: Connection): number {
  return db.prepare("SELECT coalesce(max(change_sequence), 0) FROM configuration_changes").pluck().get() as number;
}

function countOthers(db: Connection, ids: string): number {
  return db
    .prepare("SELECT count(*) FROM phone_numbers WHERE id NOT IN (SELECT value FROM json_each(?))")
    .pluck()
    .get(ids) as number;
}

function count(db: Connection, table: "messages" | "phone_numbers"): number {
  return db.prepare(`SELECT count(*) FROM ${table}`).pluck().get() as number;
}
