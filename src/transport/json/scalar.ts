import { type DescEnum, type DescField, getOption, hasOption, ScalarType } from "@bufbuild/protobuf";
import { wrong_type } from "../../../gen/numberpool/v1/call_options_pb.ts";
import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import { type Failure, failure } from "../../domain/failure.ts";
import { enumSpellings } from "../enum-spelling.ts";

/**
 * The source of a value. The body of a documented path has JSON's types, a path or query has only
 * strings, and the body of an RPC also accepts names, numbers and enum values in ProtoJSON.
 */
export type JsonSource = "body" | "text" | "rpc";

/** A JSON value as a field's scalar; a value of another type is a failure that names the field. */
export function decodeScalar(
  field: DescField,
  type: ScalarType,
  value: unknown,
  source: JsonSource,
  pointer: string,
): unknown {
  switch (type) {
    case ScalarType.STRING:
      if (typeof value === "string") return value;
      throw wrongType(field, "a string", pointer);
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
      throw wrongType(field, "an integer", pointer);
    }
    case ScalarType.UINT64: {
      const text = typeof value === "number" && Number.isSafeInteger(value) ? String(value) : value;
      if (typeof text === "string" && /^\d{1,19}$/.test(text)) return BigInt(text);
      throw wrongType(field, "an integer", pointer);
    }
    default:
      throw new Error(`${field} has a type that is not implemented for requests.`);
  }
}

/**
 * An enum value by its documented spelling or its name in the contract; in an RPC also by its
 * number.
 */
export function decodeEnum(
  field: DescField,
  desc: DescEnum,
  value: unknown,
  source: JsonSource,
  pointer: string,
): number {
  const { names, read, byName, numbers, written } = enumSpellings(desc);
  const spelled = typeof value === "string" ? (read.get(value) ?? byName.get(value)) : undefined;
  const number = spelled ?? (source === "rpc" ? value : undefined);
  // "Unspecified" is a value in an RPC's JSON alone, where it says the same as an absent field.
  const isSaid = source === "rpc" || number !== 0 || written.has(0);
  if (isSaid && numbers.has(number as number)) return number as number;
  throw failure(ErrorReason.INVALID_ENUM, `${field.name} must be one of ${names.join(", ")}.`, pointer);
}

/** The refusal of a value of the wrong type. */
export function wrongType(field: DescField, wanted: string, pointer: string): Failure {
  const reason = hasOption(field, wrong_type) ? getOption(field, wrong_type) : ErrorReason.INVALID_TYPE;
  return failure(reason, `${field.name} must be ${wanted}.`, pointer);
}

/** A number in a path or query. */
const DECIMAL = /^-?\d+(\.\d+)?$/;
/** A number as a string in an RPC's JSON. */
const JSON_NUMBER = /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/;

function numberFrom(value: unknown, source: JsonSource): number {
  if (typeof value === "number") return value;
  const form = source === "text" ? DECIMAL : JSON_NUMBER;
  return source !== "body" && typeof value === "string" && form.test(value) ? Number(value) : Number.NaN;
}
