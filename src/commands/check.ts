import type { SettingInEffect } from "../config.ts";
import { answer, type Command, JSON_OPTION } from "./command.ts";

/**
 * `numberpool check`: the configuration in effect, each setting with where it came from, secrets masked. What is wrong with it was
 * told before a command runs.
 */
export const check: Command = {
  name: "check",
  summary: "Checks the configuration and prints what is in effect, with secrets masked.",
  options: [JSON_OPTION],
  run: async (call) => {
    const { settings } = call;
    const json = Object.fromEntries(settings.map(({ name, value, source }) => [name, { value, source }]));
    answer(call, settings.map(yaml).join("\n"), json);
  },
};

/** A setting as the file would hold it. */
function yaml({ name, value, source }: SettingInEffect): string {
  const [first, ...more] = lines(name, value);
  return [`${first}  # ${source}`, ...more].join("\n");
}

function lines(name: string, value: unknown): string[] {
  if (typeof value !== "object" || value === null) return [`${scalar(name)}: ${scalar(value)}`];
  const inner = Object.entries(value).flatMap(([key, each]) => lines(key, each));
  return inner.length === 0 ? [`${scalar(name)}: {}`] : [`${scalar(name)}:`, ...inner.map((line) => `  ${line}`)];
}

/** Plain where YAML reads it as the same text, else quoted as in JSON, which YAML reads too. */
function scalar(value: unknown): string {
  if (typeof value !== "string") return String(value);
  const isPlain =
    /^[A-Za-z_./][\w./:-]*$/.test(value) && !/^(true|false|null|yes|no|on|off|y|n|\.\w*)$|:$/i.test(value);
  return isPlain || /^\d+(\.\d+){3}:\d+$/.test(value) ? value : JSON.stringify(value);
}
