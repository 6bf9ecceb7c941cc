import type { FastifyInstance } from "fastify";
import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import type { Refusal } from "../domain/failure.ts";
import { isByGet } from "./connect/request.ts";
import { isRpcPath, rpcRefusal } from "./connect/rpc-refusal.ts";
import type { Invoke } from "./invoke.ts";
import { patternOf, type Route } from "./json/routes.ts";
import { refuse } from "./json/transport.ts";
import { UNKNOWN_METHOD } from "./transport-refusal.ts";

/**
 * Refuses unknown paths and verbs of the HTTP port, each in the protocol that the path belongs to.
 */
export function refuseUnknownPaths(app: FastifyInstance, invoke: Invoke, routes: readonly Route[]): void {
  refuseUnknownMethods(app, invoke);
  const known = [
    ...routes.map((route) => ({ verb: route.verb as string, pattern: patternOf(route.template) })),
    { verb: "GET", pattern: /^\/(healthz|readyz|openapi\.json)$/ },
  ];
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
}

function refuseUnknownMethods(app: FastifyInstance, invoke: Invoke): void {
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
}
