import { execFile } from "node:child_process";
import { accessSync, constants, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import type { TestServer } from "../server.ts";

const PROGRAM = join(import.meta.dirname, "../../bin/numberpool.js");
const BIN = join(import.meta.dirname, "../../node_modules/.bin");

/** An API key made by the command line beside the running server. */
export type MadeKey = { readonly id: string; readonly token: string; readonly organizationId: string };

/** `numberpool ARGS --json` on the database of a server; gives its output. */
// biome-ignore lint/suspicious/noExplicitAny: output of the program whose shape its tests know.
export async function commandLine(server: TestServer, args: readonly string[]): Promise<any> {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [PROGRAM, ...args, "--json", "--database", server.database],
    { env: { PATH: process.env.PATH } },
  );
  return JSON.parse(stdout);
}

/** Makes a key for an organization; resolves when the server accepts it. */
export async function makeKey(server: TestServer, organization: string, scopes?: string): Promise<MadeKey> {
  const output = await commandLine(server, [
    ...["key", "create", "--organization", organization],
    ...(scopes === undefined ? [] : ["--scopes", scopes]),
  ]);
  for (let tries = 0; tries < 100; tries += 1) {
    const { status } = await server.json("GET", "/v2/messaging_profiles", undefined, {
      authorization: `Bearer ${output.token}`,
    });
    if (status !== 401) return { id: output.id, token: output.token, organizationId: output.organization_id };
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("the server did not notice a new key within five seconds");
}

/**
 * Options of Node: with a heap this small a leak ends the program. Without them V8 grows rather
 * than collects.
 */
export const BOUNDED_HEAP = "--max-old-space-size=192";

/**
 * Resident memory of the server's process, megabytes; undefined where the system does not report
 * it.
 */
export function residentMegabytes(server: TestServer): number | undefined {
  try {
    const status = readFileSync(`/proc/${server.process.pid}/status`, "utf8");
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
  } catch {
    return undefined;
  }
}

/**
 * The path of an executable, of this project's packages or of the system; undefined without one.
 */
export function executable(name: string, folders?: readonly string[]): string | undefined {
  for (const folder of folders ?? [BIN, ...(process.env.PATH ?? "").split(delimiter)]) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {}
  }
  return undefined;
}
