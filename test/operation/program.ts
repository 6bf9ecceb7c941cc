import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import Database from "better-sqlite3";
import type { JsonAnswer, TestServer } from "../server.ts";

export const ROOT = join(import.meta.dirname, "../..");
export const PROGRAM = join(ROOT, "bin/numberpool.js");

/** The ready line. */
export type ReadyLine = {
  readonly ready: true;
  readonly http: string;
  readonly grpc: string;
  readonly metrics: string;
  readonly database: string;
};

export type Exit = { readonly code: number | null; readonly signal: string | null; readonly milliseconds: number };

/** A run of the program with its output. */
export type Run = {
  readonly process: ChildProcess;
  readonly stdout: () => string;
  readonly stderr: () => string;
  readonly exited: Promise<Exit>;
  /** Rejects with its output when it ends before it is ready. */
  readonly ready: Promise<ReadyLine>;
};

/** Free loopback addresses. */
export const FREE_PORTS = {
  NUMBERPOOL_HTTP_ADDRESS: "127.0.0.1:0",
  NUMBERPOOL_GRPC_ADDRESS: "127.0.0.1:0",
  NUMBERPOOL_METRICS_ADDRESS: "127.0.0.1:0",
};

/**
 * Runs the program with exactly these arguments and settings; `node` and `file` replace the runtime
 * and the executable.
 */
export function run(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  other: { readonly node?: string; readonly file?: string; readonly cwd?: string } = {},
): Run {
  const since = Date.now();
  const child = spawn(other.node ?? process.execPath, [other.file ?? PROGRAM, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    cwd: other.cwd,
    env: { PATH: process.env.PATH, ...env },
  });
  let stdout = "";
  let stderr = "";
  const exited = new Promise<Exit>((resolve) => {
    child.on("close", (code, signal) => resolve({ code, signal, milliseconds: Date.now() - since }));
  });
  const ready = new Promise<ReadyLine>((resolve, reject) => {
    child.stdout.on("data", (chunk) => {
      stdout += chunk;
      if (/^\{.*\n/.test(stdout)) resolve(JSON.parse(stdout.slice(0, stdout.indexOf("\n"))));
    });
    exited.then(({ code }) => reject(new Error(`the program ended with ${code}: ${stderr}`)));
  });
  ready.catch(() => {});
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
  });
  return { process: child, stdout: () => stdout, stderr: () => stderr, exited, ready };
}

/** Makes a profile with its pool on and numbers assigned; returns the profile's id. */
export async function makePool(
  server: TestServer,
  numbers: readonly {
    readonly phone_number: string;
    readonly segments_per_second?: number;
    readonly carrier?: string;
  }[],
): Promise<string> {
  const { body } = await server.json("POST", "/v2/messaging_profiles", {
    name: "Test",
    whitelisted_destinations: ["US"],
    number_pool_settings: { long_code_weight: 1, toll_free_weight: 1, skip_unhealthy: false, sticky_sender: false },
  });
  const id: string = body.data.id;
  for (const number of numbers) {
    const made = await server.json("POST", "/v2/phone_numbers", { ...number, messaging_profile_id: id });
    if (made.status !== 200) throw new Error(`${number.phone_number} was refused: ${JSON.stringify(made.body)}`);
  }
  return id;
}

/** `count` numbers of one area code at a rate. */
export function numbersAt(segmentsPerSecond: number, count: number) {
  return Array.from({ length: count }, (_, index) => ({
    phone_number: `+1212555${String(5000 + index)}`,
    segments_per_second: segmentsPerSecond,
  }));
}

export function sendTo(
  server: TestServer,
  messagingProfileId: string,
  to: string,
  text = "Hello",
  headers: Record<string, string> = {},
): Promise<JsonAnswer> {
  const body = { messaging_profile_id: messagingProfileId, to, text };
  return server.json("POST", "/v2/messages/number_pool", body, headers);
}

export async function statusOf(server: TestServer, id: string): Promise<string> {
  const { body } = await server.json("GET", `/v2/messages/${id}`);
  return body.data.to[0].status;
}

/** All rows of a query on a database file, opened read-only. */
export function rowsOf<Row>(database: string, sql: string, ...values: readonly unknown[]): Row[] {
  const db = new Database(database, { readonly: true, fileMustExist: true });
  try {
    return db.prepare(sql).all(...values) as Row[];
  } finally {
    db.close();
  }
}

export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
