import { create, type DescField, type DescMessage, getOption, type Message } from "@bufbuild/protobuf";
import { protoCamelCase } from "@bufbuild/protobuf/reflect";
import { FieldMaskSchema } from "@bufbuild/protobuf/wkt";
import { former_name, not_supported, nullable, refused_by_item } from "../../../gen/numberpool/v1/call_options_pb.ts";
import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import { Failure, failure } from "../../domain/failure.ts";
import { quoted } from "../../domain/text.ts";
import { refusedItem } from "../refused-item.ts";
import { decodeEnum, decodeScalar, type JsonSource, wrongType } from "./scalar.ts";
import { timestampOf } from "./time.ts";

/** A JSON object, or the parameters of a path or query in that form. */
export type JsonObject = { readonly [key: string]: unknown };

/**
 * Puts the fields of a JSON object into a message. Unknown keys are ignored, null is absent, and a
 * wrong value of a known key is a failure that names it. A string for a message inside another goes
 * to its first field, so that `filter[name]=x` is `filter[name][eq]=x`.
 */
export function decodeInto(
  desc: DescMessage,
  target: Message,
  json: JsonObject,
  source: JsonSource,
  pointer = "",
): void {
  const fields = fieldsOf(desc, source);
  refuseFormerNames(desc, json, pointer);
  if (pointer !== "" && source !== "text") refuseUnknown(fields, json, pointer);
  for (const key of Object.keys(json)) {
    const field = fields.get(key);
    const value = json[key];
    // An ignored misspelled filter would list everything.
    if (field === undefined && source === "text" && pointer !== "") {
      throw failure(
        ErrorReason.INVALID_FILTER,
        `${quoted(key)} is unknown; use ${[...fields.keys()].join(", ")}.`,
        `${pointer}/${key}`,
      );
    }
    if (field === undefined || value === null || value === undefined) continue;
    const decoded = decodeField(field, value, source, `${pointer}/${key}`);
    (target as unknown as Record<string, unknown>)[field.localName] = decoded;
  }
}

/**
 * Refuses a field's former name, in either spelling, so that it is not ignored like an unknown key.
 * Also for other sources of a message's fields, such as the columns of a file.
 */
export function refuseFormerNames(desc: DescMessage, json: JsonObject, pointer = ""): void {
  for (const [name, current] of formerNamesOf(desc)) {
    if (!(name in json)) continue;
    throw failure(ErrorReason.NOT_SUPPORTED, `${name} is called ${current} now; use that name.`, `${pointer}/${name}`);
  }
}

const FORMER_NAMES = new Map<string, ReadonlyMap<string, string>>();

function formerNamesOf(desc: DescMessage): ReadonlyMap<string, string> {
  let names = FORMER_NAMES.get(desc.typeName);
  if (names === undefined) {
    const renamed = desc.fields.filter((field) => getOption(field, former_name) !== "");
    names = new Map(
      renamed.flatMap((field) => {
        const former = getOption(field, former_name);
        return [
          [former, field.name],
          [protoCamelCase(former), field.jsonName],
        ] as const;
      }),
    );
    FORMER_NAMES.set(desc.typeName, names);
  }
  return names;
}

/** An object of unknown keys alone must not pass for an empty one, which may turn a pool off. */
function refuseUnknown(fields: ReadonlyMap<string, DescField>, json: JsonObject, pointer: string): void {
  const keys = Object.keys(json);
  if (keys.length === 0 || keys.some((key) => fields.has(key))) return;
  const known = [...new Set([...fields.values()].map(({ name }) => name))].join(", ");
  const unknown = keys
    .slice(0, MAX_LISTED_KEYS)
    .map((key) => JSON.stringify(key))
    .join(", ");
  throw failure(
    ErrorReason.BAD_REQUEST,
    `${pointer.slice(pointer.lastIndexOf("/") + 1)} has only unknown keys: ${unknown}. Its keys are ${known}.`,
    pointer,
  );
}

/** Unknown keys that a refusal lists. */
const MAX_LISTED_KEYS = 5;

/**
 * The mask of an update: the known keys of its body, down to the leaves. null and {} are leaves, so
 * they clear, while objects with keys are merged.
 */
export function maskOf(desc: DescMessage, json: JsonObject, prefix = ""): string[] {
  const fields = fieldsOf(desc, "body");
  return Object.keys(json).flatMap((key) => {
    const field = fields.get(key);
    if (field === undefined) return [];
    const value = json[key];
    const hasKeys = field.fieldKind === "message" && isObject(value) && Object.keys(value).length > 0;
    if (!hasKeys) return [prefix + key];
    const inner = maskOf(field.message, value, `${prefix}${key}.`);
    return inner.length > 0 ? inner : [prefix + key];
  });
}

/** Refuses a list's query with an unknown key. */
export function refuseUnknownQuery(desc: DescMessage, query: JsonObject): void {
  const fields = fieldsOf(desc, "text");
  const unknown = Object.keys(query).find((key) => !fields.has(key));
  if (unknown === undefined) return;
  const known = [...fields.keys()].join(", ");
  throw failure(ErrorReason.INVALID_FILTER, `${quoted(unknown)} is unknown; use ${known}.`, `/${unknown}`);
}

/** Refuses null for a field that is not nullable: it must not pass for the field's default. */
export function refuseNulls(desc: DescMessage, json: JsonObject, pointer = ""): void {
  for (const [key, field] of fieldsOf(desc, "body")) {
    const value = json[key];
    if (value === null && !getOption(field, nullable) && !getOption(field, not_supported)) {
      throw failure(
        ErrorReason.INVALID_TYPE,
        `${key} cannot be null; set a value, or leave it out to keep the current one.`,
        `${pointer}/${key}`,
      );
    }
    if (field.fieldKind === "message" && isObject(value)) refuseNulls(field.message, value, `${pointer}/${key}`);
  }
}

/** True for a JSON object. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const FIELDS = new Map<string, ReadonlyMap<string, DescField>>();

/**
 * Fields by their proto name, for RPCs by their JSON name too. Only RPCs have the mask of an update
 * as a field: documented JSON derives it from the body's keys.
 */
function fieldsOf(desc: DescMessage, source: JsonSource): ReadonlyMap<string, DescField> {
  const isRpc = source === "rpc";
  const key = `${desc.typeName} ${isRpc}`;
  let fields = FIELDS.get(key);
  if (fields === undefined) {
    const open = desc.fields.filter((f) => isRpc || f.message?.typeName !== FieldMaskSchema.typeName);
    const names = (field: DescField) => (isRpc ? [field.name, field.jsonName] : [field.name]);
    fields = new Map(open.flatMap((field) => names(field).map((name) => [name, field] as const)));
    FIELDS.set(key, fields);
  }
  return fields;
}

function decodeField(field: DescField, value: unknown, source: JsonSource, pointer: string): unknown {
  switch (field.fieldKind) {
    case "scalar":
      return decodeScalar(field, field.scalar, value, source, pointer);
    case "enum":
      return decodeEnum(field, field.enum, value, source, pointer);
    case "message":
      return decodeMessage(field, field.message, value, source, pointer);
    case "list": {
      const values = source === "text" && typeof value === "string" ? value.split(",") : value;
      if (!Array.isArray(values)) throw wrongType(field, "a list", pointer);
      if (getOption(field, refused_by_item)) return values.map((each) => decodeItem(field, each, source));
      return values.map((each, index) => decodeElement(field, each, source, `${pointer}/${index}`));
    }
    default:
      throw new Error(`${field} is a map, which is not implemented for requests.`);
  }
}

function decodeElement(
  field: DescField & { fieldKind: "list" },
  value: unknown,
  source: JsonSource,
  pointer: string,
): unknown {
  if (field.listKind === "message") return decodeMessage(field, field.message, value, source, pointer);
  if (field.listKind === "enum") return decodeEnum(field, field.enum, value, source, pointer);
  return decodeScalar(field, field.scalar, value, source, pointer);
}

/** An item that is decoded by itself: its own result has its refusal. */
function decodeItem(field: DescField & { fieldKind: "list" }, value: unknown, source: JsonSource): unknown {
  const desc = field.message as DescMessage;
  try {
    if (!isObject(value)) throw failure(ErrorReason.INVALID_TYPE, `An item of ${field.name} must be an object.`);
    const item = create(desc);
    decodeInto(desc, item, value, source);
    return item;
  } catch (error) {
    if (error instanceof Failure) return refusedItem(desc, error.refusal);
    throw error;
  }
}

function decodeMessage(
  field: DescField,
  desc: DescMessage,
  value: unknown,
  source: JsonSource,
  pointer: string,
): unknown {
  if (desc.typeName === "google.protobuf.Timestamp") {
    const timestamp = typeof value === "string" ? timestampOf(value) : undefined;
    return timestamp ?? raise(wrongType(field, "a time that exists, such as 2030-01-31T18:00:00Z", pointer));
  }
  if (desc.typeName === FieldMaskSchema.typeName) return decodeMask(field, value, pointer);
  const json = source === "text" && pointer.lastIndexOf("/") > 0 ? withFirstField(desc, value) : value;
  if (!isObject(json)) throw wrongType(field, "an object", pointer);
  const message = create(desc);
  decodeInto(desc, message, json, source, pointer);
  return message;
}

/**
 * A string, alone or under the empty key beside named ones, goes to the first field of a message.
 */
function withFirstField(desc: DescMessage, value: unknown): unknown {
  const field = desc.fields[0];
  // A time alone must not become the start of a time range.
  if (field === undefined || field.fieldKind === "message") return value;
  const first = field.name;
  if (!isObject(value)) return { [first]: value };
  if (!("" in value)) return value;
  const { "": plain, ...named } = value;
  return { [first]: plain, ...named };
}

/** The paths of a mask, separated by commas, as field names or as JSON names. */
function decodeMask(field: DescField, value: unknown, pointer: string): unknown {
  if (typeof value !== "string") throw wrongType(field, "paths separated by commas", pointer);
  const paths = value === "" ? [] : value.split(",");
  return create(FieldMaskSchema, {
    paths: paths.map((path) => path.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)),
  });
}

function raise(error: Failure): never {
  throw error;
}
