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
  /** The first line of its standard output. */
  readonly line: Promise<string>;
  readonly exited: Promise<void>;
  /** Stops it, with SIGKILL after 15 s, and resolves when it is gone. */
  readonly stop: () => Promise<void>;
};

const running = new Set<ChildProcess>();

/** Kills all running children, at any end of the benchmark. */
export function killChildren(): void {
  for (const child of running) child.kill("SIGKILL");
}

/**
 * Starts a program with only PATH and `env` in its environment, and discards its standard error.
 */
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
    // Not "exit", which may precede the last line.
    child.on("close", gone);
    child.on("error", gone);
  });
  const lines = createInterface(child.stdout);
  const line = new Promise<string>((resolve, reject) => {
    lines.once("line", resolve);
    exited.then(() =>
      reject(new Error(`${command} ${args[0]} ended before it was ready; start it by hand to see why.`)),
    );
  });
  line.catch(() => {});
  const stop = async () => {
    child.kill("SIGTERM");
    const timeout = setTimeout(() => child.kill("SIGKILL"), 15_000);
    await exited;
    clearTimeout(timeout);
  };
  return { pid: child.pid ?? -1, line, exited, stop };
}

/** The input of a load generator, without the durations. */
export type Load = Omit<{ kind: "http" } & HttpLoad, keyof Timing> | Omit<{ kind: "grpc" } & GrpcLoad, keyof Timing>;

/** Runs a load generator in its own process. */
export async function runLoad(load: Load & Timing): Promise<LoadResult> {
  const child = spawn(process.execPath, [join(import.meta.dirname, `load-${load.kind}.ts`)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  running.add(child);
  child.stdin.end(JSON.stringify(load));
  const timeout = setTimeout(() => child.kill("SIGKILL"), (load.warmup + load.seconds + 20) * 1000);
  const printed = await text(child.stdout);
  clearTimeout(timeout);
  running.delete(child);
  if (printed === "") throw new Error(`load-${load.kind} ended without a result.`);
  return JSON.parse(printed) as LoadResult;
}
