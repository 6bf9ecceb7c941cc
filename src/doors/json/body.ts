import { isUtf8 } from "node:buffer";
import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import { failure } from "../../domain/failure.ts";
import { LIMITS } from "../../domain/limits.ts";
import { isObject, type JsonObject } from "./decode.ts";

/** The JSON object that a body holds; anything else is INVALID_JSON. */
export function parseBody(body: Buffer | undefined): JsonObject {
  if (body !== undefined && isDeep(body)) {
    throw failure(ErrorReason.INVALID_JSON, `The body is nested deeper than ${LIMITS.jsonDepth} levels.`);
  }
  const json = body === undefined || !isUtf8(body) ? undefined : parseJson(body.toString("utf8"));
  if (isObject(json)) return json;
  throw failure(ErrorReason.INVALID_JSON, "The body must be a JSON object in UTF-8.");
}

/** Whether objects and lists of a JSON text are nested deeper than allowed; of other bytes it says either. */
function isDeep(body: Buffer): boolean {
  let depth = 0;
  let isText = false;
  for (let at = 0; at < body.length; at += 1) {
    const byte = body[at];
    if (isText) {
      if (byte === BACKSLASH) at += 1;
      else if (byte === QUOTE) isText = false;
    } else if (byte === QUOTE) isText = true;
    else if (byte === BRACE || byte === BRACKET) {
      depth += 1;
      if (depth > LIMITS.jsonDepth) return true;
    } else if (byte === BRACE + 2 || byte === BRACKET + 2) depth -= 1;
  }
  return false;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
/** The opening ones; the closing ones come two later. */
const BRACKET = 0x5b;
const BRACE = 0x7b;

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The parser's own words quote the body, which must not get into a log.
    return undefined;
  }
}
