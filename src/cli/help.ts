import type { Command, Option } from "./command.ts";
import { SETTING_OPTIONS } from "./setting-options.ts";

/** The text of `numberpool help`: one line for each command. */
export function overview(commands: readonly Command[]): string {
  const calls = commands.map(({ name, argument }) => ["numberpool", name, argument].filter(Boolean).join(" "));
  const width = Math.max(...calls.map((call) => call.length));
  return [
    "Numberpool decides which of a team's phone numbers sends each message, and gets the message out.",
    "",
    ...commands.map(({ summary }, index) => `  ${(calls[index] as string).padEnd(width)}  ${summary}`),
    "",
    "`numberpool COMMAND --help` lists a command's options.",
  ].join("\n");
}

/** The text of `numberpool COMMAND --help`: usage, summary, its own options, and the settings. */
export function commandHelp({ name, summary, details, argument, options }: Command): string {
  const required = options.filter(({ isRequired }) => isRequired).map((option) => `--${usageOf(option)}`);
  return [
    ["numberpool", name, argument, ...required, "[OPTIONS]"].filter(Boolean).join(" "),
    "",
    summary,
    ...(details === undefined ? [] : [details]),
    "",
    ...options.map(line),
    ...(options.length > 0 ? ["", "Settings:", ""] : []),
    ...SETTING_OPTIONS.map(line),
    "",
    "A setting without a value is turned off by its negation, as in --no-sample.",
    "Every setting is also an environment variable: NUMBERPOOL_HTTP_ADDRESS and so on. NUMBERPOOL_API_KEY has no flag.",
  ].join("\n");
}

function usageOf({ name, value }: Option): string {
  return value === undefined ? name : `${name} ${value}`;
}

function line(option: Option): string {
  return `  --${usageOf(option).padEnd(WIDTH)}  ${option.description}`;
}

const WIDTH = Math.max(...SETTING_OPTIONS.map((option) => usageOf(option).length));
