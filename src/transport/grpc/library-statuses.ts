import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import type { Server, ServerInterceptingCallInterface } from "@grpc/grpc-js";
import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import type { Refusal } from "../../domain/failure.ts";
import { grpcTimeoutMs } from "../grpc-timeout.ts";
import { TRANSPORT_LIMITS } from "../limits.ts";
import { UNKNOWN_METHOD } from "../transport-refusal.ts";
import { statusOf } from "./status.ts";

type PartialStatusObject = Parameters<ServerInterceptingCallInterface["sendStatus"]>[0];

/**
 * The statuses that grpc-js sends itself, by code and text, with the refusals that replace them.
 */
const STATUSES: readonly (readonly [code: number, text: RegExp, refusal: Refusal])[] = [
  [
    4,
    /./,
    {
      reason: ErrorReason.TIMEOUT,
      detail:
        "The deadline passed before the call ended; repeat it with the same idempotency key and a longer deadline.",
    },
  ],
  [
    8,
    /^Received message/,
    {
      reason: ErrorReason.REQUEST_TOO_LARGE,
      detail: `The message is larger than ${TRANSPORT_LIMITS.requestBytes / 1024} KiB; make it smaller.`,
    },
  ],
  [
    12,
    /unsupported encoding/,
    {
      reason: ErrorReason.NOT_IMPLEMENTED,
      detail: "The compression in `grpc-encoding` is not supported; use gzip, deflate or none.",
    },
  ],
  [
    12,
    /request message/,
    { reason: ErrorReason.MALFORMED_MESSAGE, detail: "The method accepts exactly one request; send one." },
  ],
  [
    13,
    /^Failed to decompress/,
    {
      reason: ErrorReason.MALFORMED_MESSAGE,
      detail: "The message does not decompress with its `grpc-encoding`; send it without compression.",
    },
  ],
  [
    13,
    /grpc-timeout/,
    {
      reason: ErrorReason.BAD_REQUEST,
      detail: "`grpc-timeout` must be at most 8 digits and one of the units H, M, S, m, u, n, such as 20S.",
    },
  ],
  [13, /./, { reason: ErrorReason.INTERNAL, detail: "Internal error; try again with an idempotency key." }],
];

/**
 * Adds our details to the statuses that grpc-js sends itself. Its base call bypasses all
 * interceptors, so its method is replaced.
 */
export function addDetails(call: ServerInterceptingCallInterface): void {
  const send = call.sendStatus.bind(call);
  call.sendStatus = (status) => send(withDetails(status));
}

function withDetails(status: PartialStatusObject): PartialStatusObject {
  const { code, details, metadata } = status;
  if (metadata && metadata.get("grpc-status-details-bin").length > 0) return status;
  const found = STATUSES.find(([known, text]) => known === code && text.test(details ?? ""));
  return found === undefined ? status : statusOf(found[2]);
}

/** The methods of grpc-js's server that are replaced; none of them is public. */
type Internals = {
  _respondWithError: (error: PartialStatusObject, stream: ServerHttp2Stream, session?: unknown) => void;
  _channelzHandler: StreamHandler;
  _streamHandler: StreamHandler;
};
type StreamHandler = (
  interceptors: unknown,
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  flags?: number,
  rawHeaders?: readonly string[],
) => void;

/** Refuses calls of unknown methods with our details; calls `onRefused` for each. */
export function refuseUnknownMethods(server: Server, onRefused: (refusal: Refusal) => void): void {
  const internals = server as unknown as Internals;
  const respond = internals._respondWithError.bind(server);
  internals._respondWithError = (error, stream, session) => {
    onRefused(UNKNOWN_METHOD);
    respond({ ...error, ...statusOf(UNKNOWN_METHOD) }, stream, session);
  };
}

/** The longest deadline of a stream: close to the maximum of Node's timers. */
const MAX_STREAM_DEADLINE_MS = 24 * 24 * 3_600_000;

/**
 * Checks the headers of calls before grpc-js does: caps deadlines, which would overflow into the
 * past, and invalidates repeated Authorization headers, of which Node shows only the first.
 */
export function checkHeaders(server: Server, unaryPaths: ReadonlySet<string>): void {
  const internals = server as unknown as Internals;
  for (const name of ["_channelzHandler", "_streamHandler"] as const) {
    const handle = internals[name].bind(server);
    internals[name] = (interceptors, stream, headers, _flags, rawHeaders = []) => {
      const keys = rawHeaders.filter((each, index) => index % 2 === 0 && each === "authorization");
      if (keys.length > 1) headers.authorization = "";
      const timeout = headers["grpc-timeout"];
      if (timeout !== undefined) {
        const maxMs = unaryPaths.has(headers[":path"] as string) ? TRANSPORT_LIMITS.deadlineMs : MAX_STREAM_DEADLINE_MS;
        headers["grpc-timeout"] = capped(String(timeout), maxMs);
      }
      handle(interceptors, stream, headers);
    };
  }
}

/**
 * A capped timeout. A malformed one becomes one that grpc-js refuses: it would read the end of too
 * many digits.
 */
function capped(timeout: string, maxMs: number): string {
  const timeoutMs = grpcTimeoutMs(timeout);
  if (timeoutMs === undefined) return "none";
  return timeoutMs > maxMs ? `${maxMs / 1000}S` : timeout;
}
