import { setImmediate } from "node:timers/promises";
import { type DescMessage, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import { type handleUnaryCall, Metadata, type ServerDuplexStream, type UntypedHandleCall } from "@grpc/grpc-js";
import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import { Failure, failure, type Refusal } from "../../domain/failure.ts";
import { abandonedBecause, CANCELLED, type TransportCall } from "../call.ts";
import type { Invoke } from "../invoke.ts";
import type { Method } from "../method.ts";
import type { Arrival, Arrivals } from "./arrival.ts";
import { statusOf } from "./status.ts";

/** grpc-js's handler of a unary method. */
export function unaryHandler(method: Method, invoke: Invoke, arrivals: Arrivals): handleUnaryCall<Buffer, Buffer> {
  const { output } = method.desc;
  const handle: handleUnaryCall<Buffer, Buffer> = async (call, callback) => {
    const outcome = await invoke.unary(method, {
      ...transportCall(call, arrivals),
      bytes: call.request.length,
      decode: () => decode(method, call.request),
    });
    if ("refusal" in outcome) {
      callback(statusOf(outcome.refusal));
      return;
    }
    const response = encode(output, outcome.response);
    if (outcome.headers.size > 0) call.sendMetadata(Metadata.fromHttp2Headers(Object.fromEntries(outcome.headers)));
    callback(null, response);
  };
  return guarded(handle, (error, _call, callback) => callback(statusOf(invoke.unexpected(method, error))));
}

/** grpc-js's handler of a streaming method; it reads only as fast as the client reads responses. */
export function streamHandler(method: Method, invoke: Invoke, arrivals: Arrivals): UntypedHandleCall {
  const { output } = method.desc;
  const handle = async (call: ServerDuplexStream<Buffer, Buffer>) => {
    const arrived = transportCall(call, arrivals);
    const isOneRequest = method.desc.methodKind === "server_streaming";
    const received = isOneRequest
      ? [(call as unknown as { request: Buffer }).request]
      : // An undecodable request ends the reading, but the call must stay open for the refusal.
        call.iterator({ destroyOnReturn: false });
    const refusal = await invoke.stream(method, {
      ...arrived,
      requests: decodeAll(method, received, arrived),
      write: async (response) => {
        if (call.destroyed) throw new Failure(abandonedBecause(arrived) ?? CANCELLED);
        if (!call.write(encode(output, response))) await drained(call, arrived);
      },
    });
    if (refusal === undefined) call.end();
    else call.emit("error", statusOf(refusal));
  };
  const onError = (error: unknown, call: ServerDuplexStream<Buffer, Buffer>) =>
    call.emit("error", statusOf(invoke.unexpected(method, error)));
  return guarded(handle, onError) as unknown as UntypedHandleCall;
}

/** What both kinds of calls share in grpc-js. */
type LibraryCall = {
  readonly metadata: Metadata;
  readonly cancelled: boolean;
  readonly once: (event: "cancelled", listener: () => void) => unknown;
};

function transportCall(call: LibraryCall, arrivals: Arrivals): TransportCall {
  const { caller, deadlineMs } = arrivals.get(call.metadata) as Arrival;
  return {
    transport: "grpc",
    caller,
    deadlineMs,
    header: (name) => call.metadata.get(name)[0]?.toString(),
    isCancelled: () => call.cancelled,
    onCancelled: (listener) => call.once("cancelled", listener),
  };
}

/** A handler whose unexpected errors end its call, not the process. */
function guarded<Args extends readonly unknown[]>(
  handle: (...args: Args) => unknown,
  onError: (error: unknown, ...args: Args) => void,
): (...args: Args) => void {
  return (...args) => {
    Promise.resolve(handle(...args)).catch((error) => onError(error, ...args));
  };
}

async function* decodeAll(
  method: Method,
  received: AsyncIterable<Buffer> | Iterable<Buffer>,
  arrived: TransportCall,
): AsyncIterable<Message> {
  try {
    for await (const bytes of received) yield decode(method, bytes);
    // grpc-js reports a cancellation after the end of the requests.
    await setImmediate();
    const refusal = abandonedBecause(arrived);
    if (refusal !== undefined) throw new Failure(refusal);
  } catch (error) {
    // grpc-js destroys a cancelled stream with an error that looks like a bug.
    const refusal: Refusal | undefined = error instanceof Failure ? undefined : abandonedBecause(arrived);
    throw refusal === undefined ? error : new Failure(refusal);
  }
}

/** Resolves when a call accepts responses again; rejects with the refusal when it ends before. */
function drained(call: ServerDuplexStream<Buffer, Buffer>, arrived: TransportCall): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = () => {
      call.off("drain", settle);
      call.off("close", settle);
      if (call.destroyed) reject(new Failure(abandonedBecause(arrived) ?? CANCELLED));
      else resolve();
    };
    call.on("drain", settle);
    call.on("close", settle);
  });
}

/** A Buffer, because grpc-js copies it by a method that a Uint8Array lacks. */
function encode(desc: DescMessage, response: Message): Buffer {
  const bytes = toBinary(desc, response);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function decode(method: Method, bytes: Buffer): Message {
  const { input } = method.desc;
  try {
    return fromBinary(input, bytes);
  } catch {
    // The parser's error text quotes the caller's bytes, which must not reach a log.
    const detail = `The message is not a valid ${input.typeName}; regenerate the client from this server's protos.`;
    throw failure(ErrorReason.MALFORMED_MESSAGE, detail);
  }
}
