import { mkdirSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { startPostgres } from "../test/store/postgres-server.ts";
import { killChildren } from "./child.ts";
import { startKannel } from "./kannel.ts";
import { isOfAnyStore } from "./large.ts";
import { type Measured, measureRounds } from "./rounds.ts";
import { type Measure, type Medians, median, ROWS, type Row } from "./rows.ts";
import { type Column, figureLines, report, rowLines } from "./table.ts";
import { topOfProfiles } from "./top.ts";

const HELP = `npm run bench -- [OPTIONS]

Measures the program on this machine and prints every row with its bar in about five minutes.

  --postgres        Measures on PostgreSQL too, a server of its own from npm or NUMBERPOOL_TEST_POSTGRES, and prints both.
  --quick           Two short rounds, as a smoke test.
  --only ROW        Only this row; repeatable. Rows: ${ROWS.map(({ name }) => name).join(", ")}.
  --rounds N        The number of rounds, by default 5.
  --json FILE       Writes every figure as JSON too.
  --profile FOLDER  Writes a CPU profile of the program for every round, and prints the functions by time. Slows it down.
  --pool JSON       Overrides number_pool_settings of the benchmark.
`;

/**
 * The command line of the benchmark. The exit code is 1 when a row misses its bar or a response was
 * wrong.
 */
export async function bench(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      postgres: { type: "boolean", default: false },
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
  if (unknown !== undefined) throw new Error(`${unknown} is not a row; --help lists the rows.`);
  const rows = ROWS.filter(({ name }) => values.only.length === 0 || values.only.includes(name));
  if (values.profile !== undefined) mkdirSync(values.profile, { recursive: true });

  process.on("exit", killChildren);
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1));
  const measure = (some: readonly Row[], createDatabase?: () => Promise<string>) =>
    measureRounds({
      measures: new Set(some.flatMap((row) => row.needs)),
      createDatabase,
      rounds: Number(values.rounds ?? (values.quick ? 2 : 5)),
      timing: values.quick ? { warmup: 0.5, seconds: 1.5 } : { warmup: 0.5, seconds: 3.5 },
      warmup: values.quick ? 1 : 2,
      nodeArgs:
        values.profile === undefined
          ? []
          : ["--cpu-prof", "--cpu-prof-interval=250", `--cpu-prof-dir=${values.profile}`],
      poolSettings: JSON.parse(values.pool),
      startKannel,
      log: (line) => console.error(line),
    });
  const measured = await measure(rows);
  const medians = mediansOf(measured);
  const columns: Column[] = [{ name: "SQLite", measured, medians }];
  if (values.postgres) columns.push(await postgresColumn((create) => measure(rows.filter(isOfAnyStore), create)));
  for (const column of columns)
    console.log(["", column.name, ...figureLines(column.measured, column.medians)].join("\n"));
  console.log(["", ...rowLines(rows, columns)].join("\n"));
  if (values.profile !== undefined) console.log(topOfProfiles(values.profile).join("\n"));
  const result = report(rows, columns);
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(result, undefined, 2)}\n`);
  const isMissed = result.rows.some(({ verdicts }) => verdicts.SQLite === "missed");
  if (isMissed || columns.some((column) => column.measured.faults.length > 0)) process.exitCode = 1;
}

/** The same on a dedicated PostgreSQL server. The bars are SQLite's. */
async function postgresColumn(measure: (createDatabase: () => Promise<string>) => Promise<Measured>): Promise<Column> {
  console.error("PostgreSQL");
  const server = await startPostgres();
  try {
    const measured = await measure(server.createDatabase);
    return { name: "PostgreSQL", measured, medians: mediansOf(measured) };
  } finally {
    await server.stop();
  }
}

function mediansOf({ runs }: Measured): Medians {
  const medians: Partial<Record<Measure, number>> = {};
  for (const [measure, figures] of runs) medians[measure] = median(figures.map(({ rate }) => rate));
  return medians;
}
