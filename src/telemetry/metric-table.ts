import { Counter, Gauge, Histogram, type Registry } from "prom-client";

/** A metric as operators see it. Its labels come from the contract and the configuration, never from a caller. */
type MetricRow = {
  readonly type: "counter" | "gauge" | "histogram";
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
};

/** Every metric of Numberpool: its type, name, help and labels. */
export const METRICS = {
  calls: {
    type: "counter",
    name: "numberpool_calls_total",
    help: "Calls, by method, transport and outcome.",
    labels: ["method", "transport", "code"],
  },
  callSeconds: {
    type: "histogram",
    name: "numberpool_call_duration_seconds",
    help: "Time from a call's decoding to its outcome.",
    labels: ["method", "transport"],
  },
  commitSeconds: {
    type: "histogram",
    name: "numberpool_commit_duration_seconds",
    help: "Time of the store's writing transactions, including the sync to disk.",
    labels: ["kind"],
  },
  messages: {
    type: "counter",
    name: "numberpool_messages_total",
    help: "Messages that reached a status.",
    labels: ["status"],
  },
  carrierReports: {
    type: "counter",
    name: "numberpool_carrier_reports_total",
    help: "Answers and reports of carriers, by carrier and kind.",
    labels: ["carrier", "kind"],
  },
  carrierConnected: {
    type: "gauge",
    name: "numberpool_carrier_connected",
    help: "Whether a carrier can take messages (1) or not (0), by carrier.",
    labels: ["carrier"],
  },
  unreachableNumbers: {
    type: "gauge",
    name: "numberpool_carrier_unavailable_numbers",
    help: "Numbers that cannot send because their carrier is not configured, by carrier. Counted once a minute.",
    labels: ["carrier"],
  },
  queuedMessages: {
    type: "gauge",
    name: "numberpool_queued_messages",
    help: "Messages in queues.",
    labels: [],
  },
  oldestQueuedSeconds: {
    type: "gauge",
    name: "numberpool_oldest_queued_seconds",
    help: "Age of the oldest queued message.",
    labels: [],
  },
  unhealthyNumbers: {
    type: "gauge",
    name: "numberpool_unhealthy_numbers",
    help: "Numbers that pools in memory exclude as unhealthy.",
    labels: [],
  },
} as const satisfies Record<string, MetricRow>;

type Table = typeof METRICS;
/** The rows of a type of metric, by key. */
type KeyOf<Type extends MetricRow["type"]> = {
  [Key in keyof Table]: Table[Key]["type"] extends Type ? Key : never;
}[keyof Table];
type LabelOf<Key extends keyof Table> = Table[Key]["labels"][number];

/** The buckets of every histogram of durations. */
const DURATION_BUCKETS_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];

/** Adds a counter of the table to a registry. */
export function addCounter<Key extends KeyOf<"counter">>(registry: Registry, key: Key): Counter<LabelOf<Key>> {
  return new Counter({ ...named<LabelOf<Key>>(key), registers: [registry] });
}

/** Adds a histogram of durations of the table to a registry. */
export function addHistogram<Key extends KeyOf<"histogram">>(registry: Registry, key: Key): Histogram<LabelOf<Key>> {
  return new Histogram({ ...named<LabelOf<Key>>(key), buckets: DURATION_BUCKETS_SECONDS, registers: [registry] });
}

/** Adds a gauge of the table to a registry. `collect` sets it at each scrape. */
export function addGauge<Key extends KeyOf<"gauge">>(
  registry: Registry,
  key: Key,
  collect?: (gauge: Gauge<LabelOf<Key>>) => void | Promise<void>,
): Gauge<LabelOf<Key>> {
  const gauge: Gauge<LabelOf<Key>> = new Gauge({
    ...named<LabelOf<Key>>(key),
    registers: [registry],
    ...(collect && { collect: () => collect(gauge) }),
  });
  return gauge;
}

function named<Label extends string>(key: keyof Table) {
  const { name, help, labels } = METRICS[key];
  return { name, help, labelNames: labels as readonly string[] as readonly Label[] };
}
