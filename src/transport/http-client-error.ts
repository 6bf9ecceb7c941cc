import type { Duplex } from "node:stream";
import type { FastifyInstance } from "fastify";
import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import type { Refusal } from "../domain/failure.ts";
import { errorResponse } from "./json/errors.ts";
import { TRANSPORT_LIMITS } from "./limits.ts";

type ClientError = Error & { readonly code?: string; readonly rawPacket?: unknown };

/**
 * Answers bytes that are not HTTP, too large, or too slow once, then closes the connection, or
 * destroys it if the client does not close its side. Other errors cannot be answered: a TLS
 * handshake that failed or timed out, a broken connection.
 */
export function answerClientError(this: FastifyInstance, error: ClientError, socket: Duplex): void {
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
