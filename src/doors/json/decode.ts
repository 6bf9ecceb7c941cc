import {
  create,
  type DescEnum,
  type DescField,
  type DescMessage,
  getOption,
  hasOption,
  type Message,
  ScalarType,
} from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { wrong_type } from "../../../gen/numberpool/v1/call_options_pb.ts";
import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import { type Failure, failure } from "../../domain/failure.ts";
import { enumSpellings } from "../enum-spelling.ts";

/** Where a value comes from: a JSON body says its types, a path or query has nothing but text. */
export type JsonSource = "body" | "text";

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
  const fields = fieldsOf(desc);
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
 * The mask of an update: the keys of its body that the contract knows, down to the leaves. null and {} are leaves, so they clear,
 * while objects with content are merged.
 */
export function maskOf(desc: DescMessage, json: JsonObject, prefix = ""): string[] {
  const fields = fieldsOf(desc);
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

/** True for what JSON calls an object. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const FIELDS = new Map<string, ReadonlyMap<string, DescField>>();

/** Fields by their proto name. The mask of an update is not among them: JSON has its own way to say it. */
function fieldsOf(desc: DescMessage): ReadonlyMap<string, DescField> {
  let fields = FIELDS.get(desc.typeName);
  if (fields === undefined) {
    const open = desc.fields.filter((f) => !(f.message?.typeName === "google.protobuf.FieldMask"));
    fields = new Map(open.map((field) => [field.name, field]));
    FIELDS.set(desc.typeName, fields);
  }
  return fields;
}

function decodeField(field: DescField, value: unknown, source: JsonSource, pointer: string): unknown {
  switch (field.fieldKind) {
    case "scalar":
      return decodeScalar(field, field.scalar, value, source, pointer);
    case "enum":
      return decodeEnum(field, field.enum, value, pointer);
    case "message":
      return decodeMessage(field, field.message, value, source, pointer);
    case "list": {
      const values = source === "text" && typeof value === "string" ? value.split(",") : value;
      if (!Array.isArray(values)) throw wrongType(field, "a list", pointer);
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
  if (field.listKind === "enum") return decodeEnum(field, field.enum, value, pointer);
  return decodeScalar(field, field.scalar, value, source, pointer);
}

function decodeMessage(
  field: DescField,
  desc: DescMessage,
  value: unknown,
  source: JsonSource,
  pointer: string,
): unknown {
  if (desc.typeName === "google.protobuf.Timestamp") return decodeTimestamp(field, value, pointer);
  const json = source === "text" && pointer.lastIndexOf("/") > 0 ? withFirstField(desc, value) : value;
  if (!isObject(json)) throw wrongType(field, "an object", pointer);
  const message = create(desc);
  decodeInto(desc, message, json, source, pointer);
  return message;
}

/** A plain text, alone or under the empty key beside named ones, goes to the first field of a message. */
function withFirstField(desc: DescMessage, value: unknown): unknown {
  const first = desc.fields[0]?.name ?? "";
  if (!isObject(value)) return { [first]: value };
  if (!("" in value)) return value;
  const { "": plain, ...named } = value;
  return { [first]: plain, ...named };
}

function decodeScalar(
  field: DescField,
  type: ScalarType,
  value: unknown,
  source: JsonSource,
  pointer: string,
): unknown {
  switch (type) {
    case ScalarType.STRING:
      if (typeof value === "string") return value;
      throw wrongType(field, "a text", pointer);
    case ScalarType.BOOL:
      if (typeof value === "boolean") return value;
      if (source === "text" && (value === "true" || value === "false")) return value === "true";
      throw wrongType(field, "true or false", pointer);
    case ScalarType.DOUBLE: {
      const number = numberFrom(value, source);
      if (Number.isFinite(number)) return number;
      throw wrongType(field, "a number", pointer);
    }
    case ScalarType.INT32: {
      const number = numberFrom(value, source);
      if (Number.isInteger(number) && Math.abs(number) <= 0x7fffffff) return number;
      throw wrongType(field, "a whole number", pointer);
    }
    case ScalarType.UINT64: {
      const text = typeof value === "number" && Number.isSafeInteger(value) ? String(value) : value;
      if (typeof text === "string" && /^\d{1,19}$/.test(text)) return BigInt(text);
      throw wrongType(field, "a whole number", pointer);
    }
    default:
      throw new Error(`${field} has a type that no documented request has.`);
  }
}

function numberFrom(value: unknown, source: JsonSource): number {
  if (typeof value === "number") return value;
  const isText = source === "text" && typeof value === "string" && value.trim() !== "";
  return isText ? Number(value) : Number.NaN;
}

function decodeEnum(field: DescField, desc: DescEnum, value: unknown, pointer: string): number {
  const { names, read } = enumSpellings(desc);
  const number = typeof value === "string" ? read.get(value) : undefined;
  if (number !== undefined) return number;
  throw failure(ErrorReason.INVALID_ENUM, `${field.name} must be one of ${names.join(", ")}.`, pointer);
}

const RFC3339 = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/;

function decodeTimestamp(field: DescField, value: unknown, pointer: string): unknown {
  const milliseconds = typeof value === "string" && RFC3339.test(value) ? Date.parse(value) : Number.NaN;
  if (Number.isNaN(milliseconds)) throw wrongType(field, "a time such as 2030-01-31T18:00:00Z", pointer);
  return timestampFromMs(milliseconds);
}

function wrongType(field: DescField, wanted: string, pointer: string): Failure {
  const reason = hasOption(field, wrong_type) ? getOption(field, wrong_type) : ErrorReason.INVALID_TYPE;
  return failure(reason, `${field.name} must be ${wanted}.`, pointer);
}
