import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import type { Server, ServerInterceptingCallInterface } from "@grpc/grpc-js";
import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import type { Refusal } from "../../domain/failure.ts";
import { LIMITS } from "../../domain/limits.ts";
import { grpcTimeoutMs } from "../grpc-timeout.ts";
import { UNKNOWN_METHOD } from "../transport-refusal.ts";
import { statusOf } from "./status.ts";

type PartialStatusObject = Parameters<ServerInterceptingCallInterface["sendStatus"]>[0];

/** What the library ends calls with by itself: gRPC's code, its words, and what the caller is told instead. */
const STATUSES: readonly (readonly [code: number, words: RegExp, refusal: Refusal])[] = [
  [
    4,
    /./,
    {
      reason: ErrorReason.TIMEOUT,
      detail: "The deadline passed before the call ended; repeat it with the same idempotency key and a longer one.",
    },
  ],
  [
    8,
    /^Received message/,
    {
      reason: ErrorReason.REQUEST_TOO_LARGE,
      detail: `The message is larger than ${LIMITS.requestBytes / 1024} KiB; make it smaller.`,
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
    { reason: ErrorReason.MALFORMED_MESSAGE, detail: "The call takes one request; send exactly one." },
  ],
  [
    13,
    /^Failed to decompress/,
    {
      reason: ErrorReason.MALFORMED_MESSAGE,
      detail: "The message is not compressed as `grpc-encoding` says; rebuild the client from our protos.",
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
  [13, /./, { reason: ErrorReason.INTERNAL, detail: "Something went wrong here; try again with an idempotency key." }],
];

/**
 * Lets the library's own statuses of a call carry our details: its base call sends them past all interceptors, by its own method, which
 * is replaced.
 */
export function addDetails(call: ServerInterceptingCallInterface): void {
  const send = call.sendStatus.bind(call);
  call.sendStatus = (status) => send(withDetails(status));
}

function withDetails(status: PartialStatusObject): PartialStatusObject {
  const { code, details, metadata } = status;
  if (metadata && metadata.get("grpc-status-details-bin").length > 0) return status;
  const found = STATUSES.find(([known, words]) => known === code && words.test(details ?? ""));
  return found === undefined ? status : statusOf(found[2]);
}

/** What of the library's server is replaced, none of which it offers. */
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

/** Lets calls of unknown methods be refused with our details. `onRefused` is told of each. */
export function refuseUnknownMethods(server: Server, onRefused: (refusal: Refusal) => void): void {
  const internals = server as unknown as Internals;
  const respond = internals._respondWithError.bind(server);
  internals._respondWithError = (error, stream, session) => {
    onRefused(UNKNOWN_METHOD);
    respond({ ...error, ...statusOf(UNKNOWN_METHOD) }, stream, session);
  };
}

/** The longest deadline of a stream, milliseconds: Node's timers hold little more. */
const MAX_STREAM_DEADLINE = 24 * 24 * 3_600_000;

/**
 * Looks at the headers of calls before the library does: caps deadlines, which it would let overflow into the past, and makes more than
 * one Authorization header unusable, of which Node shows only the first.
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
        const cap = unaryPaths.has(headers[":path"] as string) ? LIMITS.deadlineMs : MAX_STREAM_DEADLINE;
        headers["grpc-timeout"] = capped(String(timeout), cap);
      }
      handle(interceptors, stream, headers);
    };
  }
}

/** What is no timeout becomes one that the library refuses; it would take the last digits of too many. */
function capped(timeout: string, cap: number): string {
  const timeoutMs = grpcTimeoutMs(timeout);
  if (timeoutMs === undefined) return "none";
  return timeoutMs > cap ? `${cap / 1000}S` : timeout;
}
