import { join } from "node:path";
import { ROOT, run } from "../operation/program.ts";

/** The program starts twice as fast when what it is compiled to is kept. */
const COMPILED = { NODE_COMPILE_CACHE: join(ROOT, "node_modules/.cache/numberpool") };

/** How a command ended, and everything that it printed. */
export type Outcome = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

/** Runs one command of the real program on a database, and waits for its end. */
export async function numberpool(database: string, ...args: readonly string[]): Promise<Outcome> {
  const started = run(args, { ...COMPILED, NUMBERPOOL_DATABASE: database });
  const { code } = await started.exited;
  return { code, stdout: started.stdout(), stderr: started.stderr() };
}

/** The same of a command that must succeed; gives what it printed as JSON. */
// biome-ignore lint/suspicious/noExplicitAny: tests that look into it know its shape.
export async function jsonOf(database: string, ...args: readonly string[]): Promise<any> {
  const { code, stdout, stderr } = await numberpool(database, ...args, "--json");
  if (code !== 0) throw new Error(`${args.join(" ")} ended with ${code}: ${stderr}`);
  return JSON.parse(stdout);
}

/** One sentence of the program on standard error, as a pattern for the whole of it. */
export const ONE_SENTENCE = /^numberpool: [^\n]+\.\n$/;
