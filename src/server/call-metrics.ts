import { Counter, Histogram, type Registry } from "prom-client";
import type { CallObserver } from "../transport/call-record.ts";
import { DURATION_BUCKETS_SECONDS } from "./duration-buckets.ts";

/** Adds the metrics of calls to a registry, and gives their observer. */
export function createCallMetrics(registry: Registry): CallObserver {
  const registers = [registry];
  const calls = new Counter({
    name: "numberpool_calls_total",
    help: "Calls, by method, transport and outcome.",
    labelNames: ["method", "transport", "code"],
    registers,
  });
  const callSeconds = new Histogram({
    name: "numberpool_call_duration_seconds",
    help: "Time from a call's decoding to its outcome.",
    labelNames: ["method", "transport"],
    buckets: DURATION_BUCKETS_SECONDS,
    registers,
  });
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
