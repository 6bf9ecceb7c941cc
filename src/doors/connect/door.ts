import { create, type DescMessage, type DescMethod, fromBinary, type Message } from "@bufbuild/protobuf";
import {
  ConnectError,
  type ConnectRouter,
  createConnectRouter,
  createContextKey,
  createContextValues,
  type HandlerContext,
} from "@connectrpc/connect";
import type { UniversalHandler, UniversalServerResponse } from "@connectrpc/connect/protocol";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import { errorForm } from "../../domain/error-form.ts";
import { type Failure, failure, type Refusal } from "../../domain/failure.ts";
import { LIMITS } from "../../domain/limits.ts";
import type { Admit } from "../admission.ts";
import { authorizationOf, type Caller, UNAUTHENTICATED } from "../authentication.ts";
import { errorDetails } from "../error-details.ts";
import { type Invoke, LATE, LEFT, type Method } from "../invoke.ts";
import { parseBody } from "../json/body.ts";
import { decodeInto } from "../json/decode.ts";
import { transportRefusal } from "../transport-refusal.ts";

/**
 * Mounts Connect, gRPC-Web and gRPC over HTTP/1.1 on the HTTP port. Bodies are read by the port itself, with its limits and after
 * authentication, and handed to connect-es's handlers as they are: its own server adapter reads bodies before it can tell who
 * calls, reserves what a length field announces, and ends the process on an authority that is no host.
 */
export function mountConnect(app: FastifyInstance, parts: { invoke: Invoke; admit: Admit }): void {
  const { invoke, admit } = parts;
  const methods = new Map(invoke.methods.map((method) => [method.path, method]));
  const router = createConnectRouter({ maxTimeoutMs: LIMITS.deadline, readMaxBytes: LIMITS.requestBytes });
  for (const method of invoke.methods) addMethod(router, method, invoke);

  app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser(CONTENT_TYPES, { parseAs: "buffer" }, (_request, body, done) => done(null, body));
    for (const handler of router.handlers) {
      const method = methods.get(handler.requestPath) as Method;
      scope.route({
        method: "POST",
        url: handler.requestPath,
        bodyLimit: method.mostBytes + ENVELOPE,
        onRequest: (request, reply, done) => {
          const admitted = admit(authorizationOf(request.raw));
          if ("caller" in admitted) {
            (request as unknown as { caller: Caller }).caller = admitted.caller;
            return done();
          }
          invoke.note("connect", method, admitted.refusal);
          // Answered by the protocol that was spoken, on an empty body: the one that was sent stays unread.
          answer(request, reply, handler, method, admitted, Buffer.alloc(0)).catch(() => reply.raw.destroy());
        },
        errorHandler: async (error, request, reply) => {
          const refusal = transportRefusal(error, method.mostBytes);
          invoke.note("connect", method, refusal);
          // The connection stays: closed now, it would be reset under a client that still writes, and the answer lost.
          await answer(request, reply, handler, method, { refusal }, Buffer.alloc(0));
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
          );
        },
      });
    }
  });
}

/** The prefix of an enveloped message: flags and length. */
const ENVELOPE = 5;
const CONTENT_TYPES = /^application\/(json|proto|connect\+(json|proto)|grpc(-web)?(\+(json|proto))?)(;|$)/;

/** What the port knows of a call, for its handler. */
type Arrival = {
  readonly admitted: ReturnType<Admit>;
  readonly bytes: number;
  /** Decodes the body; throws a Failure. Undefined: what the handler was given is the request. */
  readonly decode: (() => Message) | undefined;
};

const arrivalKey = createContextKey<Arrival>({ admitted: { refusal: UNAUTHENTICATED }, bytes: 0, decode: undefined });

function addMethod(router: ConnectRouter, method: Method, { invoke }: Invoke): void {
  const { desc } = method;
  const carryOut = async (request: Message, context: HandlerContext): Promise<Message> => {
    const { admitted, bytes, decode } = context.values.get(arrivalKey);
    if ("refusal" in admitted) throw connectError(admitted.refusal);
    const outcome = await invoke(method, {
      door: "connect",
      caller: admitted.caller,
      header: (name) => context.requestHeader.get(name) ?? undefined,
      abandoned: () => {
        const left = context.timeoutMs();
        if (left !== undefined && left <= 0) return LATE;
        return context.signal.aborted ? LEFT : undefined;
      },
      bytes,
      decode: decode ?? (() => request),
    });
    if ("refusal" in outcome) throw connectError(outcome.refusal);
    for (const [name, value] of outcome.headers ?? []) context.responseHeader.set(name, value);
    return outcome.answer;
  };
  // biome-ignore lint/correctness/useYield: what it would stream is refused.
  const refuseStream = async function* (_requests: unknown, context: HandlerContext): AsyncGenerator<Message> {
    const { admitted } = context.values.get(arrivalKey);
    throw connectError("refusal" in admitted ? admitted.refusal : notOnThisPort(method));
  };
  const implementation = desc.methodKind === "unary" ? carryOut : refuseStream;
  router.rpc(desc, implementation as never);
}

function notOnThisPort(method: Method): Refusal {
  return {
    reason: ErrorReason.NOT_IMPLEMENTED,
    detail: `${method.desc.name} is not served on the HTTP port; call it on the gRPC port.`,
  };
}

function connectError(refusal: Refusal): ConnectError {
  const { rpcCode } = errorForm(refusal.reason);
  return new ConnectError(refusal.detail, rpcCode as number, undefined, errorDetails(refusal) as never);
}

async function answer(
  request: FastifyRequest,
  reply: FastifyReply,
  handler: UniversalHandler,
  method: Method,
  admitted: ReturnType<Admit>,
  body: Buffer,
): Promise<void> {
  const type = request.headers["content-type"] ?? "";
  const decode = "refusal" in admitted ? () => create(method.desc.input) : decoderOf(method, type, body);
  const header = new Headers();
  for (const [name, value] of Object.entries(request.headers)) if (typeof value === "string") header.set(name, value);
  // The body is handed on whole, or replaced: its announced length would be held against it.
  header.delete("content-length");
  const aborted = new AbortController();
  reply.raw.once("close", () => aborted.abort());
  const response = await handler({
    httpVersion: request.raw.httpVersion,
    // Only the path matters; the authority that was sent is never made into a URL.
    url: `http://localhost${handler.requestPath}`,
    method: "POST",
    header,
    // connect-es would answer a malformed message with INTERNAL, as if it were our fault, and drop enum values it does not know.
    body: once(decode === undefined ? body : emptyBody(type)),
    signal: aborted.signal,
    contextValues: createContextValues().set(arrivalKey, { admitted, bytes: body.length, decode }),
  });
  reply.hijack();
  await write(reply, response);
}

/**
 * Decodes the message of a body. Undefined where the handler's own decoding must answer: the message is compressed, which is not
 * taken and which the protocols have their own answers for.
 */
function decoderOf({ desc }: Method, type: string, body: Buffer): (() => Message) | undefined {
  const isEnveloped = !/^application\/(json|proto)\b/.test(type);
  if (isEnveloped && ((body[0] ?? 0) & 1) === 1) return undefined;
  return () => {
    if (isEnveloped && (body.length < ENVELOPE || body.readUInt32BE(1) !== body.length - ENVELOPE))
      throw malformed(desc);
    const message = isEnveloped ? body.subarray(ENVELOPE) : body;
    return /json/.test(type) ? decodeJson(desc.input, message) : decodeBinary(desc, message);
  };
}

function decodeBinary(desc: DescMethod, message: Buffer): Message {
  try {
    return fromBinary(desc.input, message);
  } catch {
    throw malformed(desc);
  }
}

/** No bytes are the empty message, as in protobuf's binary form. */
function decodeJson(desc: DescMessage, bytes: Buffer): Message {
  const message = create(desc);
  if (bytes.length > 0) decodeInto(desc, message, parseBody(bytes), "rpc");
  return message;
}

function malformed({ input }: DescMethod): Failure {
  return failure(ErrorReason.MALFORMED_MESSAGE, `The bytes are not a ${input.typeName}.`);
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
