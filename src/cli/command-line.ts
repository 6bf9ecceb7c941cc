import { parseArgs } from "node:util";
import type { Command, CommandCall } from "./command.ts";
import { commandHelp, overview } from "./help.ts";
import { SETTING_OPTIONS } from "./setting-options.ts";

/**
 * A parsed command line: a request for help, an unknown command, or a command with its arguments.
 */
export type CommandLine =
  | { readonly kind: "help"; readonly text: string }
  | { readonly kind: "unknown"; readonly error: string }
  | {
      readonly kind: "command";
      readonly command: Command;
      /** The settings among the options, as `readConfig` takes them. */
      readonly flags: Readonly<Record<string, string | boolean>>;
      readonly call: Omit<CommandCall, "config" | "settings">;
      /** One sentence for each error; the command can run only when there are none. */
      readonly errors: readonly string[];
    };

/**
 * Parses `COMMAND [ARGUMENT] [OPTIONS]`; a command's name has one or two words. Errors never repeat
 * a value: it may be a secret.
 */
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
  const hint = family.length > 0 ? `use one of ${names}` : "`numberpool help` lists the commands";
  return { kind: "unknown", error: `unknown command \`${first}\`; ${hint}.` };
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

  const errors: string[] = [];
  const flags: Record<string, string | boolean> = {};
  const values: Record<string, string> = {};
  const switches = new Set<string>();
  const positional: string[] = [];
  let mayBeValue = false;
  for (const token of tokens) {
    if (token.kind === "positional" && !mayBeValue) positional.push(token.value);
    mayBeValue = false;
    if (token.kind !== "option") continue;
    const { name, rawName, value, inlineValue } = token;
    const option = known.get(name) ?? known.get(name.replace(/^no-/, ""));
    const isNegated = option !== undefined && option.name !== name;
    if (option === undefined || (isNegated && !(option.value === undefined && SETTING_OPTIONS.includes(option)))) {
      errors.push(`unknown option \`${rawName}\`; \`numberpool ${command.name} --help\` lists the options.`);
      mayBeValue = value === undefined;
    } else if (option.value === undefined && value !== undefined) errors.push(`${rawName} takes no value.`);
    // `--database --json` lacks a value; `--database=--json` has one.
    else if (option.value !== undefined && (value === undefined || (!inlineValue && value.startsWith("-")))) {
      errors.push(`${rawName} needs a value: ${rawName} ${option.value}.`);
    } else if (SETTING_OPTIONS.includes(option)) flags[name] = value ?? true;
    else if (value === undefined) switches.add(name);
    else values[name] = value;
  }
  for (const { name, value, isRequired } of command.options) {
    if (isRequired && values[name] === undefined) errors.push(`\`${command.name}\` needs --${name} ${value}.`);
  }
  const [argument = ""] = positional;
  if (command.argument !== undefined && argument === "")
    errors.push(`\`${command.name}\` needs the argument ${command.argument}.`);
  if (positional.length > (command.argument === undefined ? 0 : 1)) {
    const arity = command.argument === undefined ? "no argument" : `only the argument ${command.argument}`;
    errors.push(`\`${command.name}\` takes ${arity}.`);
  }
  return { kind: "command", command, flags, call: { argument, values, switches }, errors };
}
