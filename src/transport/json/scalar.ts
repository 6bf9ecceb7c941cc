import { type DescEnum, type DescField, getOption, hasOption, ScalarType } from "@bufbuild/protobuf";
import { wrong_type } from "../../../gen/numberpool/v1/call_options_pb.ts";
import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import { type Failure, failure } from "../../domain/failure.ts";
import { enumSpellings } from "../enum-spelling.ts";

/**
 * Where a value comes from. The body of a documented path says its types, a path or query has nothing but text, and the body of an
 * RPC may also spell names, numbers and enum values as protobuf's own JSON does.
 */
export type JsonSource = "body" | "text" | "rpc";

/** A JSON value as the scalar that a field wants; a value of another type is a failure that names the field. */
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

/** An enum value by its documented spelling or its name in the contract, in an RPC by its number too. */
export function decodeEnum(
  field: DescField,
  desc: DescEnum,
  value: unknown,
  source: JsonSource,
  pointer: string,
): number {
  const { names, read, byName, numbers } = enumSpellings(desc);
  const spelled = typeof value === "string" ? (read.get(value) ?? byName.get(value)) : undefined;
  const number = spelled ?? (source === "rpc" ? value : undefined);
  if (numbers.has(number as number)) return number as number;
  throw failure(ErrorReason.INVALID_ENUM, `${field.name} must be one of ${names.join(", ")}.`, pointer);
}

/** The refusal of a value whose type is not the field's. */
export function wrongType(field: DescField, wanted: string, pointer: string): Failure {
  const reason = hasOption(field, wrong_type) ? getOption(field, wrong_type) : ErrorReason.INVALID_TYPE;
  return failure(reason, `${field.name} must be ${wanted}.`, pointer);
}

/** How a path or query writes a number. */
const DECIMAL = /^-?\d+(\.\d+)?$/;
/** How a string in an RPC's JSON may write one. */
const JSON_NUMBER = /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/;

function numberFrom(value: unknown, source: JsonSource): number {
  if (typeof value === "number") return value;
  const form = source === "text" ? DECIMAL : JSON_NUMBER;
  return source !== "body" && typeof value === "string" && form.test(value) ? Number(value) : Number.NaN;
}
