import { constants, type ServerHttp2Stream } from "node:http2";
import type { ServerInterceptingCallInterface } from "@grpc/grpc-js";
import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import type { Refusal } from "../../domain/failure.ts";
import { LIMITS } from "../../domain/limits.ts";
import { statusOf } from "./status.ts";

const TOO_SLOW: Refusal = { reason: ErrorReason.TIMEOUT, detail: "The request did not arrive in time." };
const TOO_LONG: Refusal = {
  reason: ErrorReason.UNAVAILABLE,
  detail: "The stream was open for as long as one without a key may be; open another.",
};

/** What happens to a call, for its timers. */
export type CallTimers = {
  readonly onMessage: () => void;
  /** The client has sent its whole request. */
  readonly onHalfClose: () => void;
  /** The call was answered, or its client left. */
  readonly onEnd: () => void;
};

/**
 * The timers of a call, begun by its headers: one for the body of a unary request, one for a stream without a request, one for the
 * life of a stream that needs no key, and one for the rest of a request that was answered, whose stream is then reset.
 */
export function createCallTimers(
  call: ServerInterceptingCallInterface,
  { requestStream, responseStream }: { readonly requestStream: boolean; readonly responseStream: boolean },
  isPublic: boolean,
): CallTimers {
  let hasWholeRequest = false;
  const after = (timeoutMs: number, refusal: Refusal) =>
    setTimeout(() => call.sendStatus(statusOf(refusal)), timeoutMs).unref();
  const idleTime = !requestStream ? LIMITS.bodyTimeoutMs : isPublic ? LIMITS.publicStreamIdleMs : LIMITS.streamIdleMs;
  const idle = after(idleTime, TOO_SLOW);
  const life = isPublic && responseStream ? after(LIMITS.publicStreamMs, TOO_LONG) : undefined;
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

/** Resets the stream of a call that was answered before its request had ended, unless the client ends it soon. */
function resetLater(call: ServerInterceptingCallInterface): void {
  // The library keeps it to itself, and would read the rest of the request for as long as it comes.
  const { stream } = call as unknown as { readonly stream: ServerHttp2Stream };
  if (stream.destroyed || stream.closed) return;
  const late = setTimeout(() => stream.close(constants.NGHTTP2_NO_ERROR), LIMITS.answeredBodyTimeoutMs);
  late.unref();
  stream.once("close", () => clearTimeout(late));
}
