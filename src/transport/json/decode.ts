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

/** A JSON object, or what a path or query was gathered into. */
export type JsonObject = { readonly [key: string]: unknown };

/**
 * Puts the fields of a JSON object into a message. Unknown keys are passed over, null is absent, and a known key with a wrong value
 * is a failure that names it. Text becomes what the descriptor says; a plain text for a message inside another goes to its first
 * field, so that `filter[name]=x` is `filter[name][eq]=x`.
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
    // A misspelled filter would give everything, and look like an answer.
    if (field === undefined && source === "text" && pointer !== "") {
      throw failure(
        ErrorReason.INVALID_FILTER,
        `${[...fields.keys()].join(", ")} are known here.`,
        `${pointer}/${key}`,
      );
    }
    if (field === undefined || value === null || value === undefined) continue;
    const decoded = decodeField(field, value, source, `${pointer}/${key}`);
    (target as unknown as Record<string, unknown>)[field.localName] = decoded;
  }
}

/**
 * Refuses the name that a field had before, in either spelling, so that it is not passed over like an unknown key. Also called for
 * what is no JSON but has a message's fields by name, such as the columns of a file.
 */
export function refuseFormerNames(desc: DescMessage, json: JsonObject, pointer = ""): void {
  for (const [name, today] of formerNamesOf(desc)) {
    if (!(name in json)) continue;
    throw failure(ErrorReason.NOT_SUPPORTED, `${name} is called ${today} now; use that name.`, `${pointer}/${name}`);
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

/** An object of which nothing is known would pass for an empty one, which may say much: it turns a pool off. */
function refuseUnknown(fields: ReadonlyMap<string, DescField>, json: JsonObject, pointer: string): void {
  const keys = Object.keys(json);
  if (keys.length === 0 || keys.some((key) => fields.has(key))) return;
  const known = [...new Set([...fields.values()].map(({ name }) => name))].join(", ");
  const unknown = keys
    .slice(0, MAX_NAMED)
    .map((key) => JSON.stringify(key))
    .join(", ");
  throw failure(
    ErrorReason.BAD_REQUEST,
    `${pointer.slice(pointer.lastIndexOf("/") + 1)} holds only unknown keys: ${unknown}. Its keys are ${known}.`,
    pointer,
  );
}

/** Unknown keys that a refusal names. */
const MAX_NAMED = 5;

/**
 * The mask of an update: the keys of its body that the contract knows, down to the leaves. null and {} are leaves, so they clear,
 * while objects with content are merged.
 */
export function maskOf(desc: DescMessage, json: JsonObject, prefix = ""): string[] {
  const fields = fieldsOf(desc, "body");
  return Object.keys(json).flatMap((key) => {
    const field = fields.get(key);
    if (field === undefined) return [];
    const value = json[key];
    const goesOn = field.fieldKind === "message" && isObject(value) && Object.keys(value).length > 0;
    if (!goesOn) return [prefix + key];
    const inner = maskOf(field.message, value, `${prefix}${key}.`);
    return inner.length > 0 ? inner : [prefix + key];
  });
}

/** Refuses a query with a key that a list does not know. */
export function refuseUnknownQuery(desc: DescMessage, query: JsonObject): void {
  const fields = fieldsOf(desc, "text");
  const unknown = Object.keys(query).find((key) => !fields.has(key));
  if (unknown === undefined) return;
  const known = [...fields.keys()].join(", ");
  throw failure(ErrorReason.INVALID_FILTER, `${quoted(unknown)} is not known here; use ${known}.`, `/${unknown}`);
}

/** Refuses null for a field of an update that cannot be null: it must not be taken for the field's default. */
export function refuseNulls(desc: DescMessage, json: JsonObject, pointer = ""): void {
  for (const [key, field] of fieldsOf(desc, "body")) {
    const value = json[key];
    if (value === null && !getOption(field, nullable) && !getOption(field, not_supported)) {
      throw failure(
        ErrorReason.INVALID_TYPE,
        `${key} cannot be null; give a value, or leave it out to keep it.`,
        `${pointer}/${key}`,
      );
    }
    if (field.fieldKind === "message" && isObject(value)) refuseNulls(field.message, value, `${pointer}/${key}`);
  }
}

/** True for what JSON calls an object. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const FIELDS = new Map<string, ReadonlyMap<string, DescField>>();

/**
 * Fields by their proto name, for RPCs by their JSON name too. The mask of an update is a field of RPCs only: the documented JSON
 * has its own way to say it.
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
      throw new Error(`${field} is a map, which no documented request has.`);
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

/** An item that is decoded by itself: what is wrong with it is told by its own result. */
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

/** A plain text, alone or under the empty key beside named ones, goes to the first field of a message. */
function withFirstField(desc: DescMessage, value: unknown): unknown {
  const field = desc.fields[0];
  // What a span of time would begin with must not be guessed from a time alone.
  if (field === undefined || field.fieldKind === "message") return value;
  const first = field.name;
  if (!isObject(value)) return { [first]: value };
  if (!("" in value)) return value;
  const { "": plain, ...named } = value;
  return { [first]: plain, ...named };
}

/** The paths of a mask, separated by commas, in the spelling of the fields' names or of their JSON names. */
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
