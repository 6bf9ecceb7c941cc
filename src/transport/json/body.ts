import { isUtf8 } from "node:buffer";
import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import { failure } from "../../domain/failure.ts";
import { isObject, type JsonObject } from "./decode.ts";

/** The JSON object in a body; anything else is INVALID_JSON. */
export function parseBody(body: Buffer | undefined): JsonObject {
  const json = body === undefined || !isUtf8(body) ? undefined : parseJson(body.toString("utf8"));
  if (isObject(json)) return json;
  throw failure(ErrorReason.INVALID_JSON, "The body must be a JSON object in UTF-8.");
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The parser's error text quotes the body, which must not reach a log.
    return undefined;
  }
}
