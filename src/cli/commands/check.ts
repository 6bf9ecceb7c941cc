import type { SettingInEffect } from "../../config/read.ts";
import { answer, type Command, JSON_OPTION } from "../command.ts";

/**
 * `numberpool check`: shows each setting in effect and its source. Errors of the configuration are
 * reported before any command runs.
 */
export const check: Command = {
  name: "check",
  summary: "Checks the configuration and prints the settings in effect, with secrets masked.",
  options: [JSON_OPTION],
  run: async (call) => {
    const { settings } = call;
    const json = Object.fromEntries(settings.map(({ name, value, source }) => [name, { value, source }]));
    answer(call, settings.map(yaml).join("\n"), json);
  },
};

/** A setting as a line of the YAML file, with its source as a comment. */
function yaml({ name, value, source }: SettingInEffect): string {
  const [first, ...more] = lines(name, value);
  return [`${first}  # ${source}`, ...more].join("\n");
}

function lines(name: string, value: unknown): string[] {
  if (typeof value !== "object" || value === null) return [`${scalar(name)}: ${scalar(value)}`];
  const inner = Object.entries(value).flatMap(([key, each]) => lines(key, each));
  return inner.length === 0 ? [`${scalar(name)}: {}`] : [`${scalar(name)}:`, ...inner.map((line) => `  ${line}`)];
}

/** Unquoted where YAML reads the same string back, else quoted as in JSON, which is YAML too. */
function scalar(value: unknown): string {
  if (typeof value !== "string") return String(value);
  const isPlain =
    /^[A-Za-z_./][\w./:-]*$/.test(value) && !/^(true|false|null|yes|no|on|off|y|n|\.\w*)$|:$/i.test(value);
  return isPlain || /^\d+(\.\d+){3}:\d+$/.test(value) ? value : JSON.stringify(value);
}
