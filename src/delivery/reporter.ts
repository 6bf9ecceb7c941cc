import { setTimeout } from "node:timers/promises";
import type { Logger } from "pino";
import type { Pools } from "../store/pools.ts";
import type { AppliedReport, CarrierReport, Store } from "../store/store.ts";

/** Takes what carriers report, and writes what came together in one transaction. */
export type Reporter = {
  /** Resolves when the report is on disk. */
  readonly report: (report: CarrierReport) => Promise<void>;
  /** Resolves when everything that was reported is on disk. */
  readonly settle: () => Promise<void>;
};

export type ReporterParts = {
  readonly store: Store;
  readonly pools: Pools;
  readonly log: Logger;
  /** Told of every report that was written, with what it did; for metrics. */
  readonly observe: (report: CarrierReport, applied: AppliedReport) => void;
};

/** Reports are collected for this long, milliseconds: each transaction is a sync to disk, which sends would wait for. */
const COLLECT = 20;
/** Reports that are written in one transaction at most. */
const GROUP = 500;
/** Receipts that came before the answer to their submit are held for it, so many at most. */
const MOST_EARLY = 100_000;

type Waiting = { readonly report: CarrierReport; readonly resolve: () => void };

/** A reporter over a store. Reports stay in the order in which they came; what fails to be written is tried again. */
export function createReporter(parts: ReporterParts): Reporter {
  const { store, pools, log, observe } = parts;
  const waiting: Waiting[] = [];
  const early = new Map<string, CarrierReport[]>();
  let writing: Promise<void> | undefined;

  const write = async () => {
    while (waiting.length > 0) {
      const group = waiting.slice(0, GROUP);
      try {
        const applied = await store.applyReports(group.map(({ report }) => report));
        waiting.splice(0, group.length);
        pools.book(applied);
        applied.forEach((each, index) => {
          const { report, resolve } = group[index] as Waiting;
          observe(report, each);
          if (each.messageId === undefined) hold(report);
          else release(report);
          resolve();
        });
      } catch (error) {
        log.error({ err: error }, "reports could not be written; trying again");
        await setTimeout(1000);
      }
    }
    writing = undefined;
  };

  /** A receipt that fits no message yet is held until the carrier's answer tells whose it is. */
  const hold = (report: CarrierReport) => {
    if (!("carrierMessageId" in report.target)) return;
    const key = keyOf(report.target.carrier, report.target.carrierMessageId);
    early.set(key, [...(early.get(key) ?? []), report]);
    if (early.size > MOST_EARLY) early.delete(early.keys().next().value as string);
  };

  /** Once an answer is written, the receipts that came before it find their message. */
  const release = ({ report, carrier }: CarrierReport) => {
    if (report.kind !== "accepted" || carrier === undefined) return;
    const key = keyOf(carrier, report.carrierMessageId);
    for (const held of early.get(key) ?? []) waiting.push({ report: held, resolve: () => {} });
    early.delete(key);
  };

  return {
    report: (report) =>
      new Promise((resolve) => {
        waiting.push({ report, resolve });
        writing ??= setTimeout(COLLECT).then(write);
      }),
    settle: async () => {
      while (writing !== undefined) await writing;
    },
  };
}

function keyOf(carrier: string, carrierMessageId: string): string {
  return `${carrier} ${carrierMessageId}`;
}
