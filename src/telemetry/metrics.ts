import type { RequestListener } from "node:http";
import { collectDefaultMetrics, Registry } from "prom-client";
import type { CarrierReport } from "../domain/carrier-report.ts";
import { type CallObserver, createCallMetrics } from "./call-metrics.ts";
import { addCarrierGauge, addGauges, type CarrierSource, type GaugeSources } from "./gauges.ts";
import { type CommitObserver, createMessageMetrics } from "./message-metrics.ts";
import { addCounter, addGauge, addHistogram } from "./metric-table.ts";

/** The kinds of writing transactions that are timed. */
export type CommitKind = "accept" | "claim" | "reports";

/** The program's metrics, and the page for Prometheus. */
export type Metrics = {
  readonly observeCall: CallObserver;
  /** Sets the counts of numbers whose carrier is not configured, by carrier. */
  readonly observeUnreachable: (numbers: ReadonlyMap<string, number>) => void;
  readonly observeReport: (report: CarrierReport) => void;
  readonly observeCommit: CommitObserver;
  /** A writing transaction that is timed, whether it succeeds or fails. */
  readonly timed: <Args extends unknown[], Result>(
    kind: CommitKind,
    write: (...args: Args) => Promise<Result>,
  ) => (...args: Args) => Promise<Result>;
  /** Adds the gauges of queues and health. */
  readonly watch: (sources: GaugeSources) => void;
  /** Adds the gauge of the carriers' states. */
  readonly watchCarriers: (carriers: readonly CarrierSource[]) => void;
  readonly handle: RequestListener;
};

/** Creates the metrics in their own registry. */
export function createMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  // These gauges of the library have names that end in _total, which is for counters.
  for (const kind of ["handles", "requests", "resources"]) registry.removeSingleMetric(`nodejs_active_${kind}_total`);
  const reports = addCounter(registry, "carrierReports");
  const unreachableNumbers = addGauge(registry, "unreachableNumbers");
  const commitSeconds = addHistogram(registry, "commitSeconds");

  return {
    observeCall: createCallMetrics(registry),
    observeUnreachable: (numbers) => {
      unreachableNumbers.reset();
      for (const [carrier, count] of numbers) unreachableNumbers.set({ carrier }, count);
    },
    observeReport: ({ target, report, carrier }) => {
      const name = "carrier" in target ? target.carrier : (carrier ?? "");
      reports.inc({ carrier: name, kind: report.kind });
    },
    observeCommit: createMessageMetrics(registry),
    timed: (kind, write) => {
      const observe = commitSeconds.labels(kind);
      return async (...args) => {
        const start = performance.now();
        try {
          return await write(...args);
        } finally {
          observe.observe((performance.now() - start) / 1000);
        }
      };
    },
    watch: (sources) => addGauges(registry, sources),
    watchCarriers: (carriers) => addCarrierGauge(registry, carriers),
    handle: pageOf(registry),
  };
}

/** Serves the page for Prometheus at `/metrics`. */
function pageOf(registry: Registry): RequestListener {
  return async (request, response) => {
    const isRead = request.method === "GET" || request.method === "HEAD";
    if (!isRead || request.url?.split("?", 1)[0] !== "/metrics") {
      response.writeHead(404).end();
      return;
    }
    try {
      const page = await registry.metrics();
      response.writeHead(200, { "content-type": registry.contentType }).end(page);
    } catch {
      // The store may be closed during a drain.
      response.writeHead(503).end();
    }
  };
}
