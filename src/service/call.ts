import type { DescMessage, Message } from "@bufbuild/protobuf";
import { type ContextKey, createContextKey, type HandlerContext } from "@connectrpc/connect";
import type { ClientAttempt } from "../domain/client-attempt.ts";
import type { Refusal } from "../domain/failure.ts";

/** Who calls, and what the call's headers say that matters to a method. */
export type Call = {
  readonly organizationId: string;
  readonly apiKeyId: string;
  /** The header `Idempotency-Key`, unchecked; undefined when absent. */
  readonly idempotencyKey: string | undefined;
  /** On the JSON transport: which attempt of the official client's it is, which repeats sends without a key. */
  readonly attempt: ClientAttempt | undefined;
  /**
   * What is wrong with a message of a type by the contract alone. Requests of unary methods were checked; items of a batch and
   * requests of a stream are not, because each is refused by itself.
   */
  readonly check: (desc: DescMessage, message: Message) => Refusal | undefined;
  /** Why the caller no longer waits for the answer: its deadline passed, or it left. Undefined while it waits. */
  readonly abandoned: () => Refusal | undefined;
};

/** Where a transport leaves the call for the service methods. */
export const callKey: ContextKey<Call> = createContextKey<Call>(
  {
    organizationId: "",
    apiKeyId: "",
    idempotencyKey: undefined,
    attempt: undefined,
    check: () => undefined,
    abandoned: () => undefined,
  },
  { description: "the authenticated call" },
);

/** The header of an answer that repeats the first one. */
export const REPLAYED_HEADER = "idempotent-replayed";

/** The call of a handler's context. Only authenticated calls get as far as a handler. */
export function callOf(context: HandlerContext): Call {
  return context.values.get(callKey);
}
