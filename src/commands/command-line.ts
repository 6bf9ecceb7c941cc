import { parseArgs } from "node:util";
import { SETTINGS } from "../config.ts";
import type { Command, CommandCall, Option } from "./command.ts";
import { commandHelp, overview } from "./help.ts";

/** What a command line asks for: a text, nothing that is known, or a command with what it was given. */
export type CommandLine =
  | { readonly kind: "help"; readonly text: string }
  | { readonly kind: "refused"; readonly complaint: string }
  | {
      readonly kind: "command";
      readonly command: Command;
      /** The settings that were given, as `readConfig` takes them. */
      readonly flags: Readonly<Record<string, string | boolean>>;
      readonly given: Omit<CommandCall, "config" | "settings">;
      /** What is wrong with the rest, a sentence each: without any the command can be run. */
      readonly complaints: readonly string[];
    };

/** Reads `COMMAND [ARGUMENT] [OPTIONS]`; names of commands have one word or two. What was typed wrongly is not repeated: it may be a secret. */
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
  if (asksHelp && (first === "" || first.startsWith("-"))) return { kind: "help", text: overview(commands) };
  const family = commands.filter(({ name }) => name.startsWith(`${first} `));
  if (asksHelp && family.length > 0) return { kind: "help", text: overview(family) };
  const names = family.map(({ name }) => `\`${name}\``).join(", ");
  const known = family.length > 0 ? `there are ${names}` : "`numberpool help` lists them";
  return { kind: "refused", complaint: `${first} is no command; ${known}.` };
}

function readRest(command: Command, args: readonly string[]): CommandLine {
  const known = new Map([...SETTING_OPTIONS, ...command.options].map((option) => [option.name, option]));
  const types = [...known.values()].map(
    ({ name, value }) => [name, { type: value === undefined ? "boolean" : "string" }] as const,
  );
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
  let mayBeItsValue = false;
  for (const token of tokens) {
    if (token.kind === "positional" && !mayBeItsValue) positional.push(token.value);
    mayBeItsValue = false;
    if (token.kind !== "option") continue;
    const { name, rawName, value, inlineValue } = token;
    const option = known.get(name) ?? known.get(name.replace(/^no-/, ""));
    const isNegated = option !== undefined && option.name !== name;
    if (option === undefined || (isNegated && !(option.value === undefined && SETTING_OPTIONS.includes(option)))) {
      complaints.push(`${rawName} is no option; \`numberpool ${command.name} --help\` lists them.`);
      mayBeItsValue = value === undefined;
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
  const wanted = command.argument === undefined ? 0 : 1;
  const [argument = ""] = positional;
  if (wanted === 1 && argument === "") complaints.push(`\`${command.name}\` needs its ${command.argument}.`);
  if (positional.length > wanted) {
    complaints.push(`\`${command.name}\` takes ${command.argument ?? "options"} only; there are more words than that.`);
  }
  return { kind: "command", command, flags, given: { argument, values, switches }, complaints };
}

/** The settings as options; those that are true or false have no value. */
const SETTING_OPTIONS: readonly Option[] = [
  // A secret on the command line could be read by everybody on the machine.
  ...SETTINGS.filter(({ isSecret }) => !isSecret).map(
    ({ name, description, default: value }): Option => ({
      name: name.replaceAll("_", "-"),
      description,
      ...(value !== "true" && value !== "false" && { value: "VALUE" }),
    }),
  ),
  { name: "config", value: "FILE", description: "A YAML file with these settings and the carriers." },
];
