import { create } from "@bufbuild/protobuf";
import {
  type SendMessageRequest,
  SendMessageRequestSchema,
  type SendMessageResponse,
  type StreamMessagesRequest,
  StreamMessagesRequestSchema,
  type StreamMessagesResponse,
  StreamMessagesResponseSchema,
} from "../../gen/numberpool/v1/pool_send_service_pb.ts";
import { Failure } from "../domain/failure.ts";
import type { Call } from "./call.ts";
import { toProtoSendError } from "./message-form.ts";

/** Requests of one stream in progress at a time. At the limit no more are read (backpressure). */
const MAX_OUTSTANDING = 64;

/** Sends requests as they arrive, and yields the results in the order of the requests. */
export async function* streamResults(
  requests: AsyncIterable<StreamMessagesRequest>,
  call: Call,
  send: (request: SendMessageRequest) => Promise<{ readonly answer: SendMessageResponse }>,
): AsyncIterable<StreamMessagesResponse> {
  const iterator = requests[Symbol.asyncIterator]();
  const outstanding: Promise<StreamMessagesResponse>[] = [];
  let next: Promise<IteratorResult<StreamMessagesRequest>> | undefined = handled(iterator.next());
  try {
    while (next !== undefined || outstanding.length > 0) {
      const mayRead = next !== undefined && outstanding.length < MAX_OUTSTANDING;
      const reads = mayRead ? [(next as Promise<unknown>).then(() => "request" as const)] : [];
      const answers = outstanding.slice(0, 1).map((first) => first.then(() => "answer" as const));
      if ((await Promise.race([...answers, ...reads])) === "answer") {
        yield (await outstanding.shift()) as StreamMessagesResponse;
        continue;
      }
      const request: IteratorResult<StreamMessagesRequest> = await (next as Promise<
        IteratorResult<StreamMessagesRequest>
      >);
      if (!request.done) outstanding.push(handled(resultOf(request.value, call, send)));
      next = request.done ? undefined : handled(iterator.next());
    }
  } finally {
    // A consumer that stops early leaves a request pending, so this is not awaited.
    if (iterator.return !== undefined) void handled(iterator.return());
  }
}

/** Marks a promise as handled: a rejection after the end of the stream must not end the process. */
function handled<Value>(promise: Promise<Value>): Promise<Value> {
  promise.catch(() => undefined);
  return promise;
}

async function resultOf(
  request: StreamMessagesRequest,
  call: Call,
  send: (request: SendMessageRequest) => Promise<{ readonly answer: SendMessageResponse }>,
): Promise<StreamMessagesResponse> {
  try {
    const message = request.message ?? create(SendMessageRequestSchema);
    const refusal = call.check(StreamMessagesRequestSchema, request) ?? call.check(SendMessageRequestSchema, message);
    if (refusal !== undefined) throw new Failure(refusal);
    const { answer } = await send(message);
    return create(StreamMessagesResponseSchema, {
      outcome: answer.data === undefined ? { case: undefined } : { case: "message", value: answer.data },
    });
  } catch (error) {
    // An unexpected error ends the stream; a refusal concerns one request.
    if (!(error instanceof Failure)) throw error;
    return create(StreamMessagesResponseSchema, { outcome: { case: "error", value: toProtoSendError(error.refusal) } });
  }
}
