import type { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";

/**
 * A refusal as a value: a reason of the catalogue, a sentence that ends with what to do, the field.
 */
export type Refusal = {
  readonly reason: ErrorReason;
  readonly detail: string;
  /** The field at fault as a JSON pointer, "/to"; undefined when no field is. */
  readonly pointer?: string | undefined;
  /** When to retry; undefined when a retry alone does not help. */
  readonly retryAfterMs?: number | undefined;
};

/** A thrown refusal. Every other thrown error is a bug. */
export class Failure extends Error {
  readonly refusal: Refusal;

  constructor(refusal: Refusal) {
    super(refusal.detail);
    this.name = "Failure";
    this.refusal = refusal;
  }
}

/** Makes a failure to throw. */
export function failure(reason: ErrorReason, detail: string, pointer?: string): Failure {
  return new Failure({ reason, detail, pointer });
}
