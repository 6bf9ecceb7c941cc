import { join } from "node:path";
import { type Child, type Load, runLoad, startChild } from "./child.ts";
import { cpuSeconds } from "./cpu-time.ts";
import { isKannelInstalled, type Kannel } from "./kannel.ts";
import type { KernelResult } from "./kernel.ts";
import { isLarge, measureLarge } from "./large.ts";
import { type Program, startProgram } from "./program.ts";
import { BATCH, grpcBatch, grpcHeadersOf, grpcSends, jsonBatch, jsonSends, kannelSends } from "./requests.ts";
import type { Figure, RoundsOptions } from "./rounds-options.ts";
import { MEASURES, type Measure } from "./rows.ts";
import type { LoadResult, Timing } from "./tally.ts";

/** The measured figures, the skipped measures with reasons, and the faults. */
export type Measured = {
  readonly runs: ReadonlyMap<Measure, readonly Figure[]>;
  readonly skipped: ReadonlyMap<Measure, string>;
  readonly faults: readonly string[];
};

/**
 * JSON and Kannel: connections with a call each. gRPC: connections with several calls each.
 * Batches: concurrent batches.
 */
const HTTP_CONNECTIONS = 128;
const GRPC = { connections: 8, streams: 16 };
const BATCHES_AT_A_TIME = 4;

/** A load against a server; every call carries `each` messages. */
type Subject = {
  readonly each: number;
  readonly pids: readonly number[];
  readonly run: (timing: Timing) => Promise<LoadResult>;
};

/**
 * Measures in rounds. Each starts the program and the echoes on an empty database, warms them up,
 * and runs every load once, every other round in reverse order, so that other load on the machine
 * affects all alike.
 */
export async function measureRounds(options: RoundsOptions): Promise<Measured> {
  const runs = new Map<Measure, Figure[]>();
  const skipped = new Map<Measure, string>();
  const faults: string[] = [];
  const wanted = new Set(options.measures);
  const skip = (measure: Measure, why: string) => {
    if (wanted.delete(measure)) skipped.set(measure, why);
  };
  if (!isKannelInstalled()) skip("kannel", "kannel is not installed");
  const hasConnect = await import("@connectrpc/connect-node").then(
    () => true,
    () => false,
  );
  if (!hasConnect) skip("connectEcho", "@connectrpc/connect-node is not installed");

  const note = (measure: Measure, figure: Figure) => {
    runs.set(measure, [...(runs.get(measure) ?? []), figure]);
    const rate = figure.rate.toLocaleString("en", { maximumFractionDigits: figure.rate < 100 ? 2 : 0 });
    options.log(`  ${MEASURES[measure].padEnd(46)}${rate.padStart(12)}`);
  };

  const kannel = wanted.has("kannel") ? await options.startKannel() : undefined;
  try {
    for (let round = 1; round <= options.rounds; round += 1) {
      options.log(`Round ${round} of ${options.rounds}`);
      await measureRound(round, wanted, kannel, options, note, faults);
    }
  } finally {
    await kannel?.stop();
  }
  return { runs, skipped, faults };
}

async function measureRound(
  round: number,
  wanted: ReadonlySet<Measure>,
  kannel: Kannel | undefined,
  options: RoundsOptions,
  note: (measure: Measure, figure: Figure) => void,
  faults: string[],
): Promise<void> {
  if ([...wanted].some((measure) => measure.startsWith("decide"))) {
    const kernel = startChild(process.execPath, [
      join(import.meta.dirname, "kernel.ts"),
      `${options.timing.seconds / 4}`,
    ]);
    const { plain, rules } = JSON.parse(await kernel.line) as KernelResult;
    note("decideAt100", { rate: plain.at100 });
    note("decideAt100000", { rate: plain.at100000 });
    note("decideRulesAt100", { rate: rules.at100 });
    note("decideRulesAt100000", { rate: rules.at100000 });
    await kernel.exited;
  }
  await measureLarge(wanted, options, note, faults);
  if ([...wanted].every((measure) => measure.startsWith("decide") || isLarge(measure))) return;

  const program = await startProgram(options);
  const children: Child[] = [];
  try {
    const subjects = new Map<Measure, Subject>();
    const echo = async (kind: "json" | "grpc" | "connect", sample: string) => {
      const child = startChild(process.execPath, [join(import.meta.dirname, "echo.ts"), kind, sample]);
      children.push(child);
      return { port: Number(await child.line), pids: [child.pid] };
    };
    const add = (measure: Measure, pids: readonly number[], load: Load, each = 1) =>
      subjects.set(measure, { each, pids, run: (timing) => runLoad({ ...load, ...timing }) });
    const http = { kind: "http", connections: HTTP_CONNECTIONS, okStatus: 200 } as const;
    const grpc = { kind: "grpc", ...GRPC } as const;
    const own = [program.pid];

    if (wanted.has("jsonEcho")) {
      const { port, pids } = await echo("json", program.sampleJson);
      add("jsonEcho", pids, { ...http, port, templates: jsonSends(program) });
    }
    if (wanted.has("jsonSend")) {
      add("jsonSend", own, { ...http, port: program.httpPort, templates: jsonSends(program) });
    }
    if (kannel !== undefined) {
      const templates = kannelSends(kannel.username, kannel.password);
      add("kannel", kannel.pids, { ...http, okStatus: 202, port: kannel.port, templates });
    }
    const sends = { ...grpc, headersBase64: grpcHeadersOf("SendMessage", program), templates: grpcSends(program) };
    if (wanted.has("connectEcho")) {
      const { port, pids } = await echo("connect", program.sampleGrpc);
      add("connectEcho", pids, { ...sends, port });
    }
    if (wanted.has("grpcEcho")) {
      const { port, pids } = await echo("grpc", program.sampleGrpc);
      add("grpcEcho", pids, { ...sends, port });
    }
    if (wanted.has("grpcSend")) add("grpcSend", own, { ...sends, port: program.grpcPort });
    if (wanted.has("grpcBatch")) {
      const headersBase64 = grpcHeadersOf("SendMessages", program);
      const some = { connections: BATCHES_AT_A_TIME, streams: 1, templates: grpcBatch(program) };
      add("grpcBatch", own, { ...grpc, ...some, headersBase64, port: program.grpcPort }, BATCH);
    }
    if (wanted.has("jsonBatch")) {
      const some = { connections: BATCHES_AT_A_TIME, templates: jsonBatch(program) };
      add("jsonBatch", own, { ...http, ...some, port: program.httpPort }, BATCH);
    }
    await runSubjects(round, subjects, { program, kannel, options, note, faults });
  } finally {
    for (const child of children) await child.stop();
    await program.stop();
  }
}

type RunParts = {
  readonly program: Program;
  readonly kannel: Kannel | undefined;
  readonly options: RoundsOptions;
  readonly note: (measure: Measure, figure: Figure) => void;
  readonly faults: string[];
};

async function runSubjects(round: number, subjects: ReadonlyMap<Measure, Subject>, parts: RunParts): Promise<void> {
  const { program, kannel, options, note, faults } = parts;
  const storing = new Set<Measure>(["jsonSend", "grpcSend", "grpcBatch", "jsonBatch"]);
  let acknowledged = 0;
  const run = async (measure: Measure, { each, pids, run: load }: Subject, timing: Timing): Promise<Figure> => {
    const before = cpuSeconds(pids);
    const result = await load(timing);
    const after = cpuSeconds(pids);
    if (storing.has(measure)) acknowledged += result.total * each;
    if (result.errors > 0) {
      faults.push(`Round ${round}, ${MEASURES[measure]}: ${result.errors} errors, the first: ${result.firstError}`);
    }
    if (measure === "kannel") await kannel?.drained();
    const { ok, seconds, total, p50, p99, cores } = result;
    const cpu = before === undefined || after === undefined ? undefined : ((after - before) / (total * each)) * 1e6;
    return { rate: (ok * each) / seconds, p50, p99, cpu, generatorCores: cores };
  };

  for (const [measure, subject] of subjects) {
    // Kannel needs no warm-up after the first round.
    if (measure === "kannel" && round > 1) continue;
    // Batches fill the queues fast, and most of their code is already warm.
    const seconds = subject.each > 1 ? options.warmup / 2 : options.warmup;
    await run(measure, subject, { warmup: 0, seconds });
  }
  const order = round % 2 === 1 ? [...subjects] : [...subjects].reverse();
  for (const [measure, subject] of order) {
    note(measure, await run(measure, subject, options.timing));
  }
  const stored = await program.countStored();
  if (stored < acknowledged) {
    faults.push(`Round ${round}: ${acknowledged} messages were acknowledged, but ${stored} are on disk.`);
  }
}
