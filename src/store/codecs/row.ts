import type { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import type { MessageError } from "../../domain/message.ts";

/** A row as a driver gives it: what the stores have in common, flags being 0 and 1 or false and true. */
export type Row = Record<string, unknown>;

/** A value that may be null in the database and is undefined here. */
export function optional<Value>(value: unknown): Value | undefined {
  return value === null ? undefined : (value as Value);
}

/** An error as two columns hold it; undefined: none. */
export function errorFrom(reason: unknown, detail: unknown): MessageError | undefined {
  if (reason === null) return undefined;
  return { reason: reason as ErrorReason, detail: (detail as string | null) ?? "" };
}
