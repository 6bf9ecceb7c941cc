import { once } from "node:events";
import { type DescMessage, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import {
  type handleUnaryCall,
  Metadata,
  Server,
  type ServerDuplexStream,
  ServerInterceptingCall,
  type ServerInterceptor,
  ServerListenerBuilder,
  type ServiceDefinition,
  type UntypedHandleCall,
} from "@grpc/grpc-js";
import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import { failure, type Refusal } from "../../domain/failure.ts";
import { LIMITS } from "../../domain/limits.ts";
import type { Admit } from "../admission.ts";
import type { Caller } from "../authentication.ts";
import type { Invoke, Method } from "../invoke.ts";
import { PUBLIC_PATHS } from "./public-services.ts";
import { statusOf } from "./status.ts";

const TOO_SLOW: Refusal = { reason: ErrorReason.TIMEOUT, detail: "The request did not arrive in time." };

/** What the gRPC port is made from. */
export type GrpcDoorParts = { readonly invoke: Invoke; readonly admit: Admit };

/** The gRPC port: every method of the contract. Not yet bound to an address. */
export function createGrpcDoor({ invoke, admit }: GrpcDoorParts): Server {
  const callers = new WeakMap<Metadata, Caller>();
  const methods = new Map(invoke.methods.map((method) => [method.path, method]));

  /** Tells who calls as soon as the headers are there; the body of others is not read. */
  const admitCall: ServerInterceptor = (definition, call) =>
    new ServerInterceptingCall(call, {
      start: (next) => {
        let late: NodeJS.Timeout | undefined;
        const listener = new ServerListenerBuilder();
        listener.withOnReceiveHalfClose((pass) => {
          clearTimeout(late);
          pass();
        });
        listener.withOnCancel(() => clearTimeout(late));
        listener.withOnReceiveMetadata((metadata, pass) => {
          if (PUBLIC_PATHS.test(definition.path)) return pass(metadata);
          const admitted = admit(metadata.get("authorization")[0]?.toString());
          if ("caller" in admitted) {
            callers.set(metadata, admitted.caller);
            if (!definition.requestStream) {
              late = setTimeout(() => call.sendStatus(statusOf(TOO_SLOW)), LIMITS.bodyTime);
              late.unref();
            }
            pass(metadata);
            return;
          }
          invoke.note("grpc", methods.get(definition.path), admitted.refusal);
          call.sendStatus(statusOf(admitted.refusal));
        });
        next(listener.build());
      },
    });

  const server = new Server({
    interceptors: [admitCall],
    "grpc.max_receive_message_length": LIMITS.requestBytes,
    "grpc.max_send_message_length": -1,
    "grpc.max_concurrent_streams": LIMITS.streams,
    "grpc.max_connection_idle_ms": LIMITS.connectionIdle,
    "grpc.max_connection_age_ms": LIMITS.connectionAge,
    "grpc.max_connection_age_grace_ms": LIMITS.connectionAgeGrace,
  });
  for (const service of new Set(invoke.methods.map((method) => method.service))) {
    const definition: Record<string, unknown> = {};
    const handlers: Record<string, UntypedHandleCall> = {};
    for (const method of invoke.methods.filter((each) => each.service === service)) {
      definition[method.desc.localName] = {
        path: method.path,
        requestStream: method.desc.methodKind === "client_streaming" || method.desc.methodKind === "bidi_streaming",
        responseStream: method.desc.methodKind === "server_streaming" || method.desc.methodKind === "bidi_streaming",
        // Bytes pass through, and `invoke` decodes them: a deserializer that throws is INTERNAL before our code runs.
        requestDeserialize: (bytes: Buffer) => bytes,
        requestSerialize: (bytes: Buffer) => bytes,
        responseDeserialize: (bytes: Buffer) => bytes,
        responseSerialize: (bytes: Buffer) => bytes,
      };
      handlers[method.desc.localName] =
        method.desc.methodKind === "unary"
          ? unaryHandler(method, invoke, callers)
          : streamHandler(method, invoke, callers);
    }
    server.addService(definition as ServiceDefinition, handlers);
  }
  return server;
}

function unaryHandler(
  method: Method,
  { invoke, fault }: Invoke,
  callers: WeakMap<Metadata, Caller>,
): handleUnaryCall<Buffer, Buffer> {
  const { output } = method.desc;
  const handle: handleUnaryCall<Buffer, Buffer> = async (call, callback) => {
    const outcome = await invoke(method, {
      door: "grpc",
      caller: callers.get(call.metadata) as Caller,
      header: (name) => call.metadata.get(name)[0]?.toString(),
      bytes: call.request.length,
      decode: () => decode(method, call.request),
    });
    if ("refusal" in outcome) {
      callback(statusOf(outcome.refusal));
      return;
    }
    const answer = encode(output, outcome.answer);
    if (outcome.headers !== undefined)
      call.sendMetadata(Metadata.fromHttp2Headers(Object.fromEntries(outcome.headers)));
    callback(null, answer);
  };
  return guarded(handle, (error, _call, callback) => callback(statusOf(fault(method, error))));
}

/** A fault in a handler must end its call, not the process. */
function guarded<Args extends readonly unknown[]>(
  handle: (...args: Args) => unknown,
  onFault: (error: unknown, ...args: Args) => void,
): (...args: Args) => void {
  return (...args) => {
    Promise.resolve(handle(...args)).catch((error) => onFault(error, ...args));
  };
}

/** A stream, in whichever direction: requests are read as fast as answers are taken. */
function streamHandler(
  method: Method,
  { stream, fault }: Invoke,
  callers: WeakMap<Metadata, Caller>,
): UntypedHandleCall {
  const { output } = method.desc;
  const handle = async (call: ServerDuplexStream<Buffer, Buffer>) => {
    const isOneRequest = method.desc.methodKind === "server_streaming";
    const received = isOneRequest
      ? [(call as unknown as { request: Buffer }).request]
      : // A request that cannot be decoded ends the reading; the call must live on to be told so.
        call.iterator({ destroyOnReturn: false });
    const refusal = await stream(method, {
      door: "grpc",
      caller: callers.get(call.metadata) as Caller,
      header: (name) => call.metadata.get(name)[0]?.toString(),
      requests: decodeAll(method, received),
      write: async (answer) => {
        if (!call.write(encode(output, answer))) await once(call, "drain");
      },
    });
    if (refusal === undefined) call.end();
    else call.emit("error", statusOf(refusal));
  };
  const onFault = (error: unknown, call: ServerDuplexStream<Buffer, Buffer>) =>
    call.emit("error", statusOf(fault(method, error)));
  return guarded(handle, onFault) as unknown as UntypedHandleCall;
}

async function* decodeAll(method: Method, received: AsyncIterable<Buffer> | Iterable<Buffer>): AsyncIterable<Message> {
  for await (const bytes of received) yield decode(method, bytes);
}

/** grpc-js copies what it sends with a method that only buffers have. */
function encode(desc: DescMessage, answer: Message): Buffer {
  const bytes = toBinary(desc, answer);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function decode(method: Method, bytes: Buffer): Message {
  const { input } = method.desc;
  try {
    return fromBinary(input, bytes);
  } catch {
    // The library's own words quote the caller's bytes.
    const detail = `The bytes are not a ${input.typeName}; rebuild the client from our protos.`;
    throw failure(ErrorReason.MALFORMED_MESSAGE, detail);
  }
}
