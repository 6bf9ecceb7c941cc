import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import type { GrpcLoad } from "./load-grpc.ts";
import type { HttpLoad } from "./load-http.ts";
import type { LoadResult, Timing } from "./tally.ts";

/** A process that the benchmark started. */
export type Child = {
  readonly pid: number;
  /** The first line that it printed on standard output. */
  readonly line: Promise<string>;
  readonly exited: Promise<void>;
  /** Asks it to end, kills it when it does not within 15 s, and resolves when it is gone. */
  readonly stop: () => Promise<void>;
};

const running = new Set<ChildProcess>();

/** Kills what is still running; for the end of the benchmark, however it ends. */
export function killChildren(): void {
  for (const child of running) child.kill("SIGKILL");
}

/** Starts a program with nothing in its environment but PATH and what is given. Its standard error is thrown away. */
export function startChild(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Child {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "ignore"], env: { PATH: process.env.PATH, ...env } });
  running.add(child);
  const exited = new Promise<void>((resolve) => {
    const gone = () => {
      running.delete(child);
      resolve();
    };
    // Not "exit", which may come before the last line is read.
    child.on("close", gone);
    child.on("error", gone);
  });
  const lines = createInterface(child.stdout);
  const line = new Promise<string>((resolve, reject) => {
    lines.once("line", resolve);
    exited.then(() =>
      reject(new Error(`${command} ${args[0]} ended before it was ready; started by hand it says why.`)),
    );
  });
  line.catch(() => {});
  const stop = async () => {
    child.kill("SIGTERM");
    const patience = setTimeout(() => child.kill("SIGKILL"), 15_000);
    await exited;
    clearTimeout(patience);
  };
  return { pid: child.pid ?? -1, line, exited, stop };
}

/** What a load generator is told, but for how long. */
export type Load = Omit<{ kind: "http" } & HttpLoad, keyof Timing> | Omit<{ kind: "grpc" } & GrpcLoad, keyof Timing>;

/** Runs a load generator in a process of its own. */
export async function runLoad(load: Load & Timing): Promise<LoadResult> {
  const child = spawn(process.execPath, [join(import.meta.dirname, `load-${load.kind}.ts`)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  running.add(child);
  child.stdin.end(JSON.stringify(load));
  const patience = setTimeout(() => child.kill("SIGKILL"), (load.warmup + load.seconds + 20) * 1000);
  const printed = await text(child.stdout);
  clearTimeout(patience);
  running.delete(child);
  if (printed === "") throw new Error(`load-${load.kind} ended without a result.`);
  return JSON.parse(printed) as LoadResult;
}
