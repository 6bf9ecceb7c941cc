import type { RequestListener, ServerResponse } from "node:http";
import Fastify, { type FastifyInstance, type FastifyReply } from "fastify";
import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import { failure } from "../domain/failure.ts";
import type { Admit } from "./admission.ts";
import { mountConnect } from "./connect/transport.ts";
import { answerClientError } from "./http-client-error.ts";
import { type HttpConnections, TrackedResponse } from "./http-connections.ts";
import { refuseUnknownPaths } from "./http-unknown.ts";
import type { Invoke } from "./invoke.ts";
import { mountJson, refuse } from "./json/transport.ts";
import { TRANSPORT_LIMITS } from "./limits.ts";
import type { Tls } from "./tls.ts";

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

  addProbes(app, checkReady);
  refuseUnknownPaths(app, invoke, routes);
  return app;
}

function addProbes(app: FastifyInstance, checkReady: HttpPortParts["checkReady"]): void {
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
}
