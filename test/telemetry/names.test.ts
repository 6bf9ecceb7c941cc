import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { LOG_EVENTS } from "../../src/telemetry/log-events.ts";
import { METRICS } from "../../src/telemetry/metric-table.ts";

const ROOT = join(import.meta.dirname, "../..");
const read = (path: string) => readFileSync(join(ROOT, path), "utf8");
const sources = globSync("src/**/*.ts", { cwd: ROOT });

/** The cells of the table under a heading of docs/operations.md, row by row, without its header. */
function documentedRows(heading: string): string[][] {
  const section = read("docs/operations.md").split(`\n## ${heading}\n`)[1]?.split("\n## ")[0] ?? "";
  const rows = section.split("\n").filter((line) => line.startsWith("|"));
  return rows.slice(2).map((row) =>
    row
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

const quoted = (cell = "") => [...cell.matchAll(/`([^`]+)`/g)].map(([, name = ""]) => name);

describe("The log's events", () => {
  /** Each call of a log, with its event; undefined: it names none. */
  const calls = sources.flatMap((file) => {
    // A line that is long is broken after the parenthesis.
    const found = read(file).matchAll(
      /\blog\.(?:trace|debug|info|warn|error|fatal)\((?:fields,|\s*\{ event: "(\w+)")?/g,
    );
    return [...found].map(([text, event]) => ({ file, event: text.endsWith("(fields,") ? "call_ended" : event }));
  });

  it("are named in every call of the log, and listed in one place", () => {
    expect(calls.length).toBeGreaterThan(20);
    expect(calls.filter(({ event }) => event === undefined || !(event in LOG_EVENTS))).toEqual([]);
  });

  it("are each logged somewhere", () => {
    // The log itself writes this one.
    const logged = new Set([...calls.map(({ event }) => event), "log_lines_dropped"]);
    expect(Object.keys(LOG_EVENTS).filter((event) => !logged.has(event))).toEqual([]);
  });

  it("are documented", () => {
    const documented = documentedRows("Logs").flatMap(([events]) => quoted(events));
    // The text above the table describes this one.
    expect([...documented, "log_lines_dropped"].sort()).toEqual(Object.keys(LOG_EVENTS).sort());
  });
});

describe("The metrics", () => {
  it("are documented with their types", () => {
    const documented = documentedRows("Metrics").map(([name, type]) => `${quoted(name)[0]} ${type}`);
    expect(documented.sort()).toEqual(
      Object.values(METRICS)
        .map(({ name, type }) => `${name} ${type}`)
        .sort(),
    );
  });

  it("are named in one file", () => {
    const naming = sources.filter((file) => /"numberpool_\w+(_total|_seconds|_numbers|_messages)"/.test(read(file)));
    expect(naming).toEqual(["src/telemetry/metric-table.ts"]);
  });
});
