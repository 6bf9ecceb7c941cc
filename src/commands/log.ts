import { type Logger, pino } from "pino";
import type { Config } from "../config.ts";

/** The server's log, and how to end it. */
export type ServerLog = {
  readonly log: Logger;
  /** Writes what is left, as far as it is taken within a moment. */
  readonly finish: () => Promise<void>;
};

/** Lines are written together: this many bytes, or what came within so many milliseconds. */
const CHUNK = 4_096;
const INTERVAL = 250;
/** What may wait to be read, bytes. Beyond it lines are dropped and counted. */
const MAX_UNREAD = 256 * 1024;
/** How long the end of the program waits for a reader, milliseconds. */
const LAST_LINES = 500;

/**
 * A log on standard error that never holds up the program: a pipe that nobody reads takes no more lines, and those that came
 * meanwhile are counted in its next one.
 */
export function openLog(level: Config["logLevel"]): ServerLog {
  const output = process.stderr as typeof process.stderr & {
    _handle?: { setBlocking?: (isBlocking: boolean) => void };
  };
  // Node makes pipes of standard error blocking: a write into a full one would stop everything, the end of the program included.
  if (!output.isTTY) output._handle?.setBlocking?.(false);
  // A reader that has gone is no reason to end.
  output.on("error", () => {});
  let pending = "";
  let dropped = 0;

  const flush = () => {
    if (pending === "") return;
    if (output.writableLength > MAX_UNREAD) {
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
    if (pending.length >= CHUNK) flush();
  };
  setInterval(flush, INTERVAL).unref();
  return {
    log: pino({ level, base: null }, { write, flush } as { write: typeof write }),
    finish: async () => {
      flush();
      if (output.writableLength === 0) return;
      await new Promise<void>((resolve) => {
        output.once("drain", () => resolve());
        setTimeout(resolve, LAST_LINES);
      });
    },
  };
}
