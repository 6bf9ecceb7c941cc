import { type DescField, type DescMessage, type Message, ScalarType, toJsonString } from "@bufbuild/protobuf";
import { type ListValue, ListValueSchema, StructSchema } from "@bufbuild/protobuf/wkt";
import { enumSpellings } from "../enum-spelling.ts";

/**
 * Writes a message as documented JSON: proto names, documented enum spellings, absent fields as
 * null.
 */
export type JsonEncoder = (message: Message) => string;

type ValueReader = (message: Readonly<Record<string, unknown>>) => unknown;

/** Reads a field; undefined if another field of its oneof is set. */
function readerOf({ localName, oneof }: DescField): ValueReader {
  if (oneof === undefined) return (message) => message[localName];
  return (message) => {
    const set = message[oneof.localName] as { readonly case: string | undefined; readonly value?: unknown };
    return set.case === localName ? set.value : undefined;
  };
}

type ValueEncoder = (value: unknown) => string;

/** The cached encoder of a message type. Times are RFC 3339 in UTC with milliseconds. */
export function jsonEncoderOf(desc: DescMessage): JsonEncoder {
  const known = ENCODERS.get(desc.typeName);
  if (known !== undefined) return known;
  const parts: { readonly valueOf: ValueReader; readonly text: string; readonly encode: ValueEncoder }[] = [];
  // Cached before its fields are built: a type may contain itself.
  const encoder: JsonEncoder = (message) => {
    let out = "";
    for (const part of parts) {
      const value = part.valueOf(message as unknown as Record<string, unknown>);
      out += part.text + (value === undefined ? "null" : part.encode(value));
    }
    return parts.length === 0 ? "{}" : `${out}}`;
  };
  ENCODERS.set(desc.typeName, encoder);
  for (const [index, field] of desc.fields.entries()) {
    parts.push({
      valueOf: readerOf(field),
      text: `${index === 0 ? "{" : ","}${JSON.stringify(field.name)}:`,
      encode: fieldEncoderOf(field),
    });
  }
  return encoder;
}

const ENCODERS = new Map<string, JsonEncoder>();

function fieldEncoderOf(field: DescField): ValueEncoder {
  switch (field.fieldKind) {
    case "scalar":
      return scalarEncoderOf(field.scalar);
    case "enum": {
      const { written } = enumSpellings(field.enum);
      const texts = new Map([...written].map(([number, text]) => [number, JSON.stringify(text)]));
      return (value) => texts.get(value as number) ?? "null";
    }
    case "message":
      return messageEncoderOf(field.message);
    case "list": {
      if (field.listKind === "enum")
        throw new Error(`${field} is a list of enums, which is not implemented for responses.`);
      const encode = field.listKind === "message" ? messageEncoderOf(field.message) : scalarEncoderOf(field.scalar);
      return (value) => `[${(value as unknown[]).map(encode).join(",")}]`;
    }
    default:
      throw new Error(`${field} is a map, which is not implemented for responses.`);
  }
}

function messageEncoderOf(desc: DescMessage): ValueEncoder {
  if (desc.typeName === "google.protobuf.Timestamp") return encodeTimestamp;
  // A field of this type holds plain JSON.
  if (desc.typeName === StructSchema.typeName) return JSON.stringify;
  if (desc.typeName === ListValueSchema.typeName) return (value) => toJsonString(ListValueSchema, value as ListValue);
  return jsonEncoderOf(desc) as unknown as ValueEncoder;
}

function scalarEncoderOf(type: ScalarType): ValueEncoder {
  switch (type) {
    case ScalarType.STRING:
      return JSON.stringify;
    case ScalarType.BOOL:
      return (value) => (value ? "true" : "false");
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return (value) => (Number.isFinite(value) ? String(value) : "null");
    case ScalarType.INT32:
    case ScalarType.UINT32:
      return String;
    default:
      // Many JSON parsers round numbers of 64 bits.
      return (value) => JSON.stringify(String(value));
  }
}

function encodeTimestamp(value: unknown): string {
  const { seconds, nanos } = value as { seconds: bigint; nanos: number };
  return `"${new Date(Number(seconds) * 1000 + Math.floor(nanos / 1e6)).toISOString()}"`;
}
