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
import { sendError } from "./message-form.ts";

/** Texts of one stream that are being accepted at a time; beyond it nothing more is read, so that a fast client waits. */
const OUTSTANDING = 64;

/** Sends texts as they come and yields each result in the order of the texts, as soon as it is known. */
export async function* streamResults(
  requests: AsyncIterable<StreamMessagesRequest>,
  call: Call,
  send: (request: SendMessageRequest) => Promise<{ readonly answer: SendMessageResponse }>,
): AsyncIterable<StreamMessagesResponse> {
  const iterator = requests[Symbol.asyncIterator]();
  const outstanding: Promise<StreamMessagesResponse>[] = [];
  let next: Promise<IteratorResult<StreamMessagesRequest>> | undefined = handled(iterator.next());
  while (next !== undefined || outstanding.length > 0) {
    const mayRead = next !== undefined && outstanding.length < OUTSTANDING;
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
}

/** The promise, which may fail after the stream has ended: that must not end the process. */
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
    // Anything that is not a refusal concerns the server, and ends the stream.
    if (!(error instanceof Failure)) throw error;
    return create(StreamMessagesResponseSchema, { outcome: { case: "error", value: sendError(error.refusal) } });
  }
}
