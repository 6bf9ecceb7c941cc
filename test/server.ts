import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** The key that test servers are started with. */
export const API_KEY = "test-key-of-more-than-24-characters";

/** A running server: the real program in a process of its own, on free ports of the loopback address. */
export type TestServer = {
  readonly process: ChildProcess;
  /** "http://127.0.0.1:…". */
  readonly url: string;
  /** "127.0.0.1:…". */
  readonly grpc: string;
  readonly metrics: string;
  readonly database: string;
  /** What it printed on standard error so far. */
  readonly stderr: () => string;
  /** Calls the JSON transport with the key; `status`, `headers` and the parsed `body`. */
  readonly json: (verb: string, path: string, body?: unknown, headers?: Record<string, string>) => Promise<JsonAnswer>;
  /** SIGTERM, and resolves with the exit code. */
  readonly stop: () => Promise<number | null>;
  /** SIGKILL, and resolves when it is gone. */
  readonly kill: () => Promise<void>;
};

// biome-ignore lint/suspicious/noExplicitAny: answers are looked into by tests that know their shape.
export type JsonAnswer = { readonly status: number; readonly headers: Headers; readonly body: any };

/** A folder for a test's files, and how to remove it. */
export function temporaryFolder(): { readonly path: string; readonly remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), "numberpool-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** Starts `numberpool serve` on a database file and resolves when it is ready; rejects with what it printed when it ends before. */
export async function startServer(options: {
  readonly database: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Another executable than this repository's. */
  readonly program?: string;
  /** Runs the program under another, "strace -f …". */
  readonly under?: readonly string[];
}): Promise<TestServer> {
  const program = [
    process.execPath,
    options.program ?? join(import.meta.dirname, "../bin/numberpool.js"),
    "serve",
    "--no-sample",
  ];
  const [command, ...args] = [...(options.under ?? []), ...program, ...(options.args ?? [])] as [string, ...string[]];
  const child = spawn(command, args, {
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      PATH: process.env.PATH,
      NUMBERPOOL_DATABASE: options.database,
      NUMBERPOOL_HTTP_ADDRESS: "127.0.0.1:0",
      NUMBERPOOL_GRPC_ADDRESS: "127.0.0.1:0",
      NUMBERPOOL_METRICS_ADDRESS: "127.0.0.1:0",
      NUMBERPOOL_API_KEY: API_KEY,
      NUMBERPOOL_LOG_LEVEL: "warn",
      ...options.env,
    },
  });
  let stderr = "";
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
  });
  const exited = new Promise<number | null>((resolve) => child.on("exit", resolve));
  const ready = await Promise.race([
    new Promise<string>((resolve) => createInterface(child.stdout).once("line", resolve)),
    exited.then((code) => Promise.reject(new Error(`the server ended with ${code}: ${stderr}`))),
  ]);
  const { http, grpc, metrics } = JSON.parse(ready);
  const url = `http://${http}`;
  return {
    process: child,
    url,
    grpc,
    metrics: `http://${metrics}`,
    database: options.database,
    stderr: () => stderr,
    json: async (verb, path, body, headers = {}) => {
      const answer = await fetch(url + path, {
        method: verb,
        headers: {
          authorization: `Bearer ${API_KEY}`,
          ...(body !== undefined && { "content-type": "application/json" }),
          ...headers,
        },
        ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
      });
      const text = await answer.text();
      return { status: answer.status, headers: answer.headers, body: text === "" ? undefined : JSON.parse(text) };
    },
    stop: () => {
      child.kill("SIGTERM");
      return exited;
    },
    kill: async () => {
      child.kill("SIGKILL");
      await exited;
    },
  };
}
