import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import { failure } from "./failure.ts";
import { LIMITS } from "./limits.ts";

/** A text of an allowed length, or a failure that names the field. Lengths are counted in UTF-16 units. */
export function checkText(text: string, field: string, least: number, most: number): string {
  if (text.length >= least && text.length <= most) return text;
  throw failure(ErrorReason.INVALID_LENGTH, `${field} must have ${least} to ${most} characters.`, pointerOf(field));
}

/** An absolute http or https URL without credentials; "" and undefined stand for none. Or a failure that names the field. */
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

/** Labels within their limits, or a failure that names the field. */
export function checkTags(tags: readonly string[]): readonly string[] {
  if (tags.length > LIMITS.tags) {
    throw failure(ErrorReason.INVALID_LENGTH, `tags must hold at most ${LIMITS.tags} labels.`, "/tags");
  }
  tags.forEach((tag, index) => {
    checkText(tag, `tags[${index}]`, 1, LIMITS.tagCharacters);
  });
  return tags;
}

/** A value as a refusal shows it: quoted, at most 60 characters, with what cannot be seen spelled as an escape. */
export function shown(value: string): string {
  const text = value.length > MAX_SHOWN ? `${value.slice(0, MAX_SHOWN)}…` : value;
  return JSON.stringify(text).replace(
    /[^\P{C}]|[^\P{Z} ]/gu,
    (unit) => `\\u{${(unit.codePointAt(0) as number).toString(16)}}`,
  );
}

const MAX_SHOWN = 60;

/** "tags[3].name" as a JSON pointer, "/tags/3/name". */
export function pointerOf(field: string): string {
  return `/${field.replaceAll("[", "/").replaceAll("]", "").replaceAll(".", "/")}`;
}
