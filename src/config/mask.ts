import { SETTINGS } from "./settings.ts";

const MASK = "********";
/** The endings of secrets' names, inside a carrier. */
const SECRET = /(^|_)(key|password|secret|token)$/;

/**
 * Masks the secrets in a value: by its name, by the names inside it, and in the password of a URL.
 */
export function masked(name: string, value: unknown): unknown {
  if (value === null) return null;
  const setting = SETTINGS.find((known) => known.name === name);
  if (setting === undefined ? SECRET.test(name) : setting.isSecret) return MASK;
  if (typeof value === "string") return value.replace(/^(\w+:\/\/[^:/@]*:)[^/]+@/, `$1${MASK}@`);
  if (typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([inner, each]) => [inner, masked(inner, each)]));
}
