import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { vi } from "vitest";

/** Whether strace is installed and may trace processes. */
export const hasStrace = spawnSync("strace", ["-f", "-o", "/dev/null", "true"]).status === 0;

/** The suffix of titles of tests that need strace. */
export const ifStrace = hasStrace ? "" : " (skipped: strace is not installed, or may not trace)";

/** Runs a program under strace. The program stays the child, so signals reach it and not strace. */
const STRACE = ["strace", "-D", "-f", "-y", "-s", "5000"];

/** Traces writes and syncs, with enough bytes to show whole rows and responses. */
export function tracing(output: string): string[] {
  return [...STRACE, "-o", output, "-e", "trace=fsync,fdatasync,write,writev,sendto,sendmsg,pwrite64"];
}

/**
 * Makes system calls on one file fail or kill the program: "fsync:error=EIO:when=5". SQLite syncs
 * by fsync or fdatasync, depending on its build.
 */
export function injecting(output: string, file: string, fault: string): string[] {
  return [...STRACE, "-o", output, "-P", file, "-e", "trace=fsync,fdatasync,pwrite64", "-e", `inject=${fault}`];
}

/** A system call of a trace; `start` and `end` are line numbers, which give the order. */
export type SystemCall = {
  readonly name: string;
  /** The target of its first file descriptor: a path, or "socket:[…]". */
  readonly file: string;
  /** Its whole text. */
  readonly text: string;
  readonly start: number;
  readonly end: number;
  readonly succeeded: boolean;
};

/** The calls of a trace, once the program is gone and strace has written everything. */
export async function readTrace(output: string): Promise<SystemCall[]> {
  await vi.waitFor(
    () => {
      const text = existsSync(output) ? readFileSync(output, "latin1") : "";
      const last = text.trimEnd().split("\n").at(-1) ?? "";
      if (!/\+\+\+ (exited|killed)/.test(last)) throw new Error("strace is still writing");
    },
    { timeout: 10_000, interval: 50 },
  );
  return callsOf(readFileSync(output, "latin1"));
}

function callsOf(trace: string): SystemCall[] {
  const calls: SystemCall[] = [];
  const unfinished = new Map<string, { name: string; file: string; text: string; start: number }>();
  for (const [line, text] of trace.split("\n").entries()) {
    const resumed = /^(\d+) +<\.\.\. (\w+) resumed>/.exec(text);
    if (resumed !== null) {
      const begun = unfinished.get(resumed[1] as string);
      unfinished.delete(resumed[1] as string);
      if (begun !== undefined) calls.push({ ...begun, end: line, succeeded: hasSucceeded(text) });
      continue;
    }
    const begun = /^(\d+) +(\w+)\(\d+<([^>]*)>/.exec(text);
    if (begun === null) continue;
    const [, pid, name, file] = begun as unknown as [string, string, string, string];
    if (text.endsWith("<unfinished ...>")) unfinished.set(pid, { name, file, text, start: line });
    else calls.push({ name, file, text, start: line, end: line, succeeded: hasSucceeded(text) });
  }
  return calls;
}

function hasSucceeded(text: string): boolean {
  return /\) += \d+$/.test(text);
}

/**
 * The ids whose response left before their row was safe: between the write of the row into the WAL
 * and the write of the response, no sync of the WAL started and ended. Throws when a response is
 * not in the trace.
 */
export function earlyAnswers(calls: readonly SystemCall[], ids: readonly string[]): string[] {
  const wal = calls.filter(({ file }) => file.endsWith("-wal"));
  const writes = wal.filter(({ name }) => name === "pwrite64" || name === "write");
  const syncs = wal.filter(({ name, succeeded }) => (name === "fsync" || name === "fdatasync") && succeeded);
  const answers = calls.filter(({ file, text }) => file.startsWith("socket:") && text.includes("HTTP/1.1 200"));
  return ids.filter((id) => {
    const answer = answers.find(({ text }) => text.includes(id));
    if (answer === undefined) throw new Error(`the trace has no response with ${id}`);
    const row = writes.find(({ text }) => text.includes(id));
    return !syncs.some(({ start, end }) => row !== undefined && start > row.end && end < answer.start);
  });
}
