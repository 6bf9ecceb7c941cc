import type { RequestListener, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import Fastify, { type FastifyInstance, type FastifyReply } from "fastify";
import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import { failure, type Refusal } from "../domain/failure.ts";
import type { Admit } from "./admission.ts";
import { isByGet } from "./connect/request.ts";
import { isRpcPath, rpcRefusal } from "./connect/rpc-refusal.ts";
import { mountConnect } from "./connect/transport.ts";
import { type HttpConnections, TrackedResponse } from "./http-connections.ts";
import type { Invoke } from "./invoke.ts";
import { errorResponse } from "./json/errors.ts";
import { patternOf } from "./json/routes.ts";
import { mountJson, refuse } from "./json/transport.ts";
import { TRANSPORT_LIMITS } from "./limits.ts";
import type { Tls } from "./tls.ts";
import { UNKNOWN_METHOD } from "./transport-refusal.ts";

/** The parts of the HTTP port. */
export type HttpPortParts = {
  readonly invoke: Invoke;
  readonly admit: Admit;
  readonly connections: HttpConnections;
  /**
   * Rejects with the reason while the program cannot serve; resolves with further fields of
   * `/readyz`.
   */
  readonly checkReady: () => Promise<Readonly<Record<string, string>>>;
  /** Undefined: plaintext. */
  readonly tls: Tls | undefined;
};

/** Bounds on slow clients and large headers. */
const CONNECTION_LIMITS = {
  headersTimeout: TRANSPORT_LIMITS.headersTimeoutMs,
  requestTimeout: TRANSPORT_LIMITS.requestTimeoutMs,
  keepAliveTimeout: TRANSPORT_LIMITS.keepAliveMs,
  connectionsCheckingInterval: TRANSPORT_LIMITS.connectionsCheckMs,
  maxHeaderSize: TRANSPORT_LIMITS.headerBytes,
  ServerResponse: TrackedResponse as typeof ServerResponse,
} as const;

/**
 * The HTTP port: the JSON routes of the contract, Connect and gRPC-Web, `/healthz` and `/readyz`.
 */
export function createHttpPort({ invoke, admit, connections, checkReady, tls }: HttpPortParts): FastifyInstance {
  const secured = tls && {
    cert: tls.certificate,
    handshakeTimeout: TRANSPORT_LIMITS.handshakeTimeoutMs,
    key: tls.key,
    ...(tls.clientAuthority !== undefined && { ca: tls.clientAuthority, requestCert: true, rejectUnauthorized: true }),
  };
  const app = Fastify({
    ...(secured === undefined ? { http: CONNECTION_LIMITS } : { https: { ...CONNECTION_LIMITS, ...secured } }),
    bodyLimit: TRANSPORT_LIMITS.requestBytes,
    requestTimeout: CONNECTION_LIMITS.requestTimeout,
    keepAliveTimeout: CONNECTION_LIMITS.keepAliveTimeout,
    maxRequestsPerSocket: TRANSPORT_LIMITS.requestsPerConnection,
    forceCloseConnections: "idle",
    // A 503 while closing would fail calls on open connections: they are answered, then closed.
    return503OnClosing: false,
    exposeHeadRoutes: true,
    // The router parses queries before a call is admitted, so here it only passes the string on.
    routerOptions: { maxParamLength: 256, querystringParser: (text: string) => ({ text }) },
    clientErrorHandler: answerClientError,
    frameworkErrors: (_error, _request, reply) => {
      refuse(
        reply as FastifyReply,
        failure(ErrorReason.NOT_FOUND, "The path is malformed; percent-encode it as a URL path.").refusal,
      );
    },
  });

  const handlers = app.server.listeners("request") as RequestListener[];
  app.server.removeAllListeners("request");
  app.server.on("request", (request, response) => {
    connections.dispatch(request, response, () => {
      for (const handle of handlers) handle.call(app.server, request, response);
    });
  });
  connections.watch(app.server);

  const routes = mountJson(app, { invoke, admit });
  mountConnect(app, { invoke, admit });

  app.get("/healthz", (_request, reply) => reply.type("application/json").send('{"status":"alive"}'));
  app.get("/readyz", async (_request, reply) => {
    reply.type("application/json");
    try {
      return reply.send(JSON.stringify({ status: "ready", ...(await checkReady()) }));
    } catch (error) {
      const why = error instanceof Error ? error.message : "not ready";
      return reply.code(503).send(JSON.stringify({ status: "not ready", why }));
    }
  });

  const known = [
    ...routes.map((route) => ({ verb: route.verb as string, pattern: patternOf(route.template) })),
    { verb: "GET", pattern: /^\/(healthz|readyz|openapi\.json)$/ },
  ];
  // Before the body is read: outside of the routes only JSON has a parser.
  app.addHook("onRequest", (request, reply, done) => {
    const path = request.url.split("?", 1)[0] as string;
    if (!request.is404 || !isRpcPath(path)) return done();
    const method = invoke.methods.find((each) => each.path === path);
    const verbs = method !== undefined && isByGet(method.desc) ? "GET, HEAD, POST" : "POST";
    const refusal =
      method === undefined
        ? UNKNOWN_METHOD
        : { reason: ErrorReason.METHOD_NOT_ALLOWED, detail: `This method accepts ${verbs}.` };
    if (method !== undefined) reply.header("allow", verbs);
    invoke.recordRefusal("connect", undefined, refusal);
    const { status, headers, body } = rpcRefusal(request.headers["content-type"] ?? "", refusal);
    reply.code(status).headers(headers).send(body);
  });
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split("?", 1)[0] as string;
    const matching = known.filter(({ pattern }) => pattern.test(path)).map(({ verb }) => verb);
    const verbs = [...new Set(matching.flatMap((verb) => (verb === "GET" ? ["GET", "HEAD"] : [verb])))];
    const refusal: Refusal =
      verbs.length === 0
        ? { reason: ErrorReason.NOT_FOUND, detail: "Unknown path; GET /openapi.json lists the paths." }
        : { reason: ErrorReason.METHOD_NOT_ALLOWED, detail: `This path accepts ${verbs.join(", ")}.` };
    if (verbs.length > 0) reply.header("allow", verbs.join(", "));
    invoke.recordRefusal("json", undefined, refusal);
    refuse(reply, refusal);
  });
  return app;
}

type ClientError = Error & { readonly code?: string; readonly rawPacket?: unknown };

/**
 * Answers bytes that are not HTTP, too large, or too slow once, then closes the connection, or
 * destroys it if the client does not close its side. Other errors cannot be answered: a TLS
 * handshake that failed or timed out, a broken connection.
 */
function answerClientError(this: FastifyInstance, error: ClientError, socket: Duplex): void {
  const isHttpError = /^(HPE_|ERR_HTTP_)/.test(error.code ?? "");
  if (!isHttpError || socket.destroyed || !socket.writable) {
    socket.destroy();
    return;
  }
  const { status, refusal } = clientRefusal(error);
  const { body } = errorResponse(refusal, { hasBody: true, bodyField: undefined });
  socket.end(
    `HTTP/1.1 ${status}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
  // Destroying at once would reset a client that still writes, which might lose the response.
  const lingering = setTimeout(() => socket.destroy(), TRANSPORT_LIMITS.lingerMs);
  lingering.unref();
  socket.once("close", () => clearTimeout(lingering));
}

function clientRefusal({ code, rawPacket }: ClientError): { readonly status: string; readonly refusal: Refusal } {
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") {
    const refusal = { reason: ErrorReason.TIMEOUT, detail: "The request did not arrive in time." };
    return { status: "408 Request Timeout", refusal };
  }
  if (code === "HPE_HEADER_OVERFLOW") {
    const reason = ErrorReason.REQUEST_TOO_LARGE;
    const limit = `${TRANSPORT_LIMITS.headerBytes / 1024} KiB`;
    // The limit covers the request line and the headers: no line has ended if the path alone
    // exceeds it.
    const isPath = Buffer.isBuffer(rawPacket) && !rawPacket.subarray(0, TRANSPORT_LIMITS.headerBytes).includes("\n");
    return isPath
      ? { status: "414 URI Too Long", refusal: { reason, detail: `The path and query exceed ${limit}.` } }
      : {
          status: "431 Request Header Fields Too Large",
          refusal: { reason, detail: `The headers exceed ${limit} in total.` },
        };
  }
  const refusal = { reason: ErrorReason.BAD_REQUEST, detail: "Not an HTTP request." };
  return { status: "400 Bad Request", refusal };
}
