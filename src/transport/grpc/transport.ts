import { setImmediate } from "node:timers/promises";
import { type DescMessage, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import {
  type Deadline,
  type handleUnaryCall,
  Metadata,
  type MetadataValue,
  Server,
  type ServerDuplexStream,
  ServerInterceptingCall,
  type ServerInterceptor,
  ServerListenerBuilder,
  type ServiceDefinition,
  type UntypedHandleCall,
} from "@grpc/grpc-js";
import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import { Failure, failure, type Refusal } from "../../domain/failure.ts";
import type { Admit } from "../admission.ts";
import type { Caller } from "../authentication.ts";
import { CANCELLED, DEADLINE_PASSED, type Invoke, type Method } from "../invoke.ts";
import { TRANSPORT_LIMITS } from "../limits.ts";
import { createCallTimers } from "./call-timers.ts";
import { addDetails, checkHeaders, refuseUnknownMethods } from "./library-statuses.ts";
import { PUBLIC_PATHS } from "./public-services.ts";
import { statusOf } from "./status.ts";

/** A call, known by its headers. */
type Arrival = {
  readonly caller: Caller;
  /** The deadline by the monotonic clock; Infinity: none. */
  readonly deadlineMs: number;
};

type Arrivals = WeakMap<Metadata, Arrival>;

/** The parts of the gRPC port. */
export type GrpcTransportParts = {
  readonly invoke: Invoke;
  readonly admit: Admit;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
};

/** The gRPC port, not yet bound to an address: every method of the contract. */
export function createGrpcTransport({ invoke, admit, clock }: GrpcTransportParts): Server {
  const arrivals: Arrivals = new WeakMap();
  const methods = new Map(invoke.methods.map((method) => [method.path, method]));

  /** Authenticates a call by its headers; the body of an unauthenticated one stays unread. */
  const admitCall: ServerInterceptor = (definition, call) =>
    new ServerInterceptingCall(call, {
      start: (next) => {
        const isPublic = PUBLIC_PATHS.test(definition.path);
        addDetails(call);
        const timers = createCallTimers(call, definition, isPublic);
        const listener = new ServerListenerBuilder();
        listener.withOnReceiveMessage((message, pass) => {
          timers.onMessage();
          pass(message);
        });
        listener.withOnReceiveHalfClose((pass) => {
          timers.onHalfClose();
          // A reset by the client looks like the end of the requests; a read detects it.
          if (definition.requestStream) call.startRead();
          pass();
        });
        listener.withOnCancel(timers.onEnd);
        listener.withOnReceiveMetadata((metadata, pass) => {
          if (isPublic) return pass(metadata);
          const admitted = admit(onlyOne(metadata.get("authorization")));
          if ("caller" in admitted) {
            arrivals.set(metadata, { caller: admitted.caller, deadlineMs: monotonic(call.getDeadline(), clock()) });
            pass(metadata);
            return;
          }
          invoke.recordRefusal("grpc", methods.get(definition.path), admitted.refusal);
          call.sendStatus(statusOf(admitted.refusal));
        });
        next(listener.build());
      },
    });

  const server = new Server({
    interceptors: [admitCall],
    "grpc.max_receive_message_length": TRANSPORT_LIMITS.requestBytes,
    "grpc.max_send_message_length": -1,
    "grpc.max_concurrent_streams": TRANSPORT_LIMITS.streams,
    // A dead peer, or one in the middle of a header block, cannot answer a ping.
    "grpc.keepalive_time_ms": TRANSPORT_LIMITS.pingIntervalMs,
    "grpc.keepalive_timeout_ms": TRANSPORT_LIMITS.pingTimeoutMs,
    "grpc.max_connection_idle_ms": TRANSPORT_LIMITS.connectionIdleMs,
    "grpc.max_connection_age_ms": TRANSPORT_LIMITS.connectionAgeMs,
    "grpc.max_connection_age_grace_ms": TRANSPORT_LIMITS.connectionAgeGraceMs,
  });
  refuseUnknownMethods(server, (refusal) => invoke.recordRefusal("grpc", undefined, refusal));
  const unary = invoke.methods.filter(({ desc }) => desc.methodKind === "unary");
  checkHeaders(server, new Set(unary.map(({ path }) => path)));
  for (const service of new Set(invoke.methods.map((method) => method.service))) {
    const definition: Record<string, unknown> = {};
    const handlers: Record<string, UntypedHandleCall> = {};
    for (const method of invoke.methods.filter((each) => each.service === service)) {
      definition[method.desc.localName] = {
        path: method.path,
        requestStream: method.desc.methodKind === "client_streaming" || method.desc.methodKind === "bidi_streaming",
        responseStream: method.desc.methodKind === "server_streaming" || method.desc.methodKind === "bidi_streaming",
        // `invoke` decodes the bytes: grpc-js answers INTERNAL when a deserializer throws.
        requestDeserialize: (bytes: Buffer) => bytes,
        requestSerialize: (bytes: Buffer) => bytes,
        responseDeserialize: (bytes: Buffer) => bytes,
        responseSerialize: (bytes: Buffer) => bytes,
      };
      handlers[method.desc.localName] =
        method.desc.methodKind === "unary"
          ? unaryHandler(method, invoke, arrivals)
          : streamHandler(method, invoke, arrivals);
    }
    server.addService(definition as ServiceDefinition, handlers);
  }
  return server;
}

function unaryHandler(
  method: Method,
  { invoke, unexpected }: Invoke,
  arrivals: Arrivals,
): handleUnaryCall<Buffer, Buffer> {
  const { output } = method.desc;
  const handle: handleUnaryCall<Buffer, Buffer> = async (call, callback) => {
    const { caller, deadlineMs } = arrivals.get(call.metadata) as Arrival;
    const outcome = await invoke(method, {
      transport: "grpc",
      caller,
      abandoned: () => abandoned(call, deadlineMs),
      header: (name) => call.metadata.get(name)[0]?.toString(),
      bytes: call.request.length,
      decode: () => decode(method, call.request),
    });
    if ("refusal" in outcome) {
      callback(statusOf(outcome.refusal));
      return;
    }
    const response = encode(output, outcome.response);
    if (outcome.headers !== undefined)
      call.sendMetadata(Metadata.fromHttp2Headers(Object.fromEntries(outcome.headers)));
    callback(null, response);
  };
  return guarded(handle, (error, _call, callback) => callback(statusOf(unexpected(method, error))));
}

/** The value of a header; undefined when there is none or more than one. */
function onlyOne(values: readonly MetadataValue[]): string | undefined {
  return values.length === 1 ? values[0]?.toString() : undefined;
}

/** The handler with a bug in it ending its call, not the process. */
function guarded<Args extends readonly unknown[]>(
  handle: (...args: Args) => unknown,
  onFault: (error: unknown, ...args: Args) => void,
): (...args: Args) => void {
  return (...args) => {
    Promise.resolve(handle(...args)).catch((error) => onFault(error, ...args));
  };
}

/** A streaming handler: it reads requests only as fast as the client reads responses. */
function streamHandler(method: Method, { stream, unexpected }: Invoke, arrivals: Arrivals): UntypedHandleCall {
  const { output } = method.desc;
  const handle = async (call: ServerDuplexStream<Buffer, Buffer>) => {
    const { caller, deadlineMs } = arrivals.get(call.metadata) as Arrival;
    const isOneRequest = method.desc.methodKind === "server_streaming";
    const received = isOneRequest
      ? [(call as unknown as { request: Buffer }).request]
      : // An undecodable request ends the reading, but the call must stay open for the refusal.
        call.iterator({ destroyOnReturn: false });
    const refusal = await stream(method, {
      transport: "grpc",
      caller,
      abandoned: () => abandoned(call, deadlineMs),
      header: (name) => call.metadata.get(name)[0]?.toString(),
      requests: decodeAll(method, received, () => abandoned(call, deadlineMs)),
      write: async (response) => {
        if (call.destroyed) throw new Failure(abandoned(call, deadlineMs) ?? CANCELLED);
        if (!call.write(encode(output, response))) {
          await drained(call, () => abandoned(call, deadlineMs) ?? CANCELLED);
        }
      },
    });
    if (refusal === undefined) call.end();
    else call.emit("error", statusOf(refusal));
  };
  const onFault = (error: unknown, call: ServerDuplexStream<Buffer, Buffer>) =>
    call.emit("error", statusOf(unexpected(method, error)));
  return guarded(handle, onFault) as unknown as UntypedHandleCall;
}

async function* decodeAll(
  method: Method,
  received: AsyncIterable<Buffer> | Iterable<Buffer>,
  abandoned: () => Refusal | undefined,
): AsyncIterable<Message> {
  try {
    for await (const bytes of received) yield decode(method, bytes);
    // grpc-js reports a cancellation after the end of the requests.
    await setImmediate();
    const refusal = abandoned();
    if (refusal !== undefined) throw new Failure(refusal);
  } catch (error) {
    // grpc-js destroys a cancelled stream with an error that looks like a bug.
    const refusal = error instanceof Failure ? undefined : abandoned();
    throw refusal === undefined ? error : new Failure(refusal);
  }
}

/** Resolves when a call accepts responses again; rejects with the refusal when it ends before. */
function drained(call: ServerDuplexStream<Buffer, Buffer>, refusal: () => Refusal): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = () => {
      call.off("drain", settle);
      call.off("close", settle);
      if (call.destroyed) reject(new Failure(refusal()));
      else resolve();
    };
    call.on("drain", settle);
    call.on("close", settle);
  });
}

/**
 * Why the client of a call no longer waits. A timer of grpc-js may fire late, so this checks the
 * deadline.
 */
function abandoned(call: { readonly cancelled: boolean }, deadlineMs: number): Refusal | undefined {
  if (performance.now() >= deadlineMs) return DEADLINE_PASSED;
  return call.cancelled ? CANCELLED : undefined;
}

/** A deadline in milliseconds since 1970 as monotonic milliseconds. */
function monotonic(deadline: Deadline, now: number): number {
  return performance.now() + (Number(deadline) - now);
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
