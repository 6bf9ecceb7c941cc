import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { runLoad } from "./child.ts";
import { fill } from "./fill.ts";
import { type Program, startProgram } from "./program.ts";
import { jsonSends } from "./requests.ts";
import type { Figure, RoundsOptions } from "./rounds-options.ts";
import type { Measure, Row } from "./rows.ts";
import type { LoadResult, Timing } from "./tally.ts";

const LARGE = [
  "acceptAlone",
  "delivered",
  "busyP99",
  "emptySend",
  "storedSend",
  "queuedMegabytes",
  "startSeconds",
] as const satisfies readonly Measure[];

/** Measures that start with a filled SQLite file. */
const FILLED: readonly Measure[] = ["busyP99", "emptySend", "storedSend", "queuedMegabytes", "startSeconds"];

/** Whether a row is meaningful on a store other than SQLite. */
export function isOfAnyStore({ needs }: Row): boolean {
  return needs.every((measure) => !FILLED.includes(measure) && !measure.startsWith("decide"));
}

/** Whether a measure needs its own program: other numbers, or a full database. */
export function isLarge(measure: Measure): boolean {
  return (LARGE as readonly Measure[]).includes(measure);
}

const MESSAGES = 1_000_000;
const HOUR = 3_600_000;
/** Messages that wait for at least an hour. */
const QUEUED = { messages: MESSAGES, status: "queued", dueInMs: HOUR, segmentsPerSecond: 0.5 } as const;
/** Numbers fast enough never to be the bottleneck. */
const FAST = 10_000;
/** Connections that saturate the program, and those of callers that leave it idle time. */
const MANY = 128;
const FEW = 8;

type Note = (measure: Measure, figure: Figure) => void;

/** Runs the wanted measures on large data. */
export async function measureLarge(
  wanted: ReadonlySet<Measure>,
  options: RoundsOptions,
  note: Note,
  faults: string[],
): Promise<void> {
  const { timing, warmup } = options;
  const longer = { warmup, seconds: timing.seconds * 2 };
  if (wanted.has("acceptAlone")) {
    await withProgram(options, {}, async (program) =>
      note("acceptAlone", figureOf(await send(program, MANY, longer, faults))),
    );
  }
  if (wanted.has("delivered")) {
    await withProgram(options, { segmentsPerSecond: FAST }, async (program) => {
      const warm = await send(program, MANY, { warmup: 0, seconds: warmup }, faults);
      await untilDelivered(program, warm.total);
      const start = performance.now();
      const { total, p50, p99 } = await send(program, MANY, { warmup: 0, seconds: longer.seconds }, faults);
      await untilDelivered(program, warm.total + total);
      note("delivered", { rate: total / ((performance.now() - start) / 1000), p50, p99 });
    });
  }
  if (wanted.has("busyP99")) await measureBusy(options, note, faults);
  if (wanted.has("storedSend") || wanted.has("emptySend")) {
    await withFilled(
      { numbers: 100, messages: MESSAGES, status: "delivered", dueInMs: 0, segmentsPerSecond: 0.5 },
      async (filled) => {
        // In turn, so that other load on the machine affects both alike.
        for (const measure of ["emptySend", "storedSend", "storedSend", "emptySend"] as const) {
          const base = measure === "storedSend" ? { filled } : {};
          await withProgram(options, base, async (program) =>
            note(measure, figureOf(await send(program, MANY, longer, faults))),
          );
        }
      },
    );
  }
  if (wanted.has("startSeconds")) {
    await withFilled({ ...QUEUED, numbers: 100_000 }, async (filled) => {
      await withProgram(options, { filled }, async (program) => note("startSeconds", { rate: program.secondsToReady }));
    });
  }
  if (wanted.has("queuedMegabytes")) {
    await withFilled({ ...QUEUED, numbers: 1_000 }, async (filled) => {
      await withProgram(options, { filled }, async (program) => {
        await send(program, FEW, { warmup: 0, seconds: timing.seconds }, faults);
        const queued = await program.countStored("queued");
        if (queued < MESSAGES) faults.push(`Of ${MESSAGES} messages ${queued} were queued when memory was read.`);
        note("queuedMegabytes", { rate: residentMegabytes(program.pid) });
      });
    });
  }
}

/** A backlog that saturates the dispatcher, and a few callers beside it. */
async function measureBusy(options: RoundsOptions, note: Note, faults: string[]): Promise<void> {
  const filling = { numbers: 100, messages: 200_000, status: "queued", dueInMs: 0, segmentsPerSecond: FAST } as const;
  await withFilled(filling, async (filled) => {
    await withProgram(options, { filled }, async (program) => {
      const result = await send(program, FEW, { warmup: 1, seconds: options.timing.seconds }, faults);
      if ((await program.countStored("queued")) < FEW) faults.push("The backlog ended before the sends beside it.");
      note("busyP99", { rate: result.p99, p50: result.p50, p99: result.p99 });
    });
  });
}

async function withProgram(
  { nodeArgs, poolSettings, createDatabase }: RoundsOptions,
  startOptions: Omit<Parameters<typeof startProgram>[0], "nodeArgs" | "poolSettings" | "createDatabase">,
  use: (program: Program) => Promise<void>,
): Promise<void> {
  const program = await startProgram({ nodeArgs, poolSettings, createDatabase, ...startOptions });
  try {
    await use(program);
  } finally {
    await program.stop();
  }
}

async function withFilled(
  filling: Omit<Parameters<typeof fill>[0], "path">,
  use: (filled: Awaited<ReturnType<typeof fill>>) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "numberpool-bench-"));
  try {
    await use(await fill({ ...filling, path: join(folder, "filled.db") }));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function send(program: Program, connections: number, timing: Timing, faults: string[]): Promise<LoadResult> {
  const templates = jsonSends(program);
  const load = { kind: "http", connections, okStatus: 200, port: program.httpPort, templates } as const;
  const result = await runLoad({ ...load, ...timing });
  if (result.errors > 0) faults.push(`${result.errors} sends failed, the first: ${result.firstError}`);
  return result;
}

function figureOf({ ok, seconds, p50, p99 }: LoadResult): Figure {
  return { rate: ok / seconds, p50, p99 };
}

/** Resolves when `total` messages are delivered. */
async function untilDelivered(program: Program, total: number): Promise<void> {
  const deadline = performance.now() + 120_000;
  // Two more were sent for sample responses.
  while ((await program.countStored("delivered")) < total) {
    if (performance.now() > deadline) throw new Error("The accepted messages were not delivered within two minutes.");
    await sleep(100);
  }
}

function residentMegabytes(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;
}
