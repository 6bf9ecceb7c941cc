import { checkSettings, type SourcedValues } from "./check.ts";
import type { Config } from "./config.ts";
import { readConfigFile } from "./file.ts";
import { masked } from "./mask.ts";
import { SETTINGS } from "./settings.ts";

/** A setting in effect, as people read it. */
export type SettingInEffect = {
  readonly name: string;
  /** As in the YAML file, with defaults, and with secrets masked; null: unset. */
  readonly value: unknown;
  /** A flag, a variable, the path of the file, or "default". */
  readonly source: string;
};

const DEFAULT = "default";
const DEFAULT_CARRIERS = { sandbox: { type: "sandbox" } };

/**
 * Reads the configuration: flags come first, then the environment, then the YAML file that `config`
 * names, then defaults. Reports every error at once, unknown names included, each with its source.
 * Errors never contain values.
 */
export function readConfig(
  flags: Readonly<Record<string, string | boolean>>,
  environment: Readonly<Record<string, string | undefined>>,
): { readonly config: Config; readonly settings: SettingInEffect[] } | { readonly errors: readonly string[] } {
  const { values, errors } = collect(flags, environment);
  const checked = checkSettings(values);
  if ("errors" in checked || errors.length > 0) {
    return { errors: [...errors, ...("errors" in checked ? checked.errors : [])] };
  }
  const settings = [...values].map(([name, { source }]) => ({
    name,
    value: masked(name, checked.inEffect[name] ?? null),
    source,
  }));
  return { config: checked.config, settings };
}

/** Collects the value of each setting from the first source that has one. */
function collect(
  flags: Readonly<Record<string, string | boolean>>,
  environment: Readonly<Record<string, string | undefined>>,
): { readonly values: SourcedValues; readonly errors: string[] } {
  const errors: string[] = [];
  const values = new Map<string, { value: unknown; source: string }>();
  for (const { name, default: value } of SETTINGS) values.set(name, { value, source: DEFAULT });
  values.set("carriers", { value: DEFAULT_CARRIERS, source: DEFAULT });

  const file = flags.config ?? environment.NUMBERPOOL_CONFIG;
  for (const [name, value] of Object.entries(readConfigFile(file, errors))) {
    // A key without a value keeps the default carriers.
    if (name === "carriers" && value === null) continue;
    if (values.has(name)) values.set(name, { value, source: String(file) });
    else errors.push(`${file}: unknown setting \`${name}\`.`);
  }
  for (const [variable, value] of Object.entries(environment)) {
    if (!variable.startsWith("NUMBERPOOL_") || variable.startsWith("NUMBERPOOL_TEST_")) continue;
    if (variable === "NUMBERPOOL_CONFIG") continue;
    const setting = SETTINGS.find((known) => known.variable === variable);
    if (setting === undefined) errors.push(`unknown setting \`${variable}\`.`);
    else values.set(setting.name, { value, source: variable });
  }
  for (const [option, value] of Object.entries(flags)) {
    if (option === "config") continue;
    const isNegated = option.startsWith("no-");
    const setting = SETTINGS.find(({ flag }) => flag === (isNegated ? option.slice(3) : option));
    if (setting === undefined) errors.push(`unknown option \`--${option}\`.`);
    else values.set(setting.name, { value: isNegated ? false : value, source: `--${option}` });
  }
  return { values, errors };
}
