import { create } from "@bufbuild/protobuf";
import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import {
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
import { Failure, failure } from "../domain/failure.ts";
import { LIMITS } from "../domain/limits.ts";
import type { MessageStatus } from "../domain/message.ts";
import type { Outcome } from "../engine/accept/decide-item.ts";
import { type Call, type Methods, REPLAYED_HEADER } from "./call.ts";
import { toProtoMessage, toProtoOutcome } from "./message-form.ts";
import { messageQueries } from "./message-queries.ts";
import type { ServiceParts } from "./parts.ts";
import { sendUnit } from "./send-unit.ts";
import { streamResults } from "./stream-results.ts";
import { unknownMessage } from "./unknown.ts";

/** The methods of PoolSendService. */
export function poolSendService(parts: ServiceParts): Methods<typeof PoolSendService> {
  const { store, pools } = parts;

  const respond = async <Answer>(call: Call, sent: Promise<{ answer: Answer; isReplayed: boolean }>) => {
    const { answer, isReplayed } = await sent;
    if (isReplayed) call.responseHeaders.set(REPLAYED_HEADER, "true");
    return answer;
  };

  const sendMessage = (call: Call, request: SendMessageRequest) => {
    const forms = { request: SendMessageRequestSchema, response: SendMessageResponseSchema };
    return sendUnit(parts, call, "SendMessage", forms, request, [request], (outcomes) =>
      create(SendMessageResponseSchema, { data: singleOf(outcomes) }),
    );
  };

  const singleOf = (outcomes: readonly Outcome[]) => {
    const outcome = outcomes[0] as Outcome;
    if ("refusal" in outcome) throw new Failure(outcome.refusal);
    return toProtoMessage(outcome.message);
  };

  return {
    sendMessage: (request, call) => respond(call, sendMessage(call, request)),

    sendMessages: (request, call) => {
      checkBatch(request.messages);
      const forms = { request: SendMessagesRequestSchema, response: SendMessagesResponseSchema };
      const sent = sendUnit(parts, call, "SendMessages", forms, request, request.messages, (outcomes) =>
        create(SendMessagesResponseSchema, {
          data: outcomes.map((outcome) => create(SendResultSchema, { outcome: toProtoOutcome(outcome) })),
        }),
      );
      return respond(call, sent);
    },

    streamMessages: (requests, call) => streamResults(requests, call, (request) => sendMessage(call, request)),

    createMessage: (request, call) => {
      const forms = { request: CreateMessageRequestSchema, response: CreateMessageResponseSchema };
      const sent = sendUnit(parts, call, "CreateMessage", forms, request, [request], (outcomes) =>
        create(CreateMessageResponseSchema, { data: singleOf(outcomes) }),
      );
      return respond(call, sent);
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

function notCancellable(status: MessageStatus): Failure {
  return failure(
    ErrorReason.NOT_CANCELLABLE,
    `The message is ${status}; only scheduled and queued messages can be cancelled.`,
  );
}

function checkBatch(messages: readonly SendMessageRequest[]): void {
  if (messages.length === 0) {
    throw failure(ErrorReason.MISSING_PARAMETER, "messages is required.", "/messages");
  }
  if (messages.length > LIMITS.batchItems) {
    throw failure(
      ErrorReason.INVALID_LENGTH,
      `messages must have 1 to ${LIMITS.batchItems} items; split the batch.`,
      "/messages",
    );
  }
}
