import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import { failure } from "../../domain/failure.ts";
import { TRANSPORT_LIMITS } from "../limits.ts";
import { isObject, type JsonObject } from "./decode.ts";

/**
 * `page[number]=2&filter[name][eq]=x` as nested objects; repeated keys become lists. Runs in time
 * linear in the query's length. Throws a Failure above `TRANSPORT_LIMITS.queryParameters` parameters.
 */
export function parseQuery(query: string): JsonObject {
  const root: Record<string, unknown> = Object.create(null);
  if (query.split("&", TRANSPORT_LIMITS.queryParameters + 1).length > TRANSPORT_LIMITS.queryParameters) throw tooMany();
  for (const [name, value] of new URLSearchParams(query)) {
    const path = name.split("[", MAX_DEPTH + 1).map((part, index) => (index === 0 ? part : part.replace(/\]$/, "")));
    if (path.length > MAX_DEPTH) continue;
    let at = root;
    for (const part of path.slice(0, -1)) {
      // `filter[name]=x` may stand beside `filter[name][contains]=y`; the plain one goes under an
      // empty key.
      if (at[part] !== undefined && !isObject(at[part]))
        at[part] = Object.assign(Object.create(null), { "": at[part] });
      at[part] ??= Object.create(null);
      at = at[part] as Record<string, unknown>;
    }
    const last = path.at(-1) as string;
    const before = at[last];
    if (isObject(before)) (before as Record<string, unknown>)[""] = value;
    else if (Array.isArray(before)) before.push(value);
    else at[last] = before === undefined ? value : [before, value];
  }
  return root;
}

/** The keys whose values, or those inside them, are phone numbers. */
const PHONE_NUMBER_KEYS = new Set(["to", "from", "phone_number"]);

/**
 * The query with the plus of its phone numbers: an unescaped one, `filter[to]=+13125550100`, decodes
 * to a space.
 */
export function restorePlus(query: JsonObject): JsonObject {
  return mapStrings(query, false, (text) => text.replaceAll(/(^|,) /g, "$1+"));
}

/**
 * An object with the strings of its phone numbers mapped; `isPhoneNumber`: with all of its strings.
 */
function mapStrings(object: JsonObject, isPhoneNumber: boolean, map: (text: string) => string): JsonObject {
  const mapped: Record<string, unknown> = Object.create(null);
  for (const [key, value] of Object.entries(object)) {
    const isPhone = isPhoneNumber || PHONE_NUMBER_KEYS.has(key);
    const mapOne = (one: unknown): unknown => {
      if (isObject(one)) return mapStrings(one, isPhone, map);
      return isPhone && typeof one === "string" ? map(one) : one;
    };
    mapped[key] = Array.isArray(value) ? value.map(mapOne) : mapOne(value);
  }
  return mapped;
}

/** Levels of a nested key, `a[b][c][d]`; deeper keys are ignored. */
const MAX_DEPTH = 4;

function tooMany() {
  return failure(
    ErrorReason.BAD_REQUEST,
    `The query has more than ${TRANSPORT_LIMITS.queryParameters} parameters; send at most ${TRANSPORT_LIMITS.queryParameters}.`,
  );
}
