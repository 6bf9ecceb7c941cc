import { parseArgs } from "node:util";
import { SETTINGS } from "../config.ts";
import type { Command, CommandCall, Option } from "./command.ts";
import { commandHelp, overview } from "./help.ts";

/** What a command line asks for: a text, a command with what it was given, or nothing that is known. */
export type CommandLine =
  | { readonly kind: "help"; readonly text: string }
  | { readonly kind: "refused"; readonly complaints: readonly string[] }
  | {
      readonly kind: "command";
      readonly command: Command;
      /** The settings that were given, as `readConfig` takes them. */
      readonly flags: Readonly<Record<string, string | boolean>>;
      readonly given: Omit<CommandCall, "config" | "settings">;
    };

/** Reads `COMMAND [ARGUMENT] [OPTIONS]`; names of commands have one word or two. All complaints come at once, each one sentence. */
export function readCommandLine(commands: readonly Command[], args: readonly string[]): CommandLine {
  const asksHelp = args.length === 0 || args[0] === "help" || args.includes("--help");
  const words = args.filter((arg, index) => !(index === 0 && arg === "help") && arg !== "--help");
  const [first = "", second = ""] = words;
  const two = commands.find(({ name }) => name === `${first} ${second}`);
  const command = two ?? commands.find(({ name }) => name === first);
  if (command !== undefined) {
    if (asksHelp) return { kind: "help", text: commandHelp(command) };
    return readRest(command, args.slice(two === undefined ? 1 : 2));
  }
  const family = commands.filter(({ name }) => name.startsWith(`${first} `));
  if (asksHelp && (first === "" || first.startsWith("-"))) return { kind: "help", text: overview(commands) };
  if (asksHelp && family.length > 0) return { kind: "help", text: overview(family) };
  if (family.length === 0) return refused([`${first} is no command; \`numberpool help\` lists them.`]);
  const names = family.map(({ name }) => `\`${name}\``).join(", ");
  return refused([`${[first, second].join(" ").trim()} is no command; there are ${names}.`]);
}

function readRest(command: Command, args: readonly string[]): CommandLine {
  const known = new Map([...SETTING_OPTIONS, ...command.options].map((option) => [option.name, option]));
  const types = [...known.values()].map(({ name, value }) => [
    name,
    { type: value === undefined ? ("boolean" as const) : ("string" as const) },
  ]);
  const { tokens } = parseArgs({
    args: [...args],
    options: Object.fromEntries(types),
    strict: false,
    allowPositionals: true,
    tokens: true,
  });

  const complaints: string[] = [];
  const flags: Record<string, string | boolean> = {};
  const values: Record<string, string> = {};
  const switches = new Set<string>();
  const positional: string[] = [];
  for (const token of tokens) {
    if (token.kind === "positional") positional.push(token.value);
    if (token.kind !== "option") continue;
    const { name, rawName, value, inlineValue } = token;
    const option = known.get(name);
    if (name === NO_SAMPLE && value === undefined) flags[name] = true;
    else if (option === undefined) {
      complaints.push(
        `${rawName} is no option of \`${command.name}\`; \`numberpool ${command.name} --help\` lists them.`,
      );
    } else if (option.value === undefined && value !== undefined) complaints.push(`${rawName} takes no value.`);
    // Not `--database --json`, whose value was forgotten; `--database=--json` says that it is meant.
    else if (option.value !== undefined && (value === undefined || (!inlineValue && value.startsWith("-")))) {
      complaints.push(`${rawName} needs a value: ${rawName} ${option.value}.`);
    } else if (SETTING_OPTIONS.includes(option)) flags[name] = value ?? true;
    else if (value === undefined) switches.add(name);
    else values[name] = value;
  }
  for (const { name, value, isRequired } of command.options) {
    if (isRequired && values[name] === undefined) complaints.push(`\`${command.name}\` needs --${name} ${value}.`);
  }
  const [argument = "", ...more] = command.argument === undefined ? ["", ...positional] : positional;
  if (command.argument !== undefined && argument === "") {
    complaints.push(`\`${command.name}\` needs ${command.argument}: numberpool ${command.name} ${command.argument}.`);
  }
  for (const word of more)
    complaints.push(`\`${command.name}\` does not know what to do with ${JSON.stringify(word)}.`);
  return complaints.length > 0
    ? refused(complaints)
    : { kind: "command", command, flags, given: { argument, values, switches } };
}

/** The settings as options. A secret on the command line could be read by everybody on the machine. */
const SETTING_OPTIONS: readonly Option[] = [
  ...SETTINGS.filter(({ isSecret }) => !isSecret).map(
    ({ name, description }): Option => ({
      name: name.replaceAll("_", "-"),
      description,
      ...(name !== "sample" && { value: "VALUE" }),
    }),
  ),
  { name: "config", value: "FILE", description: "" },
];
const NO_SAMPLE = "no-sample";

function refused(complaints: readonly string[]): CommandLine {
  return { kind: "refused", complaints };
}
