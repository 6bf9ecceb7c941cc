import { fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type handleUnaryCall,
  Metadata,
  Server,
  ServerInterceptingCall,
  type ServerInterceptor,
  ServerListenerBuilder,
  type ServiceDefinition,
  type UntypedHandleCall,
} from "@grpc/grpc-js";
import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import { failure, type Refusal } from "../../domain/failure.ts";
import { LIMITS } from "../../domain/limits.ts";
import { type Authenticate, type Caller, UNAUTHENTICATED } from "../authentication.ts";
import type { Invoke, Method } from "../invoke.ts";
import { statusOf } from "./status.ts";

/** What the gRPC port is made from. */
export type GrpcDoorParts = { readonly invoke: Invoke; readonly authenticate: Authenticate };

/** The gRPC port: every method of the contract. Not yet bound to an address. */
export function createGrpcDoor({ invoke, authenticate }: GrpcDoorParts): Server {
  const callers = new WeakMap<Metadata, Caller>();
  const methods = new Map(invoke.methods.map((method) => [method.path, method]));

  /** Tells who calls as soon as the headers are there; the body of others is not read. */
  const authenticateCall: ServerInterceptor = (definition, call) =>
    new ServerInterceptingCall(call, {
      start: (next) => {
        const listener = new ServerListenerBuilder().withOnReceiveMetadata((metadata, pass) => {
          const caller = authenticate(metadata.get("authorization")[0]?.toString());
          if (caller !== undefined) {
            callers.set(metadata, caller);
            pass(metadata);
            return;
          }
          invoke.note("grpc", methods.get(definition.path), UNAUTHENTICATED);
          call.sendStatus(statusOf(UNAUTHENTICATED));
        });
        next(listener.build());
      },
    });

  const server = new Server({
    interceptors: [authenticateCall],
    "grpc.max_receive_message_length": LIMITS.requestBytes,
    "grpc.max_send_message_length": -1,
    "grpc.max_concurrent_streams": 100,
    // Clients that come and go leave sessions behind; a balancer spreads long-lived ones anew.
    "grpc.max_connection_idle_ms": 5 * 60_000,
    "grpc.max_connection_age_ms": 30 * 60_000,
    "grpc.max_connection_age_grace_ms": 30_000,
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
        method.desc.methodKind === "unary" ? unaryHandler(method, invoke, callers) : refuseStream(method, invoke);
    }
    server.addService(definition as ServiceDefinition, handlers);
  }
  return server;
}

function unaryHandler(
  method: Method,
  { invoke }: Invoke,
  callers: WeakMap<Metadata, Caller>,
): handleUnaryCall<Buffer, Buffer> {
  const { input, output } = method.desc;
  return async (call, callback) => {
    const outcome = await invoke(method, {
      door: "grpc",
      caller: callers.get(call.metadata) as Caller,
      header: (name) => call.metadata.get(name)[0]?.toString(),
      bytes: call.request.length,
      decode: () => {
        try {
          return fromBinary(input, call.request);
        } catch {
          // The library's own words quote the caller's bytes.
          throw failure(
            ErrorReason.MALFORMED_MESSAGE,
            `The bytes are not a ${input.typeName}; rebuild the client from our protos.`,
          );
        }
      },
    });
    if ("refusal" in outcome) {
      callback(statusOf(outcome.refusal));
      return;
    }
    if (outcome.headers !== undefined)
      call.sendMetadata(Metadata.fromHttp2Headers(Object.fromEntries(outcome.headers)));
    callback(null, toBinary(output, outcome.answer) as Buffer);
  };
}

/** Streams that this release does not have yet. */
function refuseStream(method: Method, invoke: Invoke): UntypedHandleCall {
  const refusal: Refusal = {
    reason: ErrorReason.NOT_SUPPORTED,
    detail: `${method.desc.name} is not supported by this release.`,
  };
  return ((call: {
    emit: (event: "error", status: unknown) => void;
    on: (event: "error", ignore: () => void) => void;
  }) => {
    invoke.note("grpc", method, refusal);
    call.emit("error", statusOf(refusal));
  }) as unknown as UntypedHandleCall;
}
