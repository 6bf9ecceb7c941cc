import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import { clientAttempt } from "../domain/client-attempt.ts";
import { Failure, type Refusal } from "../domain/failure.ts";
import type { Call } from "../service/call.ts";
import type { Caller } from "./authentication.ts";
import type { InvokableMethod } from "./method.ts";
import { refusalOfItem } from "./refused-item.ts";
import { requestCheckOf } from "./request-checks.ts";

/** The transports of calls, by their names in logs and metrics. */
export type TransportName = "grpc" | "connect" | "json";

/** An authenticated call, as a transport passes it on. */
export type TransportCall = {
  readonly transport: TransportName;
  readonly caller: Caller;
  readonly header: (name: string) => string | undefined;
  /** The deadline by the monotonic clock; Infinity: none. */
  readonly deadlineMs: number;
  /** Whether the caller has cancelled the call or closed its connection. */
  readonly isCancelled: () => boolean;
  /** Calls the listener when the caller cancels the call or closes its connection. */
  readonly onCancelled: (listener: () => void) => void;
};

/** The refusal of a call whose caller cancelled it or closed its connection. */
export const CANCELLED: Refusal = {
  reason: ErrorReason.CANCELLED,
  detail: "The caller cancelled the call before it ran; nothing was accepted.",
};

/** The refusal of a call whose deadline passed before it ran. */
export const DEADLINE_PASSED: Refusal = {
  reason: ErrorReason.TIMEOUT,
  detail: "The deadline passed before the call ran; nothing was accepted. Set a longer deadline.",
};

/** The refusal that ends a stream when the server drains. */
export const DRAINING: Refusal = {
  reason: ErrorReason.UNAVAILABLE,
  detail: "The server is shutting down; requests without a response were not accepted. Open another stream.",
  retryAfterMs: 1000,
};

/**
 * Why the caller of a call no longer waits; undefined while it waits. Timers may fire late, so this
 * compares the deadline itself.
 */
export function abandonedBecause({ deadlineMs, isCancelled }: TransportCall): Refusal | undefined {
  if (performance.now() >= deadlineMs) return DEADLINE_PASSED;
  return isCancelled() ? CANCELLED : undefined;
}

/** The call for a service method, and the release of what its signal holds. */
export function serviceCall(
  method: InvokableMethod,
  from: TransportCall,
  draining: AbortSignal,
): { readonly call: Call; readonly release: () => void } {
  const { caller, header } = from;
  // A key belongs to one message, so the header of a stream has none.
  const hasKey = method.acceptsMessages && method.unary !== undefined;
  let watched: WatchedSignal | undefined;
  const call: Call = {
    organizationId: caller.organizationId,
    apiKeyId: caller.apiKeyId,
    idempotencyKey: hasKey ? header("idempotency-key") : undefined,
    // The official client uses no other transport.
    attempt:
      hasKey && from.transport === "json"
        ? clientAttempt(header("x-stainless-retry-count"), header("x-stainless-timeout"))
        : undefined,
    check: (desc, message) => refusalOfItem(message) ?? requestCheckOf(desc)(message, "")?.refusal,
    // Few methods read it, so that most calls need no controller and no timer.
    get signal() {
      watched ??= watchedSignal(from, draining);
      return watched.signal;
    },
    abandoned: () => abandonedBecause(from),
    responseHeaders: new Map(),
  };
  return { call, release: () => watched?.release() };
}

type WatchedSignal = { readonly signal: AbortSignal; readonly release: () => void };

/** The longest delay of Node's timers. */
const MAX_TIMER_MS = 2 ** 31 - 1;

function watchedSignal(from: TransportCall, draining: AbortSignal): WatchedSignal {
  const controller = new AbortController();
  const abort = (refusal: Refusal) => controller.abort(new Failure(refusal));
  const onDrain = () => abort(DRAINING);
  const remainingMs = Math.max(0, from.deadlineMs - performance.now());
  const timer = remainingMs < MAX_TIMER_MS ? setTimeout(() => abort(DEADLINE_PASSED), remainingMs) : undefined;
  timer?.unref();
  from.onCancelled(() => abort(abandonedBecause(from) ?? CANCELLED));
  draining.addEventListener("abort", onDrain, { once: true });
  const abandoned = abandonedBecause(from);
  if (abandoned !== undefined) abort(abandoned);
  else if (draining.aborted) onDrain();
  return {
    signal: controller.signal,
    release: () => {
      clearTimeout(timer);
      draining.removeEventListener("abort", onDrain);
    },
  };
}
