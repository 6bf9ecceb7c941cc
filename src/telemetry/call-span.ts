import { context, propagation, SpanKind, SpanStatusCode, type TextMapGetter, trace } from "@opentelemetry/api";
import { ATTRIBUTES, isTracing, safely, TRACER } from "./spans.ts";

const TRACEPARENT = /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$/;

type HeaderOf = (name: string) => string | undefined;

const GETTER: TextMapGetter<HeaderOf> = {
  get: (header, name) => header(name.toLowerCase()),
  keys: () => [],
};

/**
 * Runs a call inside a span that continues the caller's trace (W3C traceparent). The OpenTelemetry
 * SDK that the operator loads exports the spans; without one this costs next to nothing.
 */
export function traced<Result>(
  method: string,
  header: HeaderOf,
  carryOut: () => Promise<Result>,
  codeOf: (result: Result) => string,
): Promise<Result> {
  if (!isTracing()) return carryOut();
  const parent = safely(() => propagation.extract(context.active(), header, GETTER)) ?? context.active();
  const options = { kind: SpanKind.SERVER, attributes: { [ATTRIBUTES.method]: method } };
  const span = safely(() => TRACER.startSpan(method.slice(1), options, parent));
  if (span === undefined) return carryOut();
  return context.with(trace.setSpan(parent, span), async () => {
    try {
      const result = await carryOut();
      safely(() => {
        const code = codeOf(result);
        span.setAttribute(ATTRIBUTES.code, code);
        if (code !== "OK") span.setStatus({ code: SpanStatusCode.ERROR });
      });
      return result;
    } finally {
      safely(() => span.end());
    }
  });
}

/** The caller's trace id (W3C traceparent), for the log; undefined without one. */
export function traceIdOf(header: HeaderOf): string | undefined {
  const traceparent = header("traceparent");
  return traceparent === undefined ? undefined : TRACEPARENT.exec(traceparent)?.[1];
}
