import type { Counter, Histogram, Registry } from "prom-client";
import { addCounter, addHistogram } from "./metric-table.ts";

/** Receives every ended call, for metrics. */
export type CallObserver = (call: {
  readonly method: string;
  readonly transport: string;
  /** "OK" or the reason's name. */
  readonly code: string;
  readonly seconds: number;
}) => void;

/** Adds the metrics of calls to a registry, and gives their observer. */
export function createCallMetrics(registry: Registry): CallObserver {
  const calls = addCounter(registry, "calls");
  const callSeconds = addHistogram(registry, "callSeconds");
  // The library hashes the labels at every lookup, which is slow at the rate of calls.
  const callSeries = new Map<
    string,
    { readonly count: Counter.Internal; readonly seconds: Histogram.Internal<string> }
  >();
  return ({ method, transport, code, seconds }) => {
    const key = `${method} ${transport} ${code}`;
    let series = callSeries.get(key);
    if (series === undefined) {
      series = { count: calls.labels(method, transport, code), seconds: callSeconds.labels(method, transport) };
      callSeries.set(key, series);
    }
    series.count.inc();
    series.seconds.observe(seconds);
  };
}
