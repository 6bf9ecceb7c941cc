import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "../../src/config/config.ts";
import { readConfig } from "../../src/config/read.ts";

/** Writes a configuration file into a folder, and gives its path. */
export function writeConfig(folder: string, yaml: string): string {
  const path = join(folder, "numberpool.yaml");
  writeFileSync(path, yaml);
  return path;
}

/** The configuration from flags and environment, which must have no errors. */
export function configOf(flags: Record<string, string | boolean>, environment: Record<string, string> = {}): Config {
  const read = readConfig(flags, environment);
  if ("errors" in read) throw new Error(read.errors.join("\n"));
  return read.config;
}

/** The errors of the configuration from flags and environment. */
export function errorsOf(flags: Record<string, string | boolean>, environment: Record<string, string> = {}): string[] {
  const read = readConfig(flags, environment);
  return "errors" in read ? [...read.errors] : [];
}
