import { join } from "node:path";
import { ROOT, run } from "../operation/program.ts";

/** A cache of compiled code, with which the program starts twice as fast. */
const COMPILED = { NODE_COMPILE_CACHE: join(ROOT, "node_modules/.cache/numberpool") };

/** The exit code of a command, and everything that it printed. */
export type Outcome = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

/** Runs one command of the real program on a database, and waits for its end. */
export async function numberpool(database: string, ...args: readonly string[]): Promise<Outcome> {
  const started = run(args, { ...COMPILED, NUMBERPOOL_DATABASE: database });
  const { code } = await started.exited;
  return { code, stdout: started.stdout(), stderr: started.stderr() };
}

/** Runs a command with --json, which must succeed, and gives its parsed output. */
// biome-ignore lint/suspicious/noExplicitAny: tests know its shape.
export async function jsonOf(database: string, ...args: readonly string[]): Promise<any> {
  const { code, stdout, stderr } = await numberpool(database, ...args, "--json");
  if (code !== 0) throw new Error(`${args.join(" ")} ended with ${code}: ${stderr}`);
  return JSON.parse(stdout);
}

/** Standard error that consists of one sentence of the program. */
export const ONE_SENTENCE = /^numberpool: [^\n]+\.\n$/;
