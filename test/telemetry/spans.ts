import { AsyncLocalStorage } from "node:async_hooks";
import {
  type Context,
  type ContextManager,
  context,
  type Link,
  ROOT_CONTEXT,
  type Span,
  type SpanOptions,
  type TimeInput,
  type Tracer,
  trace,
} from "@opentelemetry/api";

/** An ended span, as an exporter gets it. */
export type EndedSpan = {
  readonly name: string;
  readonly spanId: string;
  readonly traceId: string;
  readonly parentSpanId: string | undefined;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly events: readonly string[];
  /** The ids of the spans it links to. */
  readonly links: readonly string[];
  readonly startTime: TimeInput | undefined;
};

/** Registers a tracer provider that keeps every ended span in memory. */
export function keepSpans(): EndedSpan[] {
  const ended: EndedSpan[] = [];
  let made = 0;
  const nextId = (length: number) => {
    made += 1;
    return made.toString(16).padStart(length, "0");
  };

  const startSpan = (name: string, options: SpanOptions = {}, from: Context = context.active()): Span => {
    const parent = options.root === true ? undefined : trace.getSpanContext(from);
    const spanContext = { traceId: parent?.traceId ?? nextId(32), spanId: nextId(16), traceFlags: 1 };
    const attributes: Record<string, unknown> = { ...options.attributes };
    const events: string[] = [];
    const links: Link[] = [...(options.links ?? [])];
    const span: Span = {
      spanContext: () => spanContext,
      setAttribute: (key, value) => {
        attributes[key] = value;
        return span;
      },
      setAttributes: (given) => {
        Object.assign(attributes, given);
        return span;
      },
      addEvent: (event) => {
        events.push(event);
        return span;
      },
      addLink: (link) => {
        links.push(link);
        return span;
      },
      addLinks: (given) => {
        links.push(...given);
        return span;
      },
      setStatus: () => span,
      updateName: () => span,
      end: () => {
        const linked = links.map((link) => link.context.spanId);
        const { startTime } = options;
        ended.push({
          name,
          ...spanContext,
          parentSpanId: parent?.spanId,
          attributes,
          events,
          links: linked,
          startTime,
        });
      },
      isRecording: () => true,
      recordException: () => {},
    };
    return span;
  };

  trace.setGlobalTracerProvider({ getTracer: () => ({ startSpan }) as Tracer });
  return ended;
}

/** Registers a context manager, by which a call's span stays active in what the call awaits. */
export function keepContexts(): void {
  const storage = new AsyncLocalStorage<Context>();
  const manager: ContextManager = {
    active: () => storage.getStore() ?? ROOT_CONTEXT,
    with: (active, run, thisArg, ...args) => storage.run(active, () => run.apply(thisArg, args)),
    bind: (_active, target) => target,
    enable: () => manager,
    disable: () => manager,
  };
  context.setGlobalContextManager(manager);
}
