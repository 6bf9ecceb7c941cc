import type { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import type { MessageError } from "../../domain/message.ts";

/** A row as both drivers give it; flags are 0 and 1, or false and true. */
export type Row = Record<string, unknown>;

/** A value that is undefined where the column is null. */
export function optional<Value>(value: unknown): Value | undefined {
  return value === null ? undefined : (value as Value);
}

/** An error from its two columns; undefined when they are empty. */
export function errorFrom(reason: unknown, detail: unknown): MessageError | undefined {
  if (reason === null) return undefined;
  return { reason: reason as ErrorReason, detail: (detail as string | null) ?? "" };
}
