import { create, type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import {
  type CreateMessageRequest,
  CreateMessageRequestSchema,
  CreateMessageResponseSchema,
  type PoolSendService,
  type SendMessageRequest,
  SendMessageRequestSchema,
  SendMessageResponseSchema,
  SendMessagesRequestSchema,
  SendMessagesResponseSchema,
  SendResultSchema,
} from "../../gen/numberpool/v1/pool_send_service_pb.ts";
import { Failure, failure, type Refusal } from "../domain/failure.ts";
import { LIMITS } from "../domain/limits.ts";
import type { MessageStatus } from "../domain/message.ts";
import { checkSend, checkSendAt } from "../domain/send.ts";
import { checkUrl } from "../domain/text.ts";
import { createAcceptance } from "../engine/accept/acceptance.ts";
import type { UnitOutcome } from "../engine/accept/decide-group.ts";
import type { Item, Outcome } from "../engine/accept/decide-item.ts";
import { type Call, type Methods, REPLAYED_HEADER } from "./call.ts";
import { outcomeOf, toProtoMessage } from "./message-form.ts";
import { messageQueries } from "./message-queries.ts";
import type { ServiceParts } from "./parts.ts";
import { hashOfRequest } from "./request-hash.ts";
import { streamResults } from "./stream-results.ts";
import { unknownMessage, unknownProfile } from "./unknown.ts";

/** The methods of PoolSendService. */
export function poolSendService(parts: ServiceParts): Methods<typeof PoolSendService> {
  const { store, pools } = parts;
  const acceptance = createAcceptance(parts);

  /** A text ready for its pool, or the refusal that its content earns. */
  const itemOf = async (call: Call, request: SendMessageRequest | CreateMessageRequest): Promise<Item> => {
    try {
      const { from, profileId } = await addressOf(call, request);
      const live =
        pools.peek(call.organizationId, profileId) ??
        (await pools.load(call.organizationId, profileId)) ??
        unknownProfile("/messaging_profile_id");
      const send = checkSend(live.profile, request);
      if ("reason" in send) return { refusal: send };
      const sendAt = request.sendAt === undefined ? undefined : timestampMs(request.sendAt);
      const misplaced = checkSendAt(sendAt, parts.clock());
      if (misplaced !== undefined) return { refusal: misplaced };
      return {
        live,
        send,
        from: from === undefined ? undefined : (live.idByPhoneNumber.get(from) ?? ""),
        sendAt,
        webhookUrl: checkUrl(request.webhookUrl, "webhook_url") || undefined,
        webhookFailoverUrl: checkUrl(request.webhookFailoverUrl, "webhook_failover_url") || undefined,
        useProfileWebhooks: request.useProfileWebhooks ?? true,
      };
    } catch (error) {
      if (error instanceof Failure) return { refusal: error.refusal };
      throw error;
    }
  };

  /** The profile that a send means, and the sender that it names. */
  const addressOf = async (
    call: Call,
    request: SendMessageRequest | CreateMessageRequest,
  ): Promise<{ from: string | undefined; profileId: string }> => {
    const profileId = request.messagingProfileId;
    if (request.$typeName === "numberpool.v1.SendMessageRequest") {
      if (request.from !== undefined) {
        throw failure(
          ErrorReason.BAD_REQUEST,
          "from is not taken here, because the pool picks the sender; leave it out, or create a message, which takes one.",
          "/from",
        );
      }
      if (profileId === undefined || profileId === "") {
        throw failure(ErrorReason.MISSING_PARAMETER, "messaging_profile_id is required.", "/messaging_profile_id");
      }
      return { from: undefined, profileId };
    }
    if (request.from === undefined || request.from === "") {
      if (profileId !== undefined && profileId !== "") return { from: undefined, profileId };
      throw failure(
        ErrorReason.MISSING_PARAMETER,
        "Name a sender in `from`, or a messaging_profile_id whose pool picks one.",
        "/from",
      );
    }
    const { from } = request;
    if (profileId !== undefined && profileId !== "") return { from, profileId };
    const known = from.startsWith("+") ? await store.getNumber(call.organizationId, from) : undefined;
    const own = known?.number.messagingProfileId;
    if (own !== undefined) return { from, profileId: own };
    throw failure(
      ErrorReason.INVALID_FROM,
      "`from` is not a number of any of your messaging profiles; register it and assign it to one.",
      "/from",
    );
  };

  const send = async <Request extends DescMessage, Response extends DescMessage>(
    call: Call,
    method: string,
    forms: { readonly request: Request; readonly response: Response },
    request: MessageShape<Request> & { requestId?: string | undefined },
    texts: readonly (SendMessageRequest | CreateMessageRequest)[],
    answerOf: (outcomes: readonly Outcome[]) => MessageShape<Response>,
  ): Promise<{ readonly answer: MessageShape<Response>; readonly isReplayed: boolean }> => {
    const key = keyOf(call, request.requestId);
    const isBatch = texts[0] !== (request as unknown);
    const refusals = isBatch ? texts.map((text) => refusalOfBatchItem(call, text as SendMessageRequest)) : [];
    const items = await Promise.all(
      texts.map((text, index) => {
        const refusal = refusals[index];
        return refusal === undefined ? itemOf(call, text) : { refusal };
      }),
    );
    // The official client, whose repeats carry no key, sends no batches.
    const attempt = key === undefined && !isBatch ? call.attempt : undefined;
    const begun = performance.now();
    // A client that has given up may have tried again already, elsewhere.
    const givenUp = () =>
      attempt !== undefined && performance.now() - begun >= attempt.timeoutMs ? CLIENT_GAVE_UP : undefined;
    const outcome = await acceptance.accept({
      organizationId: call.organizationId,
      method,
      items,
      key,
      requestHash:
        key !== undefined || attempt !== undefined
          ? hashOfRequest(
              forms.request,
              request,
              (key === undefined ? `${call.organizationId} ${call.apiKeyId} ${method} ` : "") +
                JSON.stringify(refusals),
            )
          : undefined,
      attempt,
      abandoned: () => call.abandoned() ?? givenUp(),
      answer: (outcomes) => toBinary(forms.response, answerOf(outcomes)),
    });
    return { answer: answerTo(outcome, forms.response, answerOf), isReplayed: outcome.kind !== "decided" };
  };

  const answerCall = async <Answer>(call: Call, sent: Promise<{ answer: Answer; isReplayed: boolean }>) => {
    const { answer, isReplayed } = await sent;
    if (isReplayed) call.responseHeaders.set(REPLAYED_HEADER, "true");
    return answer;
  };

  const sendMessage = (call: Call, request: SendMessageRequest) => {
    const forms = { request: SendMessageRequestSchema, response: SendMessageResponseSchema };
    return send(call, "SendMessage", forms, request, [request], (outcomes) =>
      create(SendMessageResponseSchema, { data: one(outcomes) }),
    );
  };

  const one = (outcomes: readonly Outcome[]) => {
    const outcome = outcomes[0] as Outcome;
    if ("refusal" in outcome) throw new Failure(outcome.refusal);
    return toProtoMessage(outcome.message);
  };

  return {
    sendMessage: (request, call) => answerCall(call, sendMessage(call, request)),

    sendMessages: (request, call) => {
      checkBatch(request.messages);
      const forms = { request: SendMessagesRequestSchema, response: SendMessagesResponseSchema };
      const sent = send(call, "SendMessages", forms, request, request.messages, (outcomes) =>
        create(SendMessagesResponseSchema, {
          data: outcomes.map((outcome) => create(SendResultSchema, { outcome: outcomeOf(outcome) })),
        }),
      );
      return answerCall(call, sent);
    },

    streamMessages: (requests, call) => streamResults(requests, call, (request) => sendMessage(call, request)),

    createMessage: (request, call) => {
      const forms = { request: CreateMessageRequestSchema, response: CreateMessageResponseSchema };
      const sent = send(call, "CreateMessage", forms, request, [request], (outcomes) =>
        create(CreateMessageResponseSchema, { data: one(outcomes) }),
      );
      return answerCall(call, sent);
    },

    cancelMessage: async (request, call) => {
      const cancelled = await store.cancelMessage(call.organizationId, request.id, parts.clock());
      if (cancelled.kind === "unknown") return unknownMessage();
      if (cancelled.kind === "cancelled") pools.book([cancelled.applied]);
      else if (cancelled.message.status !== "cancelled") throw notCancellable(cancelled.message.status);
      return { data: toProtoMessage(cancelled.message) };
    },

    ...messageQueries(parts),
  };
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

function notCancellable(status: MessageStatus): Failure {
  return failure(
    ErrorReason.NOT_CANCELLABLE,
    `The message is ${status}; only scheduled and queued messages can be cancelled.`,
  );
}

function checkBatch(messages: readonly SendMessageRequest[]): void {
  if (messages.length === 0) {
    throw failure(ErrorReason.MISSING_PARAMETER, "messages is required: the texts to send.", "/messages");
  }
  if (messages.length > LIMITS.batchItems) {
    throw failure(
      ErrorReason.INVALID_LENGTH,
      `messages must hold 1 to ${LIMITS.batchItems} texts; split a longer list.`,
      "/messages",
    );
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
