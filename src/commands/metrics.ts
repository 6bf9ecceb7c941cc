import type { RequestListener } from "node:http";
import { Counter, Histogram, Registry } from "prom-client";
import type { CallObserver } from "../doors/invoke.ts";

/** The program's metrics, and the page that Prometheus reads. */
export type Metrics = { readonly observeCall: CallObserver; readonly handle: RequestListener };

/** Metrics of calls, by method, door and outcome. Labels come from the contract, never from a caller. */
export function createMetrics(): Metrics {
  const registry = new Registry();
  const calls = new Counter({
    name: "numberpool_calls_total",
    help: "Calls, by method, door and outcome.",
    labelNames: ["method", "door", "code"],
    registers: [registry],
  });
  const seconds = new Histogram({
    name: "numberpool_call_duration_seconds",
    help: "Time from a call's decoding to its outcome.",
    labelNames: ["method", "door"],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
    registers: [registry],
  });
  return {
    observeCall: ({ method, door, code, seconds: took }) => {
      calls.inc({ method, door, code });
      seconds.observe({ method, door }, took);
    },
    handle: async (request, response) => {
      if (request.method !== "GET" || request.url?.split("?", 1)[0] !== "/metrics") {
        response.writeHead(404).end();
        return;
      }
      response.writeHead(200, { "content-type": registry.contentType }).end(await registry.metrics());
    },
  };
}
