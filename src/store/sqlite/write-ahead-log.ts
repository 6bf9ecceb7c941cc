import { chmodSync, copyFileSync, readFileSync, statSync } from "node:fs";
import type { Connection } from "./open.ts";

/** The content of a write-ahead log before its file is opened. */
export type LogFound = {
  /** Pages that recovery restores, up to the last complete commit. */
  readonly pages: number;
  readonly commits: number;
  /** Complete commits that recovery skips, because the log is damaged before them. */
  readonly lostCommits: number;
  /** The path of the copy of a damaged log; undefined when the log is not damaged. */
  readonly keptAs: string | undefined;
};

const HEADER = 32;
const FRAME_HEADER = 24;
/** The first word of a log; its last bit is the byte order of checksummed words. */
const MAGIC = 0x377f0682;

/**
 * Reads the log of a SQLite file by SQLite's file format, before the file is opened: recovery
 * itself reports nothing. Copies a log that is damaged in the middle to a file of its own, because
 * opening the database drops what recovery skipped.
 */
export function inspectLog(path: string): LogFound {
  const log = `${path}-wal`;
  if ((statSync(log, { throwIfNoEntry: false })?.size ?? 0) < HEADER) return NOTHING;
  const found = readLog(readFileSync(log));
  if (found.lostCommits === 0) return found;
  const keptAs = `${log}.damaged`;
  copyFileSync(log, keptAs);
  chmodSync(keptAs, 0o600);
  return { ...found, keptAs };
}

/**
 * Copies the whole log into the file and empties it, unless another connection reads or writes at
 * this moment; does not wait. A commit in the file itself survives damage of the log.
 */
export function emptyLog(db: Connection): void {
  const timeout = db.pragma("busy_timeout", { simple: true });
  db.pragma("busy_timeout = 0");
  try {
    db.pragma("wal_checkpoint(TRUNCATE)");
  } finally {
    db.pragma(`busy_timeout = ${timeout}`);
  }
}

const NOTHING: LogFound = { pages: 0, commits: 0, lostCommits: 0, keptAs: undefined };

function readLog(log: Buffer): LogFound {
  const view = new DataView(log.buffer, log.byteOffset, log.byteLength);
  const magic = view.getUint32(0);
  if ((magic & ~1) >>> 0 !== MAGIC) return NOTHING;
  const isLittle = (magic & 1) === 0;
  const pageSize = view.getUint32(8);
  const ofHeader = checksum(view, 0, HEADER - 8, isLittle, [0, 0]);
  if (!equal(ofHeader, storedAt(view, HEADER - 8))) return NOTHING;
  let pages = 0;
  let commits = 0;
  let lostCommits = 0;
  let isWhole = true;
  let before = ofHeader;
  const size = FRAME_HEADER + pageSize;
  for (let index = 0, at = HEADER; at + size <= log.length; index += 1, at += size) {
    // Frames of an earlier log have other salts.
    const isOfThisLog = view.getBigUint64(at + 8) === view.getBigUint64(16);
    const sum = checksum(view, at, 8, isLittle, before);
    const isGood =
      isOfThisLog && equal(checksum(view, at + FRAME_HEADER, pageSize, isLittle, sum), storedAt(view, at + 16));
    const isCommit = isGood && view.getUint32(at + 4) > 0;
    if (!isGood) isWhole = false;
    if (isCommit && isWhole) {
      pages = index + 1;
      commits += 1;
    }
    // Each checksum continues the stored checksum of the frame before, so that frames after damage
    // are recognized.
    if (isCommit && !isWhole) lostCommits += 1;
    before = storedAt(view, at + 16);
  }
  return { pages, commits, lostCommits, keptAs: undefined };
}

type Sum = readonly [number, number];

/** SQLite's checksum over pairs of words. */
function checksum(view: DataView, from: number, length: number, isLittle: boolean, [first, second]: Sum): Sum {
  let [a, b] = [first, second];
  for (let at = from; at < from + length; at += 8) {
    a = (a + view.getUint32(at, isLittle) + b) >>> 0;
    b = (b + view.getUint32(at + 4, isLittle) + a) >>> 0;
  }
  return [a, b];
}

function storedAt(view: DataView, at: number): Sum {
  return [view.getUint32(at), view.getUint32(at + 4)];
}

function equal(one: Sum, other: Sum): boolean {
  return one[0] === other[0] && one[1] === other[1];
}
