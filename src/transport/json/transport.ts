import { readFileSync } from "node:fs";
import { create, type Message } from "@bufbuild/protobuf";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import { failure, type Refusal } from "../../domain/failure.ts";
import type { Admit } from "../admission.ts";
import { authorizationOf, type Caller } from "../authentication.ts";
import { CANCELLED } from "../call.ts";
import type { Invoke } from "../invoke.ts";
import { transportRefusal, unsupportedEncoding } from "../transport-refusal.ts";
import { parseBody } from "./body.ts";
import { decodeInto, type JsonObject, maskOf, refuseNulls, refuseUnknownQuery } from "./decode.ts";
import { jsonEncoderOf } from "./encode.ts";
import { errorResponse } from "./errors.ts";
import { parseQuery, restorePlus } from "./query.ts";
import { pathsNotImplemented, type Route, routesOf, type Verb } from "./routes.ts";

/**
 * Mounts the JSON routes of the contract and their OpenAPI document on the HTTP port; gives the
 * routes.
 */
export function mountJson(app: FastifyInstance, parts: { invoke: Invoke; admit: Admit }): readonly Route[] {
  const { invoke, admit } = parts;
  const routes = routesOf(invoke.methods);
  app.decorateRequest("caller", null);
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("application/json", { parseAs: "buffer" }, (_request, body, done) => done(null, body));

  for (const route of routes) {
    app.route({
      method: route.verb,
      url: route.template.replaceAll(/\{(\w+)\}/g, ":$1"),
      bodyLimit: route.method.maxBytes,
      onRequest: (request, reply, done) => {
        const admitted = admit(authorizationOf(request.raw));
        if ("caller" in admitted) {
          (request as unknown as Authenticated).caller = admitted.caller;
          const encoding = request.headers["content-encoding"];
          if (!hasBody(request)) {
            // Fastify checks the content type even of an empty body.
            delete request.headers["content-type"];
          } else if (encoding !== undefined && encoding !== "identity") {
            const refusal = unsupportedEncoding("Content-Encoding", encoding);
            invoke.recordRefusal("json", route.method, refusal);
            refuse(reply.header("accept-encoding", "identity"), refusal, route);
            return;
          }
          done();
          return;
        }
        invoke.recordRefusal("json", route.method, admitted.refusal);
        refuse(reply, admitted.refusal);
      },
      handler: handlerOf(route, invoke),
      errorHandler: (error, _request, reply) => {
        const refusal = transportRefusal(error, route.method.maxBytes);
        invoke.recordRefusal("json", route.method, refusal);
        refuse(reply, refusal, route);
      },
    });
  }
  for (const { verb, template } of pathsNotImplemented(invoke.methods)) {
    app.route({
      method: verb,
      url: template.replaceAll(/\{(\w+)\}/g, ":$1"),
      // Before the body is read.
      onRequest: (request, reply) => {
        const admitted = admit(authorizationOf(request.raw));
        const refusal = "caller" in admitted ? notImplemented(verb, template) : admitted.refusal;
        invoke.recordRefusal("json", undefined, refusal);
        refuse(reply, refusal);
      },
      handler: () => {},
    });
  }
  const document = readFileSync(new URL("../../../gen/openapi.json", import.meta.url));
  app.get("/openapi.json", (_request, reply) => reply.type("application/json").send(document));
  return routes;
}

function notImplemented(verb: Verb, template: string): Refusal {
  return {
    reason: ErrorReason.NOT_IMPLEMENTED,
    detail: `${verb} ${template} is not implemented in this release.`,
  };
}

function hasBody({ method, headers }: FastifyRequest): boolean {
  if (method === "GET" || method === "HEAD") return false;
  return headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0;
}

type Authenticated = { caller: Caller };

function handlerOf(route: Route, invoke: Invoke) {
  const encode = jsonEncoderOf(route.method.desc.output);
  const inner = route.method.desc.output.fields.find((field) => field.name === route.responseBody);
  const encodeInner = inner?.message === undefined ? undefined : jsonEncoderOf(inner.message);
  const encodeResponse =
    inner === undefined || encodeInner === undefined
      ? encode
      : (response: Message) =>
          encodeInner((response as unknown as Record<string, Message>)[inner.localName] as Message);

  return async (request: FastifyRequest, reply: FastifyReply) => {
    const body = request.body as Buffer | undefined;
    const outcome = await invoke.unary(route.method, {
      transport: "json",
      caller: (request as unknown as Authenticated).caller,
      header: (name) => {
        const value = request.headers[name];
        return Array.isArray(value) ? value.join(", ") : value;
      },
      deadlineMs: Number.POSITIVE_INFINITY,
      isCancelled: () => request.raw.socket.destroyed,
      onCancelled: (listener) => {
        reply.raw.once("close", () => {
          if (!reply.raw.writableFinished) listener();
        });
      },
      bytes: body?.length ?? 0,
      decode: () => decodeRequest(route, request, body),
    });
    if ("refusal" in outcome) {
      return outcome.refusal === CANCELLED ? reply.hijack() : refuse(reply, outcome.refusal, route);
    }
    for (const [name, value] of outcome.headers) reply.header(name, value);
    return reply.type("application/json").send(encodeResponse(outcome.response));
  };
}

/** The method's request from body, query and path; the path overrides the others. */
function decodeRequest(route: Route, request: FastifyRequest, body: Buffer | undefined): Message {
  const { input } = route.method.desc;
  const message = create(input) as Message & Record<string, unknown>;
  if (route.body !== undefined) {
    const json = route.needsBody || (body?.length ?? 0) > 0 ? parseBody(body) : {};
    const field = input.fields.find(({ name }) => name === route.body);
    if (field?.message === undefined) decodeInto(input, message, json, "body");
    else {
      const content = create(field.message);
      decodeInto(field.message, content, json, "body");
      if (route.mask !== undefined) refuseNulls(field.message, json);
      message[field.localName] = content;
      if (route.mask !== undefined) message[route.mask] = { $typeName: MASK, paths: maskOf(field.message, json) };
    }
  } else {
    const query = restorePlus(parseQuery((request.query as { text: string }).text));
    if (route.isList) refuseUnknownQuery(input, query);
    decodeInto(input, message, query, "text");
  }
  decodeInto(input, message, request.params as JsonObject, "text");
  if (route.required !== undefined && (message[route.required.localName] ?? "") === "") {
    const { name } = route.required;
    throw failure(ErrorReason.MISSING_PARAMETER, `${name} is required on this path.`, `/${name}`);
  }
  return message;
}

const MASK = "google.protobuf.FieldMask";

/** Answers with a refusal in the documented form; without a route, one of the port itself. */
export function refuse(reply: FastifyReply, refusal: Refusal, route?: Route): FastifyReply {
  const hasBody = route === undefined || route.body !== undefined;
  const { status, headers, body } = errorResponse(refusal, { hasBody, bodyField: route?.body });
  return reply.code(status).headers(headers).type("application/json").send(body);
}
