import type { Message } from "../gen/numberpool/v1/message_pb.ts";
import type { SendError } from "../gen/numberpool/v1/pool_send_service_pb.ts";

/** What became of a text, as the RPCs tell it: a message or an error, never both. */
type Told = {
  readonly outcome:
    | { readonly case: "message"; readonly value: Message }
    | { readonly case: "error"; readonly value: SendError }
    | { readonly case: undefined };
};

/** The message or the error of a result. */
export function either(result: Told | undefined): { readonly message?: Message; readonly error?: SendError } {
  if (result?.outcome.case === "message") return { message: result.outcome.value };
  return result?.outcome.case === "error" ? { error: result.outcome.value } : {};
}
