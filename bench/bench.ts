import { mkdirSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { killChildren } from "./child.ts";
import { startKannel } from "./kannel.ts";
import { type Measured, measureRounds } from "./rounds.ts";
import { type Measure, type Medians, median, ROWS } from "./rows.ts";
import { figureLines, report, rowLines } from "./table.ts";
import { topOfProfiles } from "./top.ts";

const HELP = `npm run bench -- [OPTIONS]

Measures the program on this machine and prints every row with its bar. Takes about five minutes.

  --quick           Two short rounds: shows that it runs, says little.
  --only ROW        Only this row; can be given again. Rows: ${ROWS.map(({ name }) => name).join(", ")}.
  --rounds N        So many rounds, 5 otherwise.
  --json FILE       Writes every figure as JSON too.
  --profile FOLDER  Writes a CPU profile of the program for every round, and prints where its time went. Slows it down.
  --pool JSON       Lays these number_pool_settings over the benchmark's.
`;

/** The benchmark's command line. The exit code is 1 when a row misses its bar or an answer was wrong. */
export async function bench(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: "boolean", default: false },
      only: { type: "string", multiple: true, default: [] },
      rounds: { type: "string" },
      json: { type: "string" },
      profile: { type: "string" },
      pool: { type: "string", default: "{}" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const unknown = values.only.find((name) => !ROWS.some((row) => row.name === name));
  if (unknown !== undefined) throw new Error(`${unknown} is no row; --help lists them.`);
  const rows = ROWS.filter(({ name }) => values.only.length === 0 || values.only.includes(name));
  if (values.profile !== undefined) mkdirSync(values.profile, { recursive: true });

  process.on("exit", killChildren);
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1));
  const measured = await measureRounds({
    measures: new Set(rows.flatMap((row) => row.needs)),
    rounds: Number(values.rounds ?? (values.quick ? 2 : 5)),
    timing: values.quick ? { warmup: 0.5, seconds: 1.5 } : { warmup: 0.5, seconds: 3.5 },
    warmup: values.quick ? 1 : 2,
    nodeArgs:
      values.profile === undefined ? [] : ["--cpu-prof", "--cpu-prof-interval=250", `--cpu-prof-dir=${values.profile}`],
    poolSettings: JSON.parse(values.pool),
    startKannel,
    tell: (line) => console.error(line),
  });

  const medians = mediansOf(measured);
  console.log(["", ...figureLines(measured, medians), "", ...rowLines(rows, measured, medians)].join("\n"));
  if (values.profile !== undefined) console.log(topOfProfiles(values.profile).join("\n"));
  const result = report(rows, measured, medians);
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(result, undefined, 2)}\n`);
  if (result.rows.some(({ verdict }) => verdict === "missed") || measured.faults.length > 0) process.exitCode = 1;
}

function mediansOf({ runs }: Measured): Medians {
  const medians: Partial<Record<Measure, number>> = {};
  for (const [measure, figures] of runs) medians[measure] = median(figures.map(({ rate }) => rate));
  return medians;
}
