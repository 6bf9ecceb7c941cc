import {
  type Context,
  context,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  type SpanOptions,
  SpanStatusCode,
  trace,
} from "@opentelemetry/api";
import type { AppliedReport, CarrierReport } from "../domain/carrier-report.ts";
import { ATTRIBUTES, isTracing, SPANS, safely, spanOptions, TRACER } from "./spans.ts";

/** Messages whose calls are known, at most; beyond it the oldest is forgotten. */
const MAX_MESSAGES = 10_000;

/**
 * The spans of the calls that accepted messages, by message: one map for the process, as the tracer
 * provider of OpenTelemetry is.
 */
const callOfMessage = new Map<string, SpanContext>();

/** The span of the running call; undefined: it has none. */
export function runningCall(): SpanContext | undefined {
  return isTracing() ? trace.getActiveSpan()?.spanContext() : undefined;
}

/** Remembers the call that accepted a message, for the spans of its submits and reports. */
export function rememberCall(messageId: string, call: SpanContext): void {
  callOfMessage.set(messageId, call);
  const [oldest] = callOfMessage.keys();
  if (callOfMessage.size > MAX_MESSAGES && oldest !== undefined) callOfMessage.delete(oldest);
}

/**
 * Runs a transaction that accepts messages inside a span linked to the calls in it. `run` receives a
 * function that marks the moment of the decision.
 */
export async function traceAccept<Result>(
  calls: readonly (SpanContext | undefined)[],
  run: (markDecided: () => void) => Promise<Result>,
): Promise<Result> {
  if (!isTracing()) return run(() => {});
  // The items of a stream share the span of their call.
  const links = [...new Set(calls)].flatMap((call) => (call === undefined ? [] : [{ context: call }]));
  const options = spanOptions("accept", { [ATTRIBUTES.calls]: calls.length }, links);
  return inSpan("accept", options, (span) => run(() => safely(() => span?.addEvent("decided"))));
}

/** Runs a submit inside a span linked to the call that accepted the message, if it is known. */
export async function traceSubmit<Answer extends { readonly kind: string }>(
  { id, carrier }: { readonly id: string; readonly carrier: string },
  run: () => Promise<Answer>,
): Promise<Answer> {
  if (!isTracing()) return run();
  const attributes = { [ATTRIBUTES.messageId]: id, [ATTRIBUTES.carrier]: carrier };
  return inSpan("submit", spanOptions("submit", attributes, linksOf(id)), async (span) => {
    const answer = await run();
    safely(() => {
      span?.setAttribute(ATTRIBUTES.report, answer.kind);
      if (answer.kind === "submit_unconfirmed") span?.setStatus({ code: SpanStatusCode.ERROR });
    });
    return answer;
  });
}

/** Runs background work inside a span of its own; undefined: the span could not be started. */
async function inSpan<Result>(
  key: "accept" | "submit",
  options: SpanOptions,
  run: (span: Span | undefined) => Promise<Result>,
): Promise<Result> {
  const span = safely(() => TRACER.startSpan(SPANS[key].name, options, ROOT_CONTEXT));
  if (span === undefined) return run(undefined);
  try {
    return await context.with(trace.setSpan(ROOT_CONTEXT, span), () => run(span));
  } catch (error) {
    safely(() => span.setStatus({ code: SpanStatusCode.ERROR }));
    throw error;
  } finally {
    safely(() => span.end());
  }
}

/**
 * Applies a carrier's report, and makes a span of it that is linked to the call that accepted the
 * message, if it is known.
 */
export function traceReport(report: CarrierReport, apply: () => Promise<AppliedReport>): Promise<AppliedReport> {
  return traceReportIn(undefined, report, apply);
}

/** Like `traceReport`, for a report of the running call, of whose span it becomes a child. */
export function traceReportOfCall(report: CarrierReport, apply: () => Promise<AppliedReport>): Promise<AppliedReport> {
  return traceReportIn(context.active(), report, apply);
}

async function traceReportIn(
  parent: Context | undefined,
  { report, target, carrier }: CarrierReport,
  apply: () => Promise<AppliedReport>,
): Promise<AppliedReport> {
  if (!isTracing()) return apply();
  const startTime = performance.now();
  const applied = await apply();
  // A receipt names its message by the carrier's id, so the message is known only now.
  const { messageId } = applied;
  const attributes = {
    [ATTRIBUTES.report]: report.kind,
    [ATTRIBUTES.carrier]: "carrier" in target ? target.carrier : (carrier ?? ""),
    ...(messageId !== undefined && { [ATTRIBUTES.messageId]: messageId }),
  };
  const links = messageId === undefined ? [] : linksOf(messageId);
  const options = { ...spanOptions("report", attributes, links, parent), startTime };
  safely(() => TRACER.startSpan(SPANS.report.name, options, parent ?? ROOT_CONTEXT).end());
  return applied;
}

function linksOf(messageId: string) {
  const call = callOfMessage.get(messageId);
  return call === undefined ? [] : [{ context: call }];
}
