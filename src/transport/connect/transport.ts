import { create, type DescMessage, type DescMethod, fromBinary, type Message } from "@bufbuild/protobuf";
import {
  type ConnectRouter,
  createConnectRouter,
  createContextKey,
  createContextValues,
  type HandlerContext,
} from "@connectrpc/connect";
import type { UniversalHandler, UniversalServerResponse } from "@connectrpc/connect/protocol";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import { type Failure, failure, type Refusal } from "../../domain/failure.ts";
import { quoted } from "../../domain/text.ts";
import type { Admit } from "../admission.ts";
import { authorizationOf, type Caller, UNAUTHENTICATED } from "../authentication.ts";
import type { Invoke } from "../invoke.ts";
import { parseBody } from "../json/body.ts";
import { decodeInto } from "../json/decode.ts";
import { TRANSPORT_LIMITS } from "../limits.ts";
import type { Method } from "../method.ts";
import { transportRefusal } from "../transport-refusal.ts";
import { isByGet, readRequest } from "./request.ts";
import { connectError, rpcRefusal } from "./rpc-refusal.ts";

/**
 * Mounts Connect, gRPC-Web and gRPC over HTTP/1.1 on the HTTP port. The port reads bodies, within
 * its limits and after authentication, because connect-es's server adapter reads bodies before
 * authentication, reserves the announced length, and ends the process on an invalid authority.
 */
export function mountConnect(app: FastifyInstance, parts: { invoke: Invoke; admit: Admit }): void {
  const { invoke, admit } = parts;
  const methods = new Map(invoke.methods.map((method) => [method.path, method]));
  const router = createConnectRouter({
    maxTimeoutMs: TRANSPORT_LIMITS.deadlineMs,
    readMaxBytes: TRANSPORT_LIMITS.requestBytes,
  });
  for (const method of invoke.methods) addMethod(router, method, invoke);

  app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser(CONTENT_TYPES, { parseAs: "buffer" }, (_request, body, done) => done(null, body));
    for (const handler of router.handlers) {
      const method = methods.get(handler.requestPath) as Method;
      scope.route({
        method: isByGet(method.desc) ? ["POST", "GET"] : "POST",
        url: handler.requestPath,
        bodyLimit: method.maxBytes + ENVELOPE,
        onRequest: (request, reply, done) => {
          const admitted = admit(authorizationOf(request.raw));
          if ("caller" in admitted) {
            (request as unknown as { caller: Caller }).caller = admitted.caller;
            return done();
          }
          invoke.recordRefusal("connect", method, admitted.refusal);
          // Answered in the call's protocol on an empty body: the real one stays unread.
          answer(request, reply, handler, method, admitted, Buffer.alloc(0), invoke).catch(() => reply.raw.destroy());
        },
        errorHandler: async (error, request, reply) => {
          const type = request.headers["content-type"] ?? "";
          const found = transportRefusal(error, method.maxBytes);
          const refusal = found.reason === ErrorReason.UNSUPPORTED_MEDIA_TYPE ? unsupportedType(type) : found;
          invoke.recordRefusal("connect", method, refusal);
          // The connection stays open: closing it would reset a client that still writes, and lose
          // the response.
          await answer(request, reply, handler, method, { refusal }, Buffer.alloc(0), invoke);
        },
        handler: async (request, reply) => {
          const { caller } = request as unknown as { caller: Caller };
          await answer(
            request,
            reply,
            handler,
            method,
            { caller },
            (request.body as Buffer | undefined) ?? Buffer.alloc(0),
            invoke,
          );
        },
      });
    }
  });
}

/** The prefix of an enveloped message: flags and length. */
const ENVELOPE = 5;
const CONTENT_TYPES = /^application\/(json|proto|connect\+(json|proto)|grpc(-web)?(\+(json|proto))?)(;|$)/;

/** A call as the port passes it to its handler. */
type Arrival = {
  readonly admitted: ReturnType<Admit>;
  readonly bytes: number;
  /** Decodes the body; throws a Failure. */
  readonly decode: () => Message;
};

const arrivalKey = createContextKey<Arrival>({
  admitted: { refusal: UNAUTHENTICATED },
  bytes: 0,
  decode: neverDecoded,
});

function neverDecoded(): never {
  throw new Error("A call that is not admitted has no message.");
}

function addMethod(router: ConnectRouter, method: Method, invoke: Invoke): void {
  const { desc } = method;
  const handleUnary = async (_request: Message, context: HandlerContext): Promise<Message> => {
    const { admitted, bytes, decode } = context.values.get(arrivalKey);
    if ("refusal" in admitted) throw connectError(admitted.refusal);
    const outcome = await invoke.unary(method, {
      transport: "connect",
      caller: admitted.caller,
      header: (name) => context.requestHeader.get(name) ?? undefined,
      deadlineMs: performance.now() + (context.timeoutMs() ?? Number.POSITIVE_INFINITY),
      isCancelled: () => context.signal.aborted,
      onCancelled: (listener) => context.signal.addEventListener("abort", listener, { once: true }),
      bytes,
      decode,
    });
    if ("refusal" in outcome) throw connectError(outcome.refusal);
    for (const [name, value] of outcome.headers) context.responseHeader.set(name, value);
    return outcome.response;
  };
  // biome-ignore lint/correctness/useYield: it refuses the stream.
  const refuseStream = async function* (_requests: unknown, context: HandlerContext): AsyncGenerator<Message> {
    const { admitted } = context.values.get(arrivalKey);
    const refusal = "refusal" in admitted ? admitted.refusal : notOnThisPort(method, invoke.isImplemented(method));
    if (!("refusal" in admitted)) invoke.recordRefusal("connect", method, refusal);
    throw connectError(refusal);
  };
  const implementation = desc.methodKind === "unary" ? handleUnary : refuseStream;
  router.rpc(desc, implementation as never);
}

function notOnThisPort({ desc }: Method, isImplemented: boolean): Refusal {
  const detail = isImplemented
    ? `${desc.name} is not served on the HTTP port; call it on the gRPC port.`
    : `${desc.name} is not implemented in this release.`;
  return { reason: ErrorReason.NOT_IMPLEMENTED, detail };
}

async function answer(
  request: FastifyRequest,
  reply: FastifyReply,
  handler: UniversalHandler,
  method: Method,
  admission: ReturnType<Admit>,
  received: Buffer,
  invoke: Invoke,
): Promise<void> {
  const { type, header, body, refusal } = readRequest(request, received);
  if (refusal !== undefined && "caller" in admission) invoke.recordRefusal("connect", method, refusal);
  const admitted = refusal === undefined || "refusal" in admission ? admission : { refusal };
  const decode = decoderOf(method, type, body);
  const aborted = new AbortController();
  reply.raw.once("close", () => aborted.abort());
  const response = await handler({
    httpVersion: request.raw.httpVersion,
    // Only the path matters; the client's authority never becomes a URL.
    url: `http://localhost${handler.requestPath}`,
    method: "POST",
    header,
    // connect-es answers a malformed message with INTERNAL, and drops unknown enum values.
    body: once(emptyBody(type)),
    signal: aborted.signal,
    contextValues: createContextValues().set(arrivalKey, { admitted, bytes: body.length, decode }),
  });
  reply.hijack();
  const { status } = response;
  if (response.body === undefined && status >= 400) {
    // Connect refuses these with a status alone.
    const why = status === 505 ? needsHttp2(method) : unsupportedType(type);
    const { headers, body: details } = rpcRefusal(type, "refusal" in admitted ? admitted.refusal : why, status);
    reply.raw.writeHead(status, { ...Object.fromEntries(response.header ?? []), ...headers }).end(details);
    return;
  }
  await write(reply, response);
}

/** The decoder of a body's message; it throws a Failure. */
function decoderOf({ desc }: Method, type: string, body: Buffer): () => Message {
  const isEnveloped = !/^application\/(json|proto)\b/.test(type);
  return () => {
    if (isEnveloped && (body.length < ENVELOPE || body.readUInt32BE(1) !== body.length - ENVELOPE))
      throw malformed(desc);
    if (isEnveloped && ((body[0] as number) & 1) === 1) throw failure(ErrorReason.MALFORMED_MESSAGE, FLAGGED);
    const message = isEnveloped ? body.subarray(ENVELOPE) : body;
    return /json/.test(type) ? decodeJson(desc.input, message) : decodeBinary(desc, message);
  };
}

const FLAGGED = "The message is flagged as compressed, but no header names a compression; send it uncompressed.";

function needsHttp2({ desc }: Method): Refusal {
  return {
    reason: ErrorReason.NOT_IMPLEMENTED,
    detail: `${desc.name} streams both ways, which needs HTTP/2; call it on the gRPC port.`,
  };
}

function unsupportedType(type: string): Refusal {
  const detail =
    type === ""
      ? "The content type is missing; use application/json or application/proto, in a GET encoding=json or encoding=proto."
      : `The content type ${quoted(type)} is not supported; use application/json or application/proto.`;
  return { reason: ErrorReason.UNSUPPORTED_MEDIA_TYPE, detail };
}

function decodeBinary(desc: DescMethod, message: Buffer): Message {
  try {
    return fromBinary(desc.input, message);
  } catch {
    throw malformed(desc);
  }
}

/** An empty body is the empty message, as in protobuf's binary form. */
function decodeJson(desc: DescMessage, bytes: Buffer): Message {
  const message = create(desc);
  if (bytes.length > 0) decodeInto(desc, message, parseBody(bytes), "rpc");
  return message;
}

function malformed({ input }: DescMethod): Failure {
  return failure(ErrorReason.MALFORMED_MESSAGE, `The body is not a valid ${input.typeName}.`);
}

/** An empty message in the framing of a content type. */
function emptyBody(type: string): Buffer {
  const message = Buffer.from(/json/.test(type) ? "{}" : "");
  if (/^application\/(json|proto)\b/.test(type)) return message;
  const prefix = Buffer.alloc(ENVELOPE);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

async function* once(body: Buffer): AsyncIterable<Uint8Array> {
  if (body.length > 0) yield body;
}

async function write(reply: FastifyReply, response: UniversalServerResponse): Promise<void> {
  const { raw } = reply;
  raw.writeHead(response.status, Object.fromEntries(response.header ?? []));
  for await (const chunk of response.body ?? []) raw.write(chunk);
  if (response.trailer !== undefined) raw.addTrailers(Object.fromEntries(response.trailer));
  raw.end();
}
