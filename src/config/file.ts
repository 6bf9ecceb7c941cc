import { readFileSync } from "node:fs";
import { parse, YAMLParseError } from "yaml";

/**
 * Reads the mapping of a YAML file; without a path it is empty. Adds one sentence to `errors` when
 * the file cannot be read.
 */
export function readConfigFile(path: string | boolean | undefined, errors: string[]): Record<string, unknown> {
  if (path === undefined) return {};
  if (typeof path !== "string" || path === "") {
    errors.push("--config needs the path of a YAML file.");
    return {};
  }
  try {
    const content = parse(readFileSync(path, "utf8")) ?? {};
    if (typeof content === "object" && !Array.isArray(content)) return content;
    errors.push(`${path}: must contain a mapping of settings.`);
  } catch (error) {
    const reason =
      error instanceof YAMLParseError ? "is not YAML" : `cannot be read (${(error as NodeJS.ErrnoException).code})`;
    errors.push(`${path}: ${reason}.`);
  }
  return {};
}
