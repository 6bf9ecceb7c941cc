/** The measures: rates per second unless they name a unit. */
export const MEASURES = {
  jsonEcho: "bare JSON echo, Fastify",
  jsonSend: "JSON durable send",
  grpcEcho: "gRPC echo, same transport",
  grpcSend: "gRPC durable send",
  connectEcho: "gRPC echo, connect-node",
  grpcBatch: "gRPC batches of 500, messages",
  jsonBatch: "JSON batches of 500, messages",
  kannel: "Kannel sendsms",
  decideAt100: "decide and charge, 100 numbers",
  decideAt100000: "decide and charge, 100,000 numbers",
  decideRulesAt100: "the same with rules, 100 numbers",
  decideRulesAt100000: "the same with rules, 100,000 numbers",
  acceptAlone: "JSON durable send, dispatcher idle",
  delivered: "accepted to delivered, sustained",
  busyP99: "p99 of a send beside full dispatch, ms",
  emptySend: "JSON durable send, empty store",
  storedSend: "JSON durable send, 1,000,000 stored",
  queuedMegabytes: "memory with 1,000,000 queued, MB",
  startSeconds: "start, 100,000 numbers, 1,000,000 messages, s",
} as const;

export type Measure = keyof typeof MEASURES;

/** The median of each measure. */
export type Medians = Readonly<Partial<Record<Measure, number>>>;

/** A performance promise: a value from medians, and its bar. */
export type Row = {
  /** Its name for `--only`. */
  readonly name: string;
  readonly title: string;
  readonly needs: readonly Measure[];
  readonly value: (of: (measure: Measure) => number) => number;
  readonly bar: { readonly atLeast: number } | { readonly atMost: number };
  /** Digits after the decimal point. */
  readonly digits: number;
};

/** Every row, in the order of the table. */
export const ROWS: readonly Row[] = [
  {
    name: "grpc-send",
    title: "gRPC durable send ÷ gRPC echo through the same transport",
    needs: ["grpcSend", "grpcEcho"],
    value: (of) => of("grpcSend") / of("grpcEcho"),
    bar: { atLeast: 0.55 },
    digits: 2,
  },
  {
    name: "json-send",
    title: "JSON durable send ÷ bare JSON echo on the same HTTP stack",
    needs: ["jsonSend", "jsonEcho"],
    value: (of) => of("jsonSend") / of("jsonEcho"),
    bar: { atLeast: 0.6 },
    digits: 2,
  },
  {
    name: "json-connect",
    title: "JSON durable send ÷ connect-node's bare echo over gRPC",
    needs: ["jsonSend", "connectEcho"],
    value: (of) => of("jsonSend") / of("connectEcho"),
    bar: { atLeast: 3 },
    digits: 2,
  },
  {
    name: "batches",
    title: "batches of 500, messages per second ÷ single gRPC sends",
    needs: ["grpcBatch", "jsonBatch", "grpcSend"],
    value: (of) => Math.max(of("grpcBatch"), of("jsonBatch")) / of("grpcSend"),
    bar: { atLeast: 3 },
    digits: 2,
  },
  {
    name: "kannel-send",
    title: "JSON durable send ÷ Kannel's sendsms",
    needs: ["jsonSend", "kannel"],
    value: (of) => of("jsonSend") / of("kannel"),
    bar: { atLeast: 1 },
    digits: 2,
  },
  {
    name: "kannel-batches",
    title: "batches of 500, messages per second ÷ Kannel's sendsms",
    needs: ["grpcBatch", "jsonBatch", "kannel"],
    value: (of) => Math.max(of("grpcBatch"), of("jsonBatch")) / of("kannel"),
    bar: { atLeast: 2.5 },
    digits: 2,
  },
  {
    name: "decide",
    title: "decide and charge at 100 numbers, per second and core; the slower of without and with rules",
    needs: ["decideAt100", "decideRulesAt100"],
    value: (of) => Math.min(of("decideAt100"), of("decideRulesAt100")),
    bar: { atLeast: 1_000_000 },
    digits: 0,
  },
  {
    name: "decide-size",
    title: "cost of decide and charge at 100,000 numbers ÷ at 100; the higher of without and with rules",
    needs: ["decideAt100", "decideAt100000", "decideRulesAt100", "decideRulesAt100000"],
    value: (of) =>
      Math.max(of("decideAt100") / of("decideAt100000"), of("decideRulesAt100") / of("decideRulesAt100000")),
    bar: { atMost: 4 },
    digits: 2,
  },
  {
    name: "delivered",
    title: "sustained accept to delivered (sandbox), messages per second ÷ accept alone",
    needs: ["delivered", "acceptAlone"],
    value: (of) => of("delivered") / of("acceptAlone"),
    bar: { atLeast: 0.5 },
    digits: 2,
  },
  {
    name: "busy",
    title: "p99 of accept while the dispatcher runs at full pace, milliseconds",
    needs: ["busyP99"],
    value: (of) => of("busyP99"),
    bar: { atMost: 50 },
    digits: 1,
  },
  {
    name: "stored",
    title: "send at 1,000,000 stored messages ÷ send on an empty store, rate",
    needs: ["storedSend", "emptySend"],
    value: (of) => of("storedSend") / of("emptySend"),
    bar: { atLeast: 0.9 },
    digits: 2,
  },
  {
    name: "memory",
    title: "resident memory with 1,000,000 queued messages, MB",
    needs: ["queuedMegabytes"],
    value: (of) => of("queuedMegabytes"),
    bar: { atMost: 300 },
    digits: 0,
  },
  {
    name: "start",
    title: "start to ready with 100,000 numbers and 1,000,000 messages, seconds",
    needs: ["startSeconds"],
    value: (of) => of("startSeconds"),
    bar: { atMost: 2 },
    digits: 2,
  },
];

/** Whether a value meets its bar. */
export function isMet(value: number, bar: Row["bar"]): boolean {
  return "atLeast" in bar ? value >= bar.atLeast : value <= bar.atMost;
}

/** The median; of an even count the mean of the middle two. */
export function median(figures: readonly number[]): number {
  const sorted = figures.toSorted((a, b) => a - b);
  const half = sorted.length / 2;
  const upper = sorted[Math.floor(half)] ?? Number.NaN;
  return Number.isInteger(half) ? ((sorted[half - 1] ?? Number.NaN) + upper) / 2 : upper;
}
