import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import { failure } from "./failure.ts";
import { LIMITS } from "./limits.ts";

/** Returns a string of an allowed length in UTF-16 units; throws a failure that names the field. */
export function checkText(text: string, field: string, minLength: number, maxLength: number): string {
  if (text.length >= minLength && text.length <= maxLength) return text;
  throw failure(
    ErrorReason.INVALID_LENGTH,
    `${field} must have ${minLength} to ${maxLength} characters.`,
    pointerOf(field),
  );
}

/**
 * Returns an absolute http or https URL without credentials, or "" and undefined for none; throws a
 * failure that names the field.
 */
export function checkUrl(url: string | undefined, field: string): string | undefined {
  if (url === undefined || url === "") return url;
  const parsed = url.length <= LIMITS.urlCharacters && URL.canParse(url) ? new URL(url) : undefined;
  const usable = parsed?.protocol === "https:" || parsed?.protocol === "http:";
  if (parsed !== undefined && usable && parsed.username === "" && parsed.password === "") return url;
  throw failure(
    ErrorReason.INVALID_URL,
    `${field} must be an absolute http or https URL without credentials, of at most ${LIMITS.urlCharacters} characters.`,
    pointerOf(field),
  );
}

/** Returns tags within their limits; throws a failure that names the field. */
export function checkTags(tags: readonly string[]): readonly string[] {
  if (tags.length > LIMITS.tags) {
    throw failure(ErrorReason.INVALID_LENGTH, `tags must hold at most ${LIMITS.tags} labels.`, "/tags");
  }
  tags.forEach((tag, index) => {
    checkText(tag, `tags[${index}]`, 1, LIMITS.tagCharacters);
  });
  return tags;
}

/** A value as refusals quote it: at most 60 characters, with invisible characters escaped. */
export function quoted(value: string): string {
  const text = value.length > MAX_QUOTED_LENGTH ? `${value.slice(0, MAX_QUOTED_LENGTH)}…` : value;
  return JSON.stringify(text).replace(
    /[^\P{C}]|[^\P{Z} ]/gu,
    (unit) => `\\u{${(unit.codePointAt(0) as number).toString(16)}}`,
  );
}

const MAX_QUOTED_LENGTH = 60;

/** "tags[3].name" as a JSON pointer, "/tags/3/name". */
export function pointerOf(field: string): string {
  return `/${field.replaceAll("[", "/").replaceAll("]", "").replaceAll(".", "/")}`;
}
