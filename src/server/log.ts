import { type Logger, pino } from "pino";
import type { Config } from "../config/config.ts";

/** The server's log, and its orderly end. */
export type ServerLog = {
  readonly log: Logger;
  /** Writes the remaining lines; waits only briefly for a slow reader. */
  readonly finish: () => Promise<void>;
};

/** Lines are written in chunks of this size, or at this interval. */
const CHUNK_BYTES = 4_096;
const FLUSH_INTERVAL_MS = 250;
/** The most bytes that wait for a reader. Beyond it lines are dropped and counted. */
const MAX_UNREAD_BYTES = 256 * 1024;
/** The longest wait for a reader at the end of the program. */
const MAX_FINISH_MS = 500;

/**
 * A log on standard error that never blocks the program: lines for a pipe that is not read are
 * dropped, and counted in a later line.
 */
export function openLog(level: Config["logLevel"]): ServerLog {
  const output = process.stderr as typeof process.stderr & {
    _handle?: { setBlocking?: (isBlocking: boolean) => void };
  };
  // Node makes a pipe on standard error blocking: a write into a full one would block the whole
  // program.
  if (!output.isTTY) output._handle?.setBlocking?.(false);
  // The server runs on when the reader of its log ends.
  output.on("error", () => {});
  let pending = "";
  let dropped = 0;

  const flush = () => {
    if (pending === "") return;
    if (output.writableLength > MAX_UNREAD_BYTES) {
      dropped += pending.split("\n").length - 1;
      pending = "";
      return;
    }
    const notice = {
      level: 40,
      time: Date.now(),
      event: "log_lines_dropped",
      lines: dropped,
      msg: "log lines dropped",
    };
    output.write(dropped === 0 ? pending : `${JSON.stringify(notice)}\n${pending}`);
    dropped = 0;
    pending = "";
  };
  const write = (line: string) => {
    pending += line;
    if (pending.length >= CHUNK_BYTES) flush();
  };
  setInterval(flush, FLUSH_INTERVAL_MS).unref();
  return {
    log: pino({ level, base: null }, { write, flush } as { write: typeof write }),
    finish: async () => {
      flush();
      if (output.writableLength === 0) return;
      await new Promise<void>((resolve) => {
        output.once("drain", () => resolve());
        setTimeout(resolve, MAX_FINISH_MS);
      });
    },
  };
}
