import type { Config } from "../config/config.ts";
import type { SettingInEffect } from "../config/read.ts";

/** A subcommand of the program: its name, its help, and its action. */
export type Command = {
  /** One word, or two: "key create". */
  readonly name: string;
  /** One line of help. */
  readonly summary: string;
  /** More lines of help, shown by `numberpool COMMAND --help`. */
  readonly details?: string;
  /** The name of its required argument, "FILE.csv"; undefined: it takes none. */
  readonly argument?: string;
  /** Its own options; every command also takes the settings. */
  readonly options: readonly Option[];
  /**
   * Runs the command. Throws an error of one sentence when it fails; the process then ends with 1.
   */
  readonly run: (call: CommandCall) => Promise<void>;
};

/** One option of a command: `--name VALUE`, or without `value` a switch `--name`. */
export type Option = {
  readonly name: string;
  /** The value's name in the help, "NAME"; undefined: the option takes none. */
  readonly value?: string;
  readonly description: string;
  readonly isRequired?: boolean;
};

/** The arguments and options of one call of a command, already checked. */
export type CommandCall = {
  readonly config: Config;
  /** The same configuration, as people read it. */
  readonly settings: readonly SettingInEffect[];
  /** The argument; "" for a command that takes none. */
  readonly argument: string;
  /** Options with a value, by name. */
  readonly values: Readonly<Record<string, string | undefined>>;
  /** The names of the switches that are present. */
  readonly switches: ReadonlySet<string>;
};

/** The switch that every command but `serve` has. */
export const JSON_OPTION: Option = { name: "json", description: "Prints the outcome as one line of JSON." };

/**
 * Prints the outcome on standard output: as text for people, or with `--json` as one line of JSON.
 */
export function answer({ switches }: Pick<CommandCall, "switches">, text: string, json: unknown): void {
  process.stdout.write(`${switches.has(JSON_OPTION.name) ? JSON.stringify(json) : text}\n`);
}
