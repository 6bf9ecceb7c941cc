import { SETTINGS } from "../config/settings.ts";
import type { Option } from "./command.ts";

/**
 * The settings as options of every command; a boolean setting takes no value, and has a negated
 * form, `--no-sample`. Every user of the machine can read a command line, so secrets have no flag.
 */
export const SETTING_OPTIONS: readonly Option[] = [
  ...SETTINGS.filter(({ isSecret }) => !isSecret).map(
    ({ flag, description, default: value }): Option => ({
      name: flag,
      description: value === undefined ? description : `${description} Default: ${value}.`,
      ...(typeof value !== "boolean" && { value: "VALUE" }),
    }),
  ),
  { name: "config", value: "FILE", description: "A YAML file with these settings and the carriers." },
];
