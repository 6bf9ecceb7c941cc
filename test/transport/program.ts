import { execFile } from "node:child_process";
import { accessSync, constants, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import type { TestServer } from "../server.ts";

const PROGRAM = join(import.meta.dirname, "../../bin/numberpool.js");
const BIN = join(import.meta.dirname, "../../node_modules/.bin");

/** An API key that the command line made, beside the running server. */
export type MadeKey = { readonly id: string; readonly token: string; readonly organizationId: string };

/** `numberpool ARGS --json` on the database of a server; gives what it told. */
// biome-ignore lint/suspicious/noExplicitAny: told by the program, and known by the tests that ask.
export async function commandLine(server: TestServer, args: readonly string[]): Promise<any> {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [PROGRAM, ...args, "--json", "--database", server.database],
    { env: { PATH: process.env.PATH } },
  );
  return JSON.parse(stdout);
}

/** Makes a key for an organization; the server has noticed it when this resolves. */
export async function makeKey(server: TestServer, organization: string, scopes?: string): Promise<MadeKey> {
  const told = await commandLine(server, [
    ...["key", "create", "--organization", organization],
    ...(scopes === undefined ? [] : ["--scopes", scopes]),
  ]);
  for (let tries = 0; tries < 100; tries += 1) {
    const { status } = await server.json("GET", "/v2/messaging_profiles", undefined, {
      authorization: `Bearer ${told.token}`,
    });
    if (status !== 401) return { id: told.id, token: told.token, organizationId: told.organization_id };
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("the server did not notice a new key within five seconds");
}

/** Options of Node: with a heap this small what is held on to ends the program. V8 alone would rather grow than collect. */
export const BOUNDED_HEAP = "--max-old-space-size=192";

/** Memory that the server's process has resident, megabytes; undefined where the system does not tell. */
export function residentMegabytes(server: TestServer): number | undefined {
  try {
    const status = readFileSync(`/proc/${server.process.pid}/status`, "utf8");
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
  } catch {
    return undefined;
  }
}

/** The path of an executable, of this project's packages or of the system; undefined when there is none. */
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
