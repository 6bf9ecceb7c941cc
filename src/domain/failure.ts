import type { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";

/** Why something was refused, as a value: a reason of the catalogue, a sentence for a person that ends with what to do, the field. */
export type Refusal = {
  readonly reason: ErrorReason;
  readonly detail: string;
  /** The field at fault as a JSON pointer, "/to"; undefined when none is. */
  readonly pointer?: string | undefined;
  /** Milliseconds after which a retry makes sense; undefined when retrying alone does not help. */
  readonly retryAfterMs?: number | undefined;
  /** The caller's own limit that was reached: calls a second, and how many are left. */
  readonly rateLimit?: { readonly limit: number; readonly remaining: number } | undefined;
};

/** The one thing that is thrown on purpose: a refusal on its way out. Anything else that is thrown is a fault of ours. */
export class Failure extends Error {
  readonly refusal: Refusal;

  constructor(refusal: Refusal) {
    super(refusal.detail);
    this.name = "Failure";
    this.refusal = refusal;
  }
}

/** A failure to be thrown. */
export function failure(reason: ErrorReason, detail: string, pointer?: string): Failure {
  return new Failure({ reason, detail, pointer });
}
