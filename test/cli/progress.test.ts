import { describe, expect, it } from "vitest";
import { createProgress } from "../../src/cli/progress.ts";

/** A terminal that records what is written, and a clock that is set by hand. */
function terminalOf(options: { readonly isTTY?: boolean; readonly columns?: number }) {
  const written: string[] = [];
  const time = { now: 0 };
  const progress = createProgress({ ...options, write: (text) => written.push(text) }, () => time.now);
  return { written, time, progress };
}

describe("A progress bar", () => {
  it("is one line, redrawn at most ten times a second, and cleared at the end", () => {
    const { written, time, progress } = terminalOf({ isTTY: true, columns: 80 });
    progress.show("checking", 0, 4);
    progress.show("checking", 1, 4);
    time.now = 99;
    progress.show("checking", 2, 4);
    time.now = 100;
    progress.show("checking", 3, 4);
    progress.clear();
    progress.clear();
    expect(written).toEqual([
      `\r${`checking [${" ".repeat(30)}] 0 %`}\x1b[K`,
      `\r${`checking [${"=".repeat(23)}${" ".repeat(7)}] 75 %`}\x1b[K`,
      "\r\x1b[K",
    ]);
  });

  it("is complete on a terminal of unknown width", () => {
    for (const columns of [undefined, 0]) {
      const { written, progress } = terminalOf({ isTTY: true, ...(columns !== undefined && { columns }) });
      progress.show("importing", 4, 4);
      expect(written[0]).toContain("] 100 %");
    }
  });

  it("is redrawn at once after other text was printed", () => {
    const { written, progress } = terminalOf({ isTTY: true });
    progress.show("importing", 1, 2);
    progress.clear();
    progress.show("importing", 2, 2);
    expect(written).toHaveLength(3);
    expect(written[2]).toContain("100 %");
  });

  it("never wraps, and is full when there is no work or more than announced", () => {
    for (const [done, total] of [
      [0, 0],
      [9, 4],
    ] as const) {
      const { written, progress } = terminalOf({ isTTY: true, columns: 20 });
      progress.show("importing", done, total);
      expect(written).toEqual(["\rimporting [========\x1b[K"]);
    }
  });

  it("is not drawn outside a terminal", () => {
    for (const options of [{}, { isTTY: false }]) {
      const { written, progress } = terminalOf(options);
      progress.show("importing", 1, 2);
      progress.clear();
      expect(written).toEqual([]);
    }
  });
});
