import type { Config, SettingInEffect } from "../config.ts";

/** A subcommand of the program: how it is called, what its help says, and what it does. */
export type Command = {
  /** One word, or two: "key create". */
  readonly name: string;
  /** One line of help. */
  readonly summary: string;
  /** More lines of help, shown only for the command itself. */
  readonly details?: string;
  /** What must be given by position, "FILE.csv"; undefined: nothing. */
  readonly argument?: string;
  /** Its own options; every command takes the settings of the configuration beside them. */
  readonly options: readonly Option[];
  /** Does it. Throws one sentence when it cannot; the process then ends with 1. */
  readonly run: (call: CommandCall) => Promise<void>;
};

/** One option of a command: `--name VALUE`, or without `value` a switch `--name`. */
export type Option = {
  readonly name: string;
  /** What the help calls the value, "NAME"; undefined: it takes none. */
  readonly value?: string;
  readonly description: string;
  readonly isRequired?: boolean;
};

/** What a command was called with, checked against its options. */
export type CommandCall = {
  readonly config: Config;
  /** The same configuration as people read it. */
  readonly settings: readonly SettingInEffect[];
  /** What was given by position; "" for a command that takes nothing. */
  readonly argument: string;
  /** Options with a value, by name. */
  readonly values: Readonly<Record<string, string | undefined>>;
  /** Options without a value that were given. */
  readonly switches: ReadonlySet<string>;
};

/** The switch that every command but `serve` has. */
export const JSON_OPTION: Option = { name: "json", description: "Prints the outcome as one line of JSON." };

/** Prints the outcome on standard output: as text for people, or with `--json` as one line of JSON. */
export function answer({ switches }: Pick<CommandCall, "switches">, text: string, json: unknown): void {
  process.stdout.write(`${switches.has(JSON_OPTION.name) ? JSON.stringify(json) : text}\n`);
}
