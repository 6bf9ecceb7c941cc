import { cpus } from "node:os";
import type { Measured } from "./rounds.ts";
import type { Figure } from "./rounds-options.ts";
import { isMet, MEASURES, type Measure, type Medians, median, type Row } from "./rows.ts";

/** The measurements on one store. */
export type Column = { readonly name: string; readonly measured: Measured; readonly medians: Medians };

export type RowReport = {
  readonly name: string;
  readonly title: string;
  readonly bar: Row["bar"];
  /** By store. */
  readonly values: Readonly<Record<string, number | undefined>>;
  readonly verdicts: Readonly<Record<string, "met" | "missed" | `skipped: ${string}`>>;
};

/** The whole result, for machines. */
export type Report = {
  readonly node: string;
  readonly cpu: string;
  readonly cores: number;
  readonly rows: readonly RowReport[];
  readonly stores: Readonly<
    Record<
      string,
      {
        readonly medians: Medians;
        readonly runs: Readonly<Record<string, readonly Figure[]>>;
        readonly faults: readonly string[];
      }
    >
  >;
};

/** The rows with their values, verdicts and figures. */
export function report(rows: readonly Row[], columns: readonly Column[]): Report {
  return {
    node: process.versions.node,
    cpu: cpus()[0]?.model ?? "",
    cores: cpus().length,
    rows: rows.map((row) => rowReport(row, columns)),
    stores: Object.fromEntries(
      columns.map(({ name, measured, medians }) => [
        name,
        { medians, runs: Object.fromEntries(measured.runs), faults: measured.faults },
      ]),
    ),
  };
}

/** The medians as lines of a table: rate, the lowest and highest run, and the times of a call. */
export function figureLines({ runs }: Measured, medians: Medians): string[] {
  const lines = [
    `${"median of the runs".padEnd(40)}${"/s".padStart(11)}   ${"lowest – highest".padEnd(23)}${"p50, p99 ms".padEnd(15)}CPU µs each`,
  ];
  for (const [measure, figures] of runs) {
    const rates = figures.map(({ rate }) => rate);
    const range = `${count(Math.min(...rates))} – ${count(Math.max(...rates))}`;
    const middle = figures.toSorted((a, b) => a.rate - b.rate)[Math.floor(figures.length / 2)];
    const times = middle?.p50 === undefined ? "" : `${middle.p50.toFixed(1)}, ${middle.p99?.toFixed(1)}`;
    const cpus = figures.flatMap(({ cpu }) => (cpu === undefined ? [] : [cpu]));
    const cpu = cpus.length === 0 ? "" : median(cpus).toFixed(0);
    lines.push(
      `${MEASURES[measure].padEnd(40)}${count(medians[measure] ?? 0).padStart(11)}   ${range.padEnd(23)}${times.padEnd(15)}${cpu.padStart(11)}`,
    );
  }
  return lines;
}

/**
 * The rows as lines of a table: a value for each store, the bar, the first store's verdict, and the
 * faults.
 */
export function rowLines(rows: readonly Row[], columns: readonly Column[]): string[] {
  const head = columns.map(({ name }) => name.padStart(11)).join("");
  const lines = [`${head}  ${"bar".padEnd(12)} ${"".padEnd(8)} row`];
  for (const row of rows) {
    const { values, verdicts } = rowReport(row, columns);
    const digits = { minimumFractionDigits: row.digits, maximumFractionDigits: row.digits };
    const cells = columns.map(({ name }) => (values[name]?.toLocaleString("en", digits) ?? "").padStart(11)).join("");
    const bar = "atLeast" in row.bar ? `≥ ${row.bar.atLeast.toLocaleString("en")}` : `≤ ${row.bar.atMost}`;
    lines.push(`${cells}  ${bar.padEnd(12)} ${(verdicts[columns[0]?.name ?? ""] ?? "").padEnd(8)} ${row.title}`);
  }
  const faults = columns.flatMap(({ measured }) => measured.faults);
  return faults.length === 0 ? lines : [...lines, "", "These figures cannot be trusted:", ...faults];
}

function rowReport({ name, title, needs, value, bar }: Row, columns: readonly Column[]): RowReport {
  const of = ({ measured, medians }: Column): [number | undefined, RowReport["verdicts"][string]] => {
    const missing = needs.find((measure) => medians[measure] === undefined);
    if (missing !== undefined) return [undefined, `skipped: ${measured.skipped.get(missing) ?? "not measured"}`];
    const result = value((measure: Measure) => medians[measure] ?? Number.NaN);
    return [result, isMet(result, bar) ? "met" : "missed"];
  };
  const results = columns.map((column) => [column.name, of(column)] as const);
  return {
    name,
    title,
    bar,
    values: Object.fromEntries(results.map(([store, [result]]) => [store, result])),
    verdicts: Object.fromEntries(results.map(([store, [, verdict]]) => [store, verdict])),
  };
}

function count(rate: number): string {
  return Math.round(rate).toLocaleString("en");
}
