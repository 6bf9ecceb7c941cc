import { type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import { type SendMessageRequest, SendMessageRequestSchema } from "../../gen/numberpool/v1/pool_send_service_pb.ts";
import { failure, type Refusal } from "../domain/failure.ts";
import { LIMITS } from "../domain/limits.ts";
import type { Unit, UnitOutcome } from "../engine/accept/decide-group.ts";
import type { Outcome } from "../engine/accept/decide-item.ts";
import type { Call } from "./call.ts";
import type { ServiceParts } from "./parts.ts";
import { hashOfRequest } from "./request-hash.ts";
import { itemOf, type SendRequest } from "./send-item.ts";

/** What sends are accepted by. */
export type SendParts = Pick<ServiceParts, "store" | "pools" | "clock"> & {
  readonly accept: (unit: Unit) => Promise<UnitOutcome>;
};

/**
 * Sends the texts of one call, a batch as one unit, and gives the answer; `isReplayed`: it is the answer to an earlier equal call.
 */
export async function sendUnit<Request extends DescMessage, Response extends DescMessage>(
  parts: SendParts,
  call: Call,
  method: string,
  forms: { readonly request: Request; readonly response: Response },
  request: MessageShape<Request> & { requestId?: string | undefined },
  texts: readonly SendRequest[],
  answerOf: (outcomes: readonly Outcome[]) => MessageShape<Response>,
): Promise<{ readonly answer: MessageShape<Response>; readonly isReplayed: boolean }> {
  const { accept } = parts;
  const key = keyOf(call, request.requestId);
  const isBatch = texts[0] !== (request as unknown);
  const refusals = isBatch ? texts.map((text) => refusalOfBatchItem(call, text as SendMessageRequest)) : [];
  const items = await Promise.all(
    texts.map((text, index) => {
      const refusal = refusals[index];
      return refusal === undefined ? itemOf(parts, call, text) : { refusal };
    }),
  );
  // The official client, whose repeats carry no key, sends no batches.
  const attempt = key === undefined && !isBatch ? call.attempt : undefined;
  const begun = performance.now();
  // A client that has given up may have tried again already, elsewhere.
  const givenUp = () =>
    attempt !== undefined && performance.now() - begun >= attempt.timeoutMs ? CLIENT_GAVE_UP : undefined;
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
    abandoned: () => call.abandoned() ?? givenUp(),
    answer: (outcomes) => toBinary(forms.response, answerOf(outcomes)),
  });
  return { answer: answerTo(outcome, forms.response, answerOf), isReplayed: outcome.kind !== "decided" };
}

const CLIENT_GAVE_UP: Refusal = {
  reason: ErrorReason.TIMEOUT,
  detail: "The client's timeout passed before the send was carried out; nothing was accepted. Set a longer one.",
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

/** What is wrong with an item of a batch before anything is looked up; its own result tells it. */
function refusalOfBatchItem(call: Call, item: SendMessageRequest): Refusal | undefined {
  const refusal = call.check(SendMessageRequestSchema, item);
  if (refusal !== undefined || item.requestId === undefined) return refusal;
  return {
    reason: ErrorReason.BAD_REQUEST,
    detail: "An item of a batch has no request_id of its own; give one to the batch.",
    pointer: "/request_id",
  };
}

/** The idempotency key of a send: the header's or the request's. Both are given only if they are the same. */
function keyOf(call: Call, requestId: string | undefined): string | undefined {
  const header = call.idempotencyKey;
  if (header !== undefined && requestId !== undefined && header !== requestId) {
    throw failure(
      ErrorReason.IDEMPOTENCY_KEY_REUSED,
      "Idempotency-Key and request_id differ; give one of them.",
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
