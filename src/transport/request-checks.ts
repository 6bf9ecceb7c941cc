import { type DescField, type DescMessage, getOption, isFieldSet, type Message } from "@bufbuild/protobuf";
import { former_name, not_supported, refused_by_item } from "../../gen/numberpool/v1/call_options_pb.ts";
import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import { type Failure, failure } from "../domain/failure.ts";
import { quoted } from "../domain/text.ts";
import { enumSpellings } from "./enum-spelling.ts";

/** Checks a decoded request of any transport against the contract; gives the first error. */
export type RequestCheck = (message: Message, pointer: string) => Failure | undefined;

type FieldCheck = (value: unknown, pointer: string) => Failure | undefined;

/**
 * The check of a request type, made from its descriptor: unsupported fields hold their zero value,
 * enum values are known, strings can be stored exactly, and a field mask names fields of the message
 * beside it.
 */
export function requestCheckOf(message: DescMessage): RequestCheck {
  const known = CHECKS.get(message.typeName);
  if (known !== undefined) return known;
  const fields = message.fields.flatMap((field) => {
    const check = checkOf(field, message);
    return check === undefined ? [] : [{ name: field.localName, pointer: `/${field.name}`, check }];
  });
  const check: RequestCheck = (value, pointer) => {
    const unknown = value.$unknown;
    if (unknown !== undefined && pointer !== "" && isEmpty(message, value)) return holdsOnlyUnknown(unknown, pointer);
    for (const field of fields) {
      const content = (value as unknown as Record<string, unknown>)[field.name];
      if (content === undefined) continue;
      const found = field.check(content, pointer + field.pointer);
      if (found !== undefined) return found;
    }
    return undefined;
  };
  CHECKS.set(message.typeName, check);
  return check;
}

const CHECKS = new Map<string, RequestCheck>();

/** True when no field of a message is set. */
function isEmpty(desc: DescMessage, message: Message): boolean {
  return !desc.fields.some((field) => isFieldSet(message, field));
}

/** A message of unknown fields alone must not pass for an empty one, which may turn a pool off. */
function holdsOnlyUnknown(unknown: readonly { readonly no: number }[], pointer: string): Failure {
  const numbers = [...new Set(unknown.map(({ no }) => no))].slice(0, 5).join(", ");
  const name = pointer.slice(pointer.lastIndexOf("/") + 1);
  const detail = `${name} has only fields that are unknown to this release (${numbers}); send a known one.`;
  return failure(ErrorReason.BAD_REQUEST, detail, pointer);
}

function checkOf(field: DescField, parent: DescMessage): FieldCheck | undefined {
  const content = contentCheckOf(field, parent);
  if (!getOption(field, not_supported)) return content;
  return (value, pointer) =>
    isZero(value) || (field.fieldKind === "message" && isEmpty(field.message, value as Message))
      ? undefined
      : failure(ErrorReason.NOT_SUPPORTED, `${field.name} is not supported by this release; leave it out.`, pointer);
}

function contentCheckOf(field: DescField, parent: DescMessage): FieldCheck | undefined {
  switch (field.fieldKind) {
    case "scalar":
      return field.scalar === STRING ? checkText : undefined;
    case "enum": {
      const { names, numbers } = enumSpellings(field.enum);
      return (value, pointer) =>
        numbers.has(value as number)
          ? undefined
          : failure(ErrorReason.INVALID_ENUM, `${field.name} must be one of ${names.join(", ")}.`, pointer);
    }
    case "message":
      if (getOption(field, refused_by_item)) return undefined;
      if (field.message.typeName === "google.protobuf.FieldMask") return maskCheckOf(parent);
      if (field.message.typeName === "google.protobuf.Timestamp") return timestampCheckOf(field);
      return requestCheckOf(field.message) as unknown as FieldCheck;
    case "list": {
      if (getOption(field, refused_by_item)) return undefined;
      const element = elementCheckOf(field);
      return (
        element &&
        ((values, pointer) => {
          for (const [index, value] of (values as unknown[]).entries()) {
            const found = element(value, `${pointer}/${index}`);
            if (found !== undefined) return found;
          }
          return undefined;
        })
      );
    }
    default:
      return undefined;
  }
}

function elementCheckOf(field: DescField & { fieldKind: "list" }): FieldCheck | undefined {
  if (field.listKind === "message") return requestCheckOf(field.message) as unknown as FieldCheck;
  return field.listKind === "scalar" && field.scalar === STRING ? checkText : undefined;
}

/** Refuses a string that a store or a carrier would alter: half a surrogate pair, or a NUL. */
function checkText(value: unknown, pointer: string): Failure | undefined {
  const text = value as string;
  if (text.isWellFormed() && !text.includes("\0")) return undefined;
  const name = pointer.slice(pointer.lastIndexOf("/") + 1);
  return failure(
    ErrorReason.BAD_REQUEST,
    `${name} contains a NUL or half of a surrogate pair; send whole characters.`,
    pointer,
  );
}

/** Refuses a time that does not exist: JSON cannot say one, other encodings can. */
function timestampCheckOf(field: DescField): FieldCheck {
  return (value, pointer) => {
    const { seconds, nanos } = value as { seconds: bigint; nanos: number };
    const isTime = seconds >= FIRST_SECOND && seconds <= LAST_SECOND && nanos >= 0 && nanos < 1_000_000_000;
    if (isTime) return undefined;
    const detail = `${field.name} must be a time of the years 1 to 9999, with 0 to 999,999,999 nanoseconds.`;
    return failure(ErrorReason.INVALID_TYPE, detail, pointer);
  };
}

/** 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z, in seconds since 1970: what a Timestamp may be. */
const FIRST_SECOND = -62_135_596_800n;
const LAST_SECOND = 253_402_300_799n;

function maskCheckOf(parent: DescMessage): FieldCheck {
  const target = parent.fields.find(
    (field) => field.fieldKind === "message" && !field.message.typeName.startsWith("google.protobuf."),
  );
  const paths = new Set(target?.fieldKind === "message" ? pathsOf(target.message, "") : []);
  return (value, pointer) => {
    const named = (value as { paths: string[] }).paths;
    if (named.length === 1 && named[0] === "*") return undefined;
    const unknown = named.find((path) => !paths.has(path));
    if (unknown === undefined) return undefined;
    const today = target?.message?.fields.find((field) => getOption(field, former_name) === unknown)?.name;
    if (today !== undefined) {
      return failure(ErrorReason.NOT_SUPPORTED, `${unknown} is called ${today} now; use that name.`, pointer);
    }
    const detail =
      unknown === "*"
        ? 'update_mask has "*", which stands for every field, beside other paths; use it alone.'
        : `update_mask has ${quoted(unknown)}, which is not a field that can be set; see the contract for those that can.`;
    return failure(ErrorReason.BAD_REQUEST, detail, pointer);
  };
}

function pathsOf(message: DescMessage, prefix: string): string[] {
  return message.fields.flatMap((field) => {
    const path = prefix + field.name;
    return field.fieldKind === "message" ? [path, ...pathsOf(field.message, `${path}.`)] : [path];
  });
}

function isZero(value: unknown): boolean {
  if (Array.isArray(value)) return value.length === 0;
  if (typeof value === "object" && value !== null) return false;
  return value === "" || value === 0 || value === false;
}

/** ScalarType.STRING of descriptors. */
const STRING = 9;
