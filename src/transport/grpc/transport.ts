import { Server, type ServiceDefinition, type UntypedHandleCall } from "@grpc/grpc-js";
import type { Admit } from "../admission.ts";
import type { Invoke } from "../invoke.ts";
import { TRANSPORT_LIMITS } from "../limits.ts";
import type { Method } from "../method.ts";
import { type Arrivals, admitByHeaders } from "./arrival.ts";
import { streamHandler, unaryHandler } from "./handlers.ts";
import { checkHeaders, refuseUnknownMethods } from "./library-statuses.ts";

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
  const admitCall = admitByHeaders({
    admit,
    arrivals,
    clock,
    onRefused: (path, refusal) => invoke.recordRefusal("grpc", methods.get(path), refusal),
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
    const ofService = invoke.methods.filter((method) => method.service === service);
    const definition = Object.fromEntries(ofService.map((method) => [method.desc.localName, definitionOf(method)]));
    const handlers = ofService.map((method): [string, UntypedHandleCall] => [
      method.desc.localName,
      method.desc.methodKind === "unary"
        ? unaryHandler(method, invoke, arrivals)
        : streamHandler(method, invoke, arrivals),
    ]);
    server.addService(definition as ServiceDefinition, Object.fromEntries(handlers));
  }
  return server;
}

function definitionOf({ path, desc: { methodKind } }: Method): ServiceDefinition[string] {
  return {
    path,
    requestStream: methodKind === "client_streaming" || methodKind === "bidi_streaming",
    responseStream: methodKind === "server_streaming" || methodKind === "bidi_streaming",
    // `invoke` decodes the bytes: grpc-js answers INTERNAL when a deserializer throws.
    requestDeserialize: (bytes: Buffer) => bytes,
    requestSerialize: (bytes: Buffer) => bytes,
    responseDeserialize: (bytes: Buffer) => bytes,
    responseSerialize: (bytes: Buffer) => bytes,
  };
}
