import { parseArgs } from "node:util";
import { serve } from "./commands/serve.ts";
import { readConfig, SETTINGS } from "./config.ts";

const COMMANDS = { serve } as const;

/** The command line: `numberpool COMMAND [OPTIONS]`. Ends the process with 0, or with 1 and one sentence per complaint. */
export async function main(args: readonly string[]): Promise<void> {
  const [name = "help", ...rest] = args;
  if (name === "help" || name === "--help" || rest.includes("--help")) {
    console.log(help());
    return;
  }
  const command = COMMANDS[name as keyof typeof COMMANDS];
  if (command === undefined) fail([`${name} is no command; \`numberpool help\` lists them.`]);
  const read = readConfig(readFlags(rest), process.env);
  if ("complaints" in read) fail(read.complaints);
  try {
    await command(read.config);
  } catch (error) {
    fail([error instanceof Error ? error.message : String(error)]);
  }
}

function readFlags(args: readonly string[]): Record<string, string | boolean> {
  const options: Record<string, { type: "string" | "boolean" }> = { config: { type: "string" } };
  for (const { name } of SETTINGS) {
    // A secret on the command line could be read by everybody on the machine.
    if (name !== "api_key") options[name.replaceAll("_", "-")] = { type: name === "sample" ? "boolean" : "string" };
  }
  try {
    const { values } = parseArgs({ args: [...args], options, strict: true, allowNegative: true });
    const flags = Object.entries(values as Record<string, string | boolean>);
    return Object.fromEntries(
      flags.map(([option, value]) => (value === false ? [`no-${option}`, true] : [option, value])),
    );
  } catch (error) {
    return fail([error instanceof Error ? error.message : String(error)]);
  }
}

function help(): string {
  const options = SETTINGS.filter(({ name }) => name !== "api_key").map(
    ({ name, description, default: value }) =>
      `  --${name.replaceAll("_", "-").padEnd(26)}${description}${value === undefined ? "" : ` Default: ${value}.`}`,
  );
  return [
    "numberpool serve [OPTIONS]",
    "",
    "Serves the JSON and gRPC doors until it is told to stop.",
    "",
    ...options,
    `  --${"config".padEnd(26)}A YAML file with these settings and the carriers.`,
    "  --no-sample",
    "",
    "Every option can be given in the environment too: NUMBERPOOL_HTTP_ADDRESS and so on, and NUMBERPOOL_API_KEY.",
  ].join("\n");
}

function fail(complaints: readonly string[]): never {
  for (const complaint of complaints) console.error(`numberpool: ${complaint}`);
  process.exit(1);
}
