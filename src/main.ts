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
    summary: "Serves the JSON and gRPC transports until SIGTERM or SIGINT.",
    options: [],
    // Other commands do not load the server, which is most of the program.
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

/**
 * The command line: `numberpool COMMAND [OPTIONS]`. Ends the process with 0, or with 1 and one line
 * for each error.
 */
export async function main(args: readonly string[]): Promise<void> {
  const line = readCommandLine(COMMANDS, args);
  if (line.kind === "help") {
    console.log(line.text);
    return;
  }
  if (line.kind === "unknown") fail([line.error]);
  const read = readConfig(line.flags, process.env);
  if ("errors" in read) fail([...line.errors, ...read.errors]);
  if (line.errors.length > 0) fail(line.errors);
  try {
    await line.command.run({ ...line.call, config: read.config, settings: read.settings });
  } catch (error) {
    fail([error instanceof Error ? error.message : String(error)]);
  }
}

function fail(errors: readonly string[]): never {
  for (const error of errors) console.error(`numberpool: ${error}`);
  process.exit(1);
}
