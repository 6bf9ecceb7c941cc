import { constants, type ServerHttp2Stream } from "node:http2";
import type { ServerInterceptingCallInterface } from "@grpc/grpc-js";
import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import type { Refusal } from "../../domain/failure.ts";
import { TRANSPORT_LIMITS } from "../limits.ts";
import { statusOf } from "./status.ts";

const TOO_SLOW: Refusal = { reason: ErrorReason.TIMEOUT, detail: "The request did not arrive in time." };
const TOO_LONG: Refusal = {
  reason: ErrorReason.UNAVAILABLE,
  detail: "The stream reached the longest duration of a stream without a key; open another.",
};

/** The events of a call that start and stop its timers. */
export type CallTimers = {
  readonly onMessage: () => void;
  /** The client has sent its whole request. */
  readonly onHalfClose: () => void;
  /** The call has its response, or its client cancelled it. */
  readonly onEnd: () => void;
};

/**
 * The timers of a call, started by its headers: for the body of a unary request, for an idle stream,
 * for the duration of a stream without a key, and for the rest of a request after its response,
 * when the stream is reset.
 */
export function createCallTimers(
  call: ServerInterceptingCallInterface,
  { requestStream, responseStream }: { readonly requestStream: boolean; readonly responseStream: boolean },
  isPublic: boolean,
): CallTimers {
  let hasWholeRequest = false;
  const after = (timeoutMs: number, refusal: Refusal) =>
    setTimeout(() => call.sendStatus(statusOf(refusal)), timeoutMs).unref();
  const idleMs = !requestStream
    ? TRANSPORT_LIMITS.bodyTimeoutMs
    : isPublic
      ? TRANSPORT_LIMITS.publicStreamIdleMs
      : TRANSPORT_LIMITS.streamIdleMs;
  const idle = after(idleMs, TOO_SLOW);
  const life = isPublic && responseStream ? after(TRANSPORT_LIMITS.publicStreamMs, TOO_LONG) : undefined;
  return {
    onMessage: () => {
      if (requestStream) idle.refresh();
    },
    onHalfClose: () => {
      hasWholeRequest = true;
      clearTimeout(idle);
    },
    onEnd: () => {
      clearTimeout(idle);
      clearTimeout(life);
      if (!hasWholeRequest) resetLater(call);
    },
  };
}

/**
 * Resets the stream of a call answered before the end of its request, unless the client ends it
 * soon.
 */
function resetLater(call: ServerInterceptingCallInterface): void {
  // grpc-js does not expose the stream, and would read the rest of the request without end.
  const { stream } = call as unknown as { readonly stream: ServerHttp2Stream };
  if (stream.destroyed || stream.closed) return;
  const reset = setTimeout(() => stream.close(constants.NGHTTP2_NO_ERROR), TRANSPORT_LIMITS.answeredBodyTimeoutMs);
  reset.unref();
  stream.once("close", () => clearTimeout(reset));
}
