import { type Level, type LevelWithSilent, pino } from "pino";
import type { LogEvent } from "./log-events.ts";

/** The fields of a line of the log. */
export type LogFields = { readonly event: LogEvent; readonly [field: string]: unknown };

/** Writes one line of the log. */
type WriteLine = (fields: LogFields, message: string) => void;

/** The log: a line for each event. Fields hold ids, never texts, phone numbers or keys. */
export type Log = { readonly [Name in Level]: WriteLine } & {
  /** Writes the remaining lines at once. */
  readonly flush: () => void;
};

/** The server's log, and its orderly end. */
export type ServerLog = {
  readonly log: Log;
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

/** A stream of the process, with its handle. */
type Output = NodeJS.WriteStream & { readonly _handle?: { setBlocking?: (isBlocking: boolean) => void } };

/**
 * A log on a stream of the process that never blocks the program: lines for a pipe that is not read
 * are dropped, and counted in a later line. `clock` gives milliseconds since 1970.
 */
export function openLog(level: LevelWithSilent, output: Output, clock: () => number): ServerLog {
  // Node makes a pipe of the process blocking: a write into a full one would block the whole
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
      time: clock(),
      event: "log_lines_dropped" satisfies LogEvent,
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
