/** The part of standard error that a progress bar needs. */
export type Terminal = {
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly write: (text: string) => unknown;
};

/** A line that shows the progress of long work. */
export type Progress = {
  readonly show: (phase: string, done: number, total: number) => void;
  /** Clears the line, so that other text can be printed. */
  readonly clear: () => void;
};

/** The least time between two drawings. */
const MIN_INTERVAL_MS = 100;
const BAR_COLUMNS = 30;

/**
 * Draws a bar on one line of a terminal; a file or a pipe gets nothing. `clock` gives milliseconds.
 */
export function createProgress(terminal: Terminal, clock: () => number): Progress {
  if (terminal.isTTY !== true) return { show: () => {}, clear: () => {} };
  let drawnAt = Number.NEGATIVE_INFINITY;
  return {
    show: (phase, done, total) => {
      if (clock() - drawnAt < MIN_INTERVAL_MS) return;
      drawnAt = clock();
      const share = total === 0 ? 1 : Math.min(1, done / total);
      const full = Math.round(share * BAR_COLUMNS);
      const bar = `[${"=".repeat(full)}${" ".repeat(BAR_COLUMNS - full)}]`;
      const line = `${phase} ${bar} ${Math.floor(share * 100)} %`;
      // A wrapped line cannot be redrawn. Some terminals report 0 columns.
      terminal.write(`\r${line.slice(0, (terminal.columns || 80) - 1)}\x1b[K`);
    },
    clear: () => {
      if (drawnAt === Number.NEGATIVE_INFINITY) return;
      drawnAt = Number.NEGATIVE_INFINITY;
      terminal.write("\r\x1b[K");
    },
  };
}
