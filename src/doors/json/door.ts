import { isUtf8 } from "node:buffer";
import type { Duplex } from "node:stream";
import { create, type Message } from "@bufbuild/protobuf";
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import { type Failure, failure, type Refusal } from "../../domain/failure.ts";
import { LIMITS } from "../../domain/limits.ts";
import { type Authenticate, type Caller, UNAUTHENTICATED } from "../authentication.ts";
import type { Invoke } from "../invoke.ts";
import { decodeInto, isObject, type JsonObject, maskOf } from "./decode.ts";
import { jsonEncoderOf } from "./encode.ts";
import { errorAnswer } from "./errors.ts";
import { patternOf, type Route, routesOf } from "./routes.ts";

/** What the HTTP port is made from. */
export type HttpDoorParts = {
  readonly invoke: Invoke;
  readonly authenticate: Authenticate;
  /** Rejects, with the reason, while the program cannot take traffic. */
  readonly checkReady: () => Promise<void>;
};

/** The HTTP port: the JSON routes of the contract, `/healthz` and `/readyz`. */
export function createHttpDoor({ invoke, authenticate, checkReady }: HttpDoorParts): FastifyInstance {
  const app = Fastify({
    bodyLimit: LIMITS.requestBytes,
    // Slow clients lose their connection: headers within 10 s, the whole request within 30 s.
    http: { headersTimeout: 10_000, requestTimeout: 30_000, connectionsCheckingInterval: 5_000, maxHeaderSize: 16_384 },
    requestTimeout: 30_000,
    keepAliveTimeout: 65_000,
    forceCloseConnections: "idle",
    // Answering 503 while closing would break calls that come in on open connections; they are answered and then closed.
    return503OnClosing: false,
    exposeHeadRoutes: false,
    routerOptions: { maxParamLength: 256, querystringParser: parseQuery },
    clientErrorHandler: answerClientError,
    frameworkErrors: (_error, _request, reply) => {
      refuse(
        reply as FastifyReply,
        failure(ErrorReason.NOT_FOUND, "The path cannot be read; escape it as a URL path.").refusal,
      );
    },
  });

  const routes = routesOf(invoke.methods);
  app.decorateRequest("caller", null);
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("application/json", { parseAs: "buffer" }, (_request, body, done) => done(null, body));

  for (const route of routes) {
    app.route({
      method: route.verb,
      url: route.template.replaceAll(/\{(\w+)\}/g, ":$1"),
      bodyLimit: route.method.mostBytes,
      onRequest: (request, reply, done) => {
        const caller = authenticate(request.headers.authorization);
        if (caller !== undefined) {
          (request as unknown as Authenticated).caller = caller;
          done();
          return;
        }
        invoke.note("json", route.method, UNAUTHENTICATED);
        refuse(reply, UNAUTHENTICATED);
      },
      handler: handlerOf(route, invoke),
      errorHandler: (error, _request, reply) => {
        const refusal = refusalOf(error, route.method.mostBytes);
        invoke.note("json", route.method, refusal);
        refuse(reply, refusal, route);
      },
    });
  }

  app.get("/healthz", (_request, reply) => reply.type("application/json").send('{"status":"alive"}'));
  app.get("/readyz", async (_request, reply) => {
    reply.type("application/json");
    try {
      await checkReady();
      return reply.send('{"status":"ready"}');
    } catch (error) {
      const why = error instanceof Error ? error.message : "not ready";
      return reply.code(503).send(JSON.stringify({ status: "not ready", why }));
    }
  });

  const known = [
    ...routes.map((route) => ({ verb: route.verb as string, pattern: patternOf(route.template) })),
    { verb: "GET", pattern: /^\/(healthz|readyz)$/ },
  ];
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split("?", 1)[0] as string;
    const verbs = [...new Set(known.filter(({ pattern }) => pattern.test(path)).map(({ verb }) => verb))];
    const refusal: Refusal =
      verbs.length === 0
        ? { reason: ErrorReason.NOT_FOUND, detail: "There is nothing at this path; the README lists the paths." }
        : {
            reason: ErrorReason.METHOD_NOT_ALLOWED,
            detail: `This path takes ${verbs.join(", ")}.`,
          };
    if (verbs.length > 0) reply.header("allow", verbs.join(", "));
    invoke.note("json", undefined, refusal);
    refuse(reply, refusal);
  });
  return app;
}

type Authenticated = { caller: Caller };

function handlerOf(route: Route, { invoke }: Invoke) {
  const encode = jsonEncoderOf(route.method.desc.output);
  const inner = route.method.desc.output.fields.find((field) => field.name === route.responseBody);
  const encodeInner = inner?.message === undefined ? undefined : jsonEncoderOf(inner.message);
  const encodeAnswer =
    inner === undefined || encodeInner === undefined
      ? encode
      : (answer: Message) => encodeInner((answer as unknown as Record<string, Message>)[inner.localName] as Message);

  return async (request: FastifyRequest, reply: FastifyReply) => {
    const body = request.body as Buffer | undefined;
    const outcome = await invoke(route.method, {
      door: "json",
      caller: (request as unknown as Authenticated).caller,
      header: (name) => {
        const value = request.headers[name];
        return Array.isArray(value) ? value.join(", ") : value;
      },
      bytes: body?.length ?? 0,
      decode: () => gather(route, request, body),
    });
    if ("refusal" in outcome) return refuse(reply, outcome.refusal, route);
    for (const [name, value] of outcome.headers ?? []) reply.header(name, value);
    return reply.type("application/json").send(encodeAnswer(outcome.answer));
  };
}

/** Body, query and path as the method's request; the path has the last word. */
function gather(route: Route, request: FastifyRequest, body: Buffer | undefined): Message {
  const { input } = route.method.desc;
  const message = create(input) as Message & Record<string, unknown>;
  if (route.body !== undefined) {
    const json = parseBody(body);
    const field = input.fields.find(({ name }) => name === route.body);
    if (field?.message === undefined) decodeInto(input, message, json, "body");
    else {
      const content = create(field.message);
      decodeInto(field.message, content, json, "body");
      message[field.localName] = content;
      if (route.mask !== undefined) message[route.mask] = { $typeName: MASK, paths: maskOf(field.message, json) };
    }
  } else decodeInto(input, message, request.query as JsonObject, "text");
  decodeInto(input, message, request.params as JsonObject, "text");
  return message;
}

const MASK = "google.protobuf.FieldMask";

function parseBody(body: Buffer | undefined): JsonObject {
  const json = body === undefined || !isUtf8(body) ? undefined : parseJson(body.toString("utf8"));
  if (isObject(json)) return json;
  throw failure(ErrorReason.INVALID_JSON, "The body must be a JSON object in UTF-8.");
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The parser's own words quote the body, which must not get into a log.
    return undefined;
  }
}

/** `page[number]=2&filter[name][eq]=x` as nested objects; repeated keys become lists. */
function parseQuery(query: string): JsonObject {
  const root: Record<string, unknown> = Object.create(null);
  for (const [name, value] of new URLSearchParams(query)) {
    const path = name.split("[").map((part, index) => (index === 0 ? part : part.replace(/\]$/, "")));
    if (path.length > 4) continue;
    let at = root;
    for (const part of path.slice(0, -1)) {
      // `filter[name]=x` may stand beside `filter[name][contains]=y`; the plain one is kept under an empty key.
      if (at[part] !== undefined && !isObject(at[part]))
        at[part] = Object.assign(Object.create(null), { "": at[part] });
      at[part] ??= Object.create(null);
      at = at[part] as Record<string, unknown>;
    }
    const last = path.at(-1) as string;
    const before = at[last];
    if (isObject(before)) (before as Record<string, unknown>)[""] = value;
    else at[last] = before === undefined ? value : [before, value].flat();
  }
  return root;
}

function refuse(reply: FastifyReply, refusal: Refusal, route?: Route): FastifyReply {
  const hasBody = route === undefined || route.body !== undefined;
  const { status, headers, body } = errorAnswer(refusal, { hasBody, bodyField: route?.body });
  return reply.code(status).headers(headers).type("application/json").send(body);
}

/** What Fastify refuses by itself, in our words. */
function refusalOf(error: unknown, mostBytes: number): Refusal {
  const { code, statusCode } = error as { code?: string; statusCode?: number };
  if (code === "FST_ERR_CTP_BODY_TOO_LARGE") return tooLarge(mostBytes).refusal;
  if (code === "FST_ERR_CTP_INVALID_MEDIA_TYPE") {
    return {
      reason: ErrorReason.UNSUPPORTED_MEDIA_TYPE,
      detail: "The body must be JSON, with the header `Content-Type: application/json`.",
    };
  }
  if (statusCode !== undefined && statusCode < 500) {
    return { reason: ErrorReason.BAD_REQUEST, detail: "The request could not be read; check its length and encoding." };
  }
  return { reason: ErrorReason.INTERNAL, detail: "Something went wrong here; try again." };
}

function tooLarge(mostBytes: number): Failure {
  return failure(ErrorReason.REQUEST_TOO_LARGE, `The body is larger than ${mostBytes / 1024} KiB; make it smaller.`);
}

/** Bytes that are no HTTP request, or come too slowly, are answered once and the connection is closed. */
function answerClientError(this: FastifyInstance, error: Error & { code?: string }, socket: Duplex): void {
  if (socket.destroyed || !socket.writable) return;
  const isLate = error.code === "ERR_HTTP_REQUEST_TIMEOUT";
  const { body } = errorAnswer(
    isLate
      ? { reason: ErrorReason.TIMEOUT, detail: "The request did not arrive in time." }
      : { reason: ErrorReason.BAD_REQUEST, detail: "The bytes are no HTTP request." },
    { hasBody: true, bodyField: undefined },
  );
  const status = isLate ? "408 Request Timeout" : "400 Bad Request";
  socket.end(
    `HTTP/1.1 ${status}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}
