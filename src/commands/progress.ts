/** What a progress bar is drawn on: standard error, or what looks like it. */
export type Terminal = {
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly write: (text: string) => unknown;
};

/** A line that shows how far long work is. */
export type Progress = {
  readonly show: (doing: string, done: number, total: number) => void;
  /** Takes the line away, so that something else can be printed. */
  readonly clear: () => void;
};

/** Milliseconds between two drawings. */
const INTERVAL = 100;
const WIDTH = 30;

/** A bar on one line of a terminal; on anything else, a file or a pipe, nothing. `clock` gives milliseconds. */
export function createProgress(terminal: Terminal, clock: () => number): Progress {
  if (terminal.isTTY !== true) return { show: () => {}, clear: () => {} };
  let drawnAt = Number.NEGATIVE_INFINITY;
  return {
    show: (doing, done, total) => {
      if (clock() - drawnAt < INTERVAL) return;
      drawnAt = clock();
      const share = total === 0 ? 1 : Math.min(1, done / total);
      const full = Math.round(share * WIDTH);
      const bar = `[${"=".repeat(full)}${" ".repeat(WIDTH - full)}]`;
      const line = `${doing} ${bar} ${Math.floor(share * 100)} %`;
      // A line that wraps could not be drawn over. Some terminals say that they have 0 columns.
      terminal.write(`\r${line.slice(0, (terminal.columns || 80) - 1)}\x1b[K`);
    },
    clear: () => {
      if (drawnAt === Number.NEGATIVE_INFINITY) return;
      drawnAt = Number.NEGATIVE_INFINITY;
      terminal.write("\r\x1b[K");
    },
  };
}
