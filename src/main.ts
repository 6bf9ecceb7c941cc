import { readCommandLine } from "./cli/command-line.ts";
import { COMMANDS } from "./cli/command-list.ts";
import { readConfig } from "./config/read.ts";

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
