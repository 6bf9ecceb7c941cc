import { type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import { type SendMessageRequest, SendMessageRequestSchema } from "../../gen/numberpool/v1/pool_send_service_pb.ts";
import { failure, type Refusal } from "../domain/failure.ts";
import { LIMITS } from "../domain/limits.ts";
import type { UnitOutcome } from "../engine/accept/decide-group.ts";
import type { Outcome } from "../engine/accept/decide-item.ts";
import type { Call } from "./call.ts";
import type { ServiceParts } from "./parts.ts";
import { hashOfRequest } from "./request-hash.ts";
import { itemOf, type SendRequest } from "./send-item.ts";

/** The dependencies of a send. */
export type SendParts = Pick<ServiceParts, "store" | "pools" | "clock" | "engine">;

/**
 * Sends the messages of one call, a batch as one unit, and returns the response. `isReplayed`: it
 * is the response to an earlier equal call.
 */
export async function sendUnit<Request extends DescMessage, Response extends DescMessage>(
  parts: SendParts,
  call: Call,
  method: string,
  forms: { readonly request: Request; readonly response: Response },
  request: MessageShape<Request> & { requestId?: string | undefined },
  requests: readonly SendRequest[],
  answerOf: (outcomes: readonly Outcome[]) => MessageShape<Response>,
): Promise<{ readonly answer: MessageShape<Response>; readonly isReplayed: boolean }> {
  const { accept } = parts.engine;
  const key = keyOf(call, request.requestId);
  const isBatch = requests[0] !== (request as unknown);
  const refusals = isBatch ? requests.map((one) => refusalOfBatchItem(call, one as SendMessageRequest)) : [];
  const items = await Promise.all(
    requests.map((one, index) => {
      const refusal = refusals[index];
      return refusal === undefined ? itemOf(parts, call, one) : { refusal };
    }),
  );
  // Only the official client retries without a key, and it sends no batches.
  const attempt = key === undefined && !isBatch ? call.attempt : undefined;
  const startMs = performance.now();
  // After its timeout the client may already have sent a retry to another process.
  const timedOut = () =>
    attempt !== undefined && performance.now() - startMs >= attempt.timeoutMs ? CLIENT_TIMED_OUT : undefined;
  const outcome = await accept({
    organizationId: call.organizationId,
    method,
    items,
    key,
    requestHash:
      key !== undefined || attempt !== undefined
        ? hashOfRequest(
            forms.request,
            request,
            (key === undefined ? `${call.organizationId} ${call.apiKeyId} ${method} ` : "") + JSON.stringify(refusals),
          )
        : undefined,
    attempt,
    abandoned: () => call.abandoned() ?? timedOut(),
    answer: (outcomes) => toBinary(forms.response, answerOf(outcomes)),
  });
  return { answer: answerTo(outcome, forms.response, answerOf), isReplayed: outcome.kind !== "decided" };
}

const CLIENT_TIMED_OUT: Refusal = {
  reason: ErrorReason.TIMEOUT,
  detail: "The client's timeout passed before the send was decided; nothing was accepted. Set a longer timeout.",
};

function answerTo<Response extends DescMessage>(
  outcome: UnitOutcome,
  response: Response,
  answerOf: (outcomes: readonly Outcome[]) => MessageShape<Response>,
): MessageShape<Response> {
  switch (outcome.kind) {
    case "decided":
      return answerOf(outcome.outcomes);
    case "replayed":
      return fromBinary(response, outcome.answer);
    case "repeated":
      return answerOf([{ message: outcome.message }]);
  }
}

/** The refusal of a batch item that breaks the contract. The item's own result reports it. */
function refusalOfBatchItem(call: Call, item: SendMessageRequest): Refusal | undefined {
  const refusal = call.check(SendMessageRequestSchema, item);
  if (refusal !== undefined || item.requestId === undefined) return refusal;
  return {
    reason: ErrorReason.BAD_REQUEST,
    detail: "A batch item must not have a request_id; set the request_id of the batch.",
    pointer: "/request_id",
  };
}

/** The idempotency key of a send, from its header or request. If both have one, they must agree. */
function keyOf(call: Call, requestId: string | undefined): string | undefined {
  const header = call.idempotencyKey;
  if (header !== undefined && requestId !== undefined && header !== requestId) {
    throw failure(
      ErrorReason.IDEMPOTENCY_KEY_REUSED,
      "Idempotency-Key and request_id differ; send only one of them.",
      "/request_id",
    );
  }
  const key = header ?? requestId;
  if (key === undefined || (key.length <= LIMITS.idempotencyKey && /^[\x21-\x7e]+$/.test(key))) return key;
  throw failure(
    ErrorReason.BAD_REQUEST,
    `An idempotency key must have 1 to ${LIMITS.idempotencyKey} visible ASCII characters.`,
    header === undefined ? "/request_id" : undefined,
  );
}
