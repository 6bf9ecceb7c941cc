import type { DescMethod } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import type { FastifyRequest } from "fastify";
import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import type { Refusal } from "../../domain/failure.ts";
import { quoted } from "../../domain/text.ts";
import { grpcTimeoutMs } from "../grpc-timeout.ts";
import { TRANSPORT_LIMITS } from "../limits.ts";

/** A call as Connect's handlers take it, always a POST, or its refusal before decoding. */
export type RpcRequest = {
  readonly type: string;
  readonly header: Headers;
  readonly body: Buffer;
  readonly refusal: Refusal | undefined;
};

/** Whether a method can be called by GET: it has no side effects. */
export function isByGet(desc: DescMethod): boolean {
  return desc.methodKind === "unary" && desc.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
}

/**
 * Reads a call's headers, and removes those that Connect would refuse without our error details.
 */
export function readRequest(request: FastifyRequest, received: Buffer): RpcRequest {
  const header = new Headers();
  for (const [name, value] of Object.entries(request.headers)) if (typeof value === "string") header.set(name, value);
  // The body is passed on whole or replaced, so its announced length no longer applies.
  header.delete("content-length");
  const { type, body, refusal } = request.method === "POST" ? fromBody(request, received) : fromQuery(request, header);
  const encoding = encodingHeader(type);
  const compression = header.get(encoding) ?? "identity";
  header.delete(encoding);
  const badTimeout = capTimeout(header);
  return {
    type,
    header,
    body,
    refusal: refusal ?? (compression === "identity" ? badTimeout : unsupportedCompression(encoding, compression)),
  };
}

type Content = Pick<RpcRequest, "type" | "body" | "refusal">;

function fromBody(request: FastifyRequest, body: Buffer): Content {
  return { type: request.headers["content-type"] ?? "", body, refusal: undefined };
}

/** The message in the query of a GET. */
function fromQuery(request: FastifyRequest, header: Headers): Content {
  const query = new URLSearchParams(/\?(.*)$/s.exec(request.raw.url ?? "")?.[1]);
  const encoding = query.get("encoding") ?? "";
  const type = encoding === "json" || encoding === "proto" ? `application/${encoding}` : "";
  header.set("content-type", type);
  header.delete("content-encoding");
  const compression = query.get("compression");
  if (compression !== null && compression !== "") header.set("content-encoding", compression);
  const message = query.get("message") ?? "";
  const isBase64 = query.get("base64") === "1";
  if (isBase64 && !BASE64.test(message)) return { type, body: Buffer.alloc(0), refusal: NOT_BASE64 };
  return { type, body: Buffer.from(message, isBase64 ? "base64" : "utf8"), refusal: undefined };
}

const BASE64 = /^[\w+/-]*={0,2}$/;
const NOT_BASE64: Refusal = {
  reason: ErrorReason.MALFORMED_MESSAGE,
  detail: "The parameter `message` is not base64 although `base64=1` is set; encode it, or leave `base64` out.",
};

/** The header in which a protocol names the compression of its messages. */
function encodingHeader(type: string): string {
  if (type.startsWith("application/grpc")) return "grpc-encoding";
  return type.startsWith("application/connect") ? "connect-content-encoding" : "content-encoding";
}

function unsupportedCompression(header: string, compression: string): Refusal {
  return {
    reason: ErrorReason.NOT_IMPLEMENTED,
    detail: `The compression ${quoted(compression)} in \`${header}\` is not supported; send the message without compression.`,
  };
}

/** Caps the deadline in a call's headers; gives the refusal of a malformed one. */
function capTimeout(header: Headers): Refusal | undefined {
  const connect = header.get("connect-timeout-ms");
  const grpc = header.get("grpc-timeout");
  if (connect !== null) {
    header.set("connect-timeout-ms", String(Math.min(Number(connect) || 0, TRANSPORT_LIMITS.deadlineMs)));
    if (!/^\d{1,10}$/.test(connect))
      return malformedTimeout("`connect-timeout-ms` must be milliseconds, at most 10 digits.");
  }
  if (grpc !== null) {
    const timeoutMs = grpcTimeoutMs(grpc);
    if ((timeoutMs ?? Number.POSITIVE_INFINITY) > TRANSPORT_LIMITS.deadlineMs)
      header.set("grpc-timeout", `${TRANSPORT_LIMITS.deadlineMs}m`);
    if (timeoutMs === undefined)
      return malformedTimeout("`grpc-timeout` must be at most 8 digits and a unit, such as 20S.");
  }
  return undefined;
}

function malformedTimeout(detail: string): Refusal {
  return { reason: ErrorReason.BAD_REQUEST, detail };
}
