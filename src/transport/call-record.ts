import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import { reasonName } from "../domain/error-form.ts";
import { Failure, type Refusal } from "../domain/failure.ts";
import type { CallObserver } from "../telemetry/call-metrics.ts";
import { traceIdOf } from "../telemetry/call-span.ts";
import type { Log, LogFields } from "../telemetry/log.ts";
import type { TransportCall, TransportName } from "./call.ts";
import type { Method } from "./method.ts";

/** An ended call, as its record has it. */
export type EndedCall = {
  readonly transport: TransportName;
  readonly method: Method | undefined;
  /** Undefined: the call succeeded. */
  readonly refusal: Refusal | undefined;
  readonly durationMs: number;
  /** Undefined for a call that a transport refused itself. */
  readonly call: Pick<TransportCall, "caller" | "header"> | undefined;
};

/** Writes one log line and one observation for an ended call. */
export function createCallRecord(log: Log, observe: CallObserver): (ended: EndedCall) => void {
  return ({ transport, method, refusal, durationMs, call }) => {
    const code = codeOf(refusal);
    observe({ method: method?.path ?? "", transport, code, seconds: durationMs / 1000 });
    const fields: LogFields = {
      event: "call_ended",
      transport,
      rpc_method: method?.path,
      code,
      duration_ms: Math.round(durationMs * 1000) / 1000,
      organization_id: call?.caller.organizationId,
      api_key_id: call?.caller.apiKeyId,
      trace_id: call && traceIdOf(call.header),
    };
    log.info(fields, "call ended");
  };
}

/** "OK", or the name of a refusal's reason. */
export function codeOf(refusal: Refusal | undefined): string {
  return refusal === undefined ? "OK" : reasonName(refusal.reason);
}

/**
 * The refusal for an error: a failure's own, or INTERNAL without details for a bug, which it logs.
 */
export function refusalOfError(log: Log, method: Method, error: unknown): Refusal {
  if (!(error instanceof Failure)) {
    log.error({ event: "call_failed", rpc_method: method.path, err: error }, "call failed unexpectedly");
    return INTERNAL;
  }
  if (error.cause !== undefined) {
    log.error({ event: "call_failed", rpc_method: method.path, err: error.cause }, "call failed");
  }
  return error.refusal;
}

const INTERNAL: Refusal = {
  reason: ErrorReason.INTERNAL,
  detail:
    "Internal error; nothing was accepted. Try again with an idempotency key, and report the error if it persists.",
};
