import {
  type Attributes,
  type Context,
  diag,
  type Link,
  ProxyTracerProvider,
  SpanKind,
  trace,
} from "@opentelemetry/api";

/** Every span by its key; the span of a call is named after its method. */
export const SPANS = {
  accept: { name: "numberpool.accept", kind: SpanKind.INTERNAL },
  submit: { name: "numberpool.submit", kind: SpanKind.CLIENT },
  report: { name: "numberpool.report", kind: SpanKind.INTERNAL },
} as const;

/** Every attribute of spans by its key. */
export const ATTRIBUTES = {
  method: "rpc.method",
  code: "numberpool.code",
  calls: "numberpool.calls",
  messageId: "numberpool.message_id",
  carrier: "numberpool.carrier",
  /** The kind of a carrier's answer or report. */
  report: "numberpool.report",
} as const;

/** The tracer of every span of Numberpool. */
export const TRACER = trace.getTracer("numberpool");

/** Whether an OpenTelemetry SDK is loaded; without one no span is made. */
export function isTracing(): boolean {
  const provider = trace.getTracerProvider();
  return !(provider instanceof ProxyTracerProvider) || provider.getDelegateTracer("numberpool") !== undefined;
}

/** Runs a step of tracing. It must not fail what it traces, so an error goes to OpenTelemetry's log alone. */
export function safely<Result>(step: () => Result): Result | undefined {
  try {
    return step();
  } catch (error) {
    diag.error("tracing failed", error);
    return undefined;
  }
}

/** The options of a span of background work: its parent, if any, is given and never found by chance. */
export function spanOptions(key: keyof typeof SPANS, attributes: Attributes, links: Link[], parent?: Context) {
  // Background work runs in the context of whichever call set its timer.
  return { kind: SPANS[key].kind, attributes, links, root: parent === undefined };
}
