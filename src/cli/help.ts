import { SETTINGS } from "../config/settings.ts";
import type { Command, Option } from "./command.ts";

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
  const settings = SETTINGS.filter(({ isSecret }) => !isSecret).flatMap(({ flag, description, default: value }) => [
    line(flag, `${description}${value === undefined ? "" : ` Default: ${value}.`}`),
    ...(value === true ? [`  --no-${flag}`] : []),
  ]);
  return [
    ["numberpool", name, argument, ...required, "[OPTIONS]"].filter(Boolean).join(" "),
    "",
    summary,
    ...(details === undefined ? [] : [details]),
    "",
    ...options.map((option) => line(usageOf(option), option.description)),
    ...(options.length > 0 ? ["", "Settings:", ""] : []),
    ...settings,
    line("config", "A YAML file with these settings and the carriers."),
    "",
    "Every setting is also an environment variable: NUMBERPOOL_HTTP_ADDRESS and so on. NUMBERPOOL_API_KEY has no flag.",
  ].join("\n");
}

function usageOf({ name, value }: Option): string {
  return value === undefined ? name : `${name} ${value}`;
}

function line(option: string, description: string): string {
  return `  --${option.padEnd(26)}${description}`;
}
