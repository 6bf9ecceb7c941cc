import type { RequestListener } from "node:http";
import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";
import type { Carrier } from "../carriers/carrier.ts";
import type { AppliedReport, CarrierReport } from "../domain/carrier-report.ts";
import type { Pools } from "../engine/pools/pools.ts";
import type { Store } from "../store/store.ts";
import type { CallObserver } from "../transport/call-record.ts";
import { createCallMetrics } from "./call-metrics.ts";
import { addCarrierGauge } from "./carrier-gauge.ts";
import { measureStore } from "./measured-store.ts";
import { addStoreGauges } from "./store-gauges.ts";

/**
 * The program's metrics, and the page for Prometheus. Labels come from the contract and the
 * configuration, never from a caller.
 */
export type Metrics = {
  readonly observeCall: CallObserver;
  /** Sets the counts of numbers whose carrier is not configured, by carrier. */
  readonly observeUnreachable: (numbers: ReadonlyMap<string, number>) => void;
  readonly observeReport: (report: CarrierReport, applied: AppliedReport) => void;
  /** The store, with its writing transactions timed and its messages counted. */
  readonly measured: (store: Store) => Store;
  /** Adds the gauges that are read at each scrape. */
  readonly watch: (store: Store, pools: Pools, clock: () => number) => void;
  /** Adds the gauge of the carriers' states. */
  readonly watchCarriers: (carriers: readonly Carrier[]) => void;
  readonly handle: RequestListener;
};

/** Creates the metrics in their own registry. */
export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  // These gauges of the library have names that end in _total, which is for counters.
  for (const kind of ["handles", "requests", "resources"]) registry.removeSingleMetric(`nodejs_active_${kind}_total`);
  const messages = new Counter({
    name: "numberpool_messages_total",
    help: "Messages that reached a status.",
    labelNames: ["status"],
    registers,
  });
  const reports = new Counter({
    name: "numberpool_carrier_reports_total",
    help: "Answers and reports of carriers, by carrier and kind.",
    labelNames: ["carrier", "kind"],
    registers,
  });

  const unreachableNumbers = new Gauge({
    name: "numberpool_carrier_unavailable_numbers",
    help: "Numbers that cannot send because their carrier is not configured, by carrier. Counted once a minute.",
    labelNames: ["carrier"],
    registers,
  });

  return {
    observeCall: createCallMetrics(registry),
    observeUnreachable: (numbers) => {
      unreachableNumbers.reset();
      for (const [carrier, count] of numbers) unreachableNumbers.set({ carrier }, count);
    },
    observeReport: ({ target, report, carrier }, { status, followed }) => {
      const name = "carrier" in target ? target.carrier : (carrier ?? "");
      reports.inc({ carrier: name, kind: report.kind });
      if (status !== undefined) messages.inc({ status });
      for (const each of followed) messages.inc({ status: each.status ?? "" });
    },
    measured: (store) => measureStore(store, registry, messages),
    watch: (store, pools, clock) => addStoreGauges(registry, store, pools, clock),
    watchCarriers: (carriers) => addCarrierGauge(registry, carriers),
    handle: async (request, response) => {
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
    },
  };
}
