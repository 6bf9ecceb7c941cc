import { backup } from "./commands/backup.ts";
import { check } from "./commands/check.ts";
import type { Command } from "./commands/command.ts";
import { readCommandLine } from "./commands/command-line.ts";
import { deliveryResume } from "./commands/delivery-resume.ts";
import { keyCreate } from "./commands/key-create.ts";
import { keyList } from "./commands/key-list.ts";
import { keyRevoke } from "./commands/key-revoke.ts";
import { message } from "./commands/message.ts";
import { migrate } from "./commands/migrate.ts";
import { numberImport } from "./commands/number-import.ts";
import { numberResetHealth } from "./commands/number-reset-health.ts";
import { readConfig } from "./config.ts";

/** Every command, in the order of the help. */
export const COMMANDS: readonly Command[] = [
  {
    name: "serve",
    summary: "Serves the JSON and gRPC transports until it is told to stop.",
    options: [],
    // The server is most of the program; the other commands start without it.
    run: async ({ config }) => (await import("./commands/serve.ts")).serve(config),
  },
  keyCreate,
  keyList,
  keyRevoke,
  numberImport,
  numberResetHealth,
  message,
  backup,
  deliveryResume,
  migrate,
  check,
];

/** The command line: `numberpool COMMAND [OPTIONS]`. Ends the process with 0, or with 1 and one sentence per complaint. */
export async function main(args: readonly string[]): Promise<void> {
  const line = readCommandLine(COMMANDS, args);
  if (line.kind === "help") {
    console.log(line.text);
    return;
  }
  if (line.kind === "refused") fail([line.complaint]);
  const read = readConfig(line.flags, process.env);
  if ("complaints" in read) fail([...line.complaints, ...read.complaints]);
  if (line.complaints.length > 0) fail(line.complaints);
  try {
    await line.command.run({ ...line.given, config: read.config, settings: read.settings });
  } catch (error) {
    fail([error instanceof Error ? error.message : String(error)]);
  }
}

function fail(complaints: readonly string[]): never {
  for (const complaint of complaints) console.error(`numberpool: ${complaint}`);
  process.exit(1);
}
