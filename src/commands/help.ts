import { SETTINGS } from "../config.ts";
import type { Command, Option } from "./command.ts";

/** What `numberpool help` prints: a line for each command. */
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

/** What `numberpool COMMAND --help` prints: how it is called, what it does, its own options, and the settings. */
export function commandHelp({ name, summary, details, argument, options }: Command): string {
  const required = options.filter(({ isRequired }) => isRequired).map((option) => `--${spelled(option)}`);
  const settings = SETTINGS.filter(({ isSecret }) => !isSecret).map(({ name: setting, description, default: value }) =>
    line(setting.replaceAll("_", "-"), `${description}${value === undefined ? "" : ` Default: ${value}.`}`),
  );
  return [
    ["numberpool", name, argument, ...required, "[OPTIONS]"].filter(Boolean).join(" "),
    "",
    summary,
    ...(details === undefined ? [] : [details]),
    "",
    ...options.map((option) => line(spelled(option), option.description)),
    ...(options.length > 0 ? ["", "Settings:", ""] : []),
    ...settings,
    line("config", "A YAML file with these settings and the carriers."),
    "  --no-sample",
    "",
    "Every setting can be given in the environment too: NUMBERPOOL_HTTP_ADDRESS and so on, and NUMBERPOOL_API_KEY.",
  ].join("\n");
}

function spelled({ name, value }: Option): string {
  return value === undefined ? name : `${name} ${value}`;
}

function line(option: string, description: string): string {
  return `  --${option.padEnd(26)}${description}`;
}
