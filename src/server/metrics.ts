import type { RequestListener } from "node:http";
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { AppliedReport, CarrierReport } from "../domain/carrier-report.ts";
import type { Message } from "../domain/message.ts";
import type { Pools } from "../engine/pools/pools.ts";
import type { ScheduledWrites } from "../store/schedule-records.ts";
import type { Store } from "../store/store.ts";
import type { CallObserver } from "../transport/invoke.ts";

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
  readonly handle: RequestListener;
};

const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];

/** Creates the metrics in their own registry. */
export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  // These gauges of the library have names that end in _total, which is for counters.
  for (const kind of ["handles", "requests", "resources"]) registry.removeSingleMetric(`nodejs_active_${kind}_total`);
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
    buckets: SECONDS,
    registers,
  });
  // The library hashes the labels at every lookup, which is slow at the rate of calls.
  const callSeries = new Map<
    string,
    { readonly count: Counter.Internal; readonly seconds: Histogram.Internal<string> }
  >();
  const commitSeconds = new Histogram({
    name: "numberpool_commit_duration_seconds",
    help: "Time of the store's writing transactions, including the sync to disk.",
    labelNames: ["kind"],
    buckets: SECONDS,
    registers,
  });
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

  const timed = <Args extends unknown[], Result>(kind: string, write: (...args: Args) => Promise<Result>) => {
    const observe = commitSeconds.labels(kind);
    return async (...args: Args): Promise<Result> => {
      const start = performance.now();
      try {
        return await write(...args);
      } finally {
        observe.observe((performance.now() - start) / 1000);
      }
    };
  };

  return {
    observeCall: ({ method, transport, code, seconds }) => {
      const key = `${method} ${transport} ${code}`;
      let series = callSeries.get(key);
      if (series === undefined) {
        series = { count: calls.labels(method, transport, code), seconds: callSeconds.labels(method, transport) };
        callSeries.set(key, series);
      }
      series.count.inc();
      series.seconds.observe(seconds);
    },
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
    measured: (store) => {
      const accept = timed("accept", store.accept);
      const claim = timed("claim", store.claim);
      const count = (applied: readonly AppliedReport[]) => {
        for (const { status } of applied) if (status !== undefined) messages.inc({ status });
      };
      return {
        ...store,
        accept: async (reads, decide) => {
          let accepted: readonly Message[] = [];
          await accept(reads, (facts) => {
            const writes = decide(facts);
            accepted = writes.messages;
            return writes;
          });
          const scheduled = accepted.filter(({ status }) => status === "scheduled").length;
          messages.inc({ status: "queued" }, accepted.length - scheduled);
          if (scheduled > 0) messages.inc({ status: "scheduled" }, scheduled);
        },
        claim: async (request) => {
          const claims = await claim(request);
          for (const { expired } of claims) count(expired);
          return claims;
        },
        applyReports: timed("reports", store.applyReports),
        releaseScheduled: async (reads, decide) => {
          let written: ScheduledWrites["messages"] = [];
          await store.releaseScheduled(reads, (facts, occupied) => {
            const writes = decide(facts, occupied);
            written = writes.messages;
            return writes;
          });
          for (const { message } of written)
            if (message.status !== "scheduled") messages.inc({ status: message.status });
        },
        cancelMessage: async (organizationId, id, at) => {
          const cancelled = await store.cancelMessage(organizationId, id, at);
          if (cancelled.kind === "cancelled") count([cancelled.applied]);
          return cancelled;
        },
        matchReceipts: async (request) => {
          const swept = await store.matchReceipts(request);
          count(swept.applied);
          return swept;
        },
        settleReceiptTimeouts: async (request) => {
          const swept = await store.settleReceiptTimeouts(request);
          count(swept.applied);
          return swept;
        },
        expireMessages: async (now, most) => {
          const applied = await store.expireMessages(now, most);
          count(applied);
          return applied;
        },
        synchronize: async (heartbeat) => {
          const peerUpdates = await store.synchronize(heartbeat);
          count(peerUpdates.settled);
          return peerUpdates;
        },
      };
    },
    watch: (store, pools, clock) => {
      // Both gauges are collected at the same time, from one measurement of the queues.
      let measuring: ReturnType<Store["measureQueue"]> | undefined;
      const measure = () => {
        measuring ??= store.measureQueue().finally(() => {
          measuring = undefined;
        });
        return measuring;
      };
      new Gauge({
        name: "numberpool_queued_messages",
        help: "Messages in queues.",
        registers,
        async collect() {
          this.set((await measure()).messages);
        },
      });
      new Gauge({
        name: "numberpool_oldest_queued_seconds",
        help: "Age of the oldest queued message.",
        registers,
        async collect() {
          const { oldestId } = await measure();
          this.set(oldestId === undefined ? 0 : Math.max(0, (clock() - timeOf(oldestId)) / 1000));
        },
      });
      new Gauge({
        name: "numberpool_unhealthy_numbers",
        help: "Numbers that pools in memory exclude as unhealthy.",
        registers,
        collect() {
          this.set(pools.countUnhealthy());
        },
      });
    },
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

/** The time in an id, milliseconds since 1970: a UUID of version 7 begins with it. */
function timeOf(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}
