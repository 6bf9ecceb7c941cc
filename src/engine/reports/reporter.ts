import { setTimeout } from "node:timers/promises";
import type { AppliedReport, CarrierReport } from "../../domain/carrier-report.ts";
import { Failure } from "../../domain/failure.ts";
import { UNMATCHED } from "../../domain/plan/report.ts";
import type { Store } from "../../store/store.ts";
import type { Log } from "../../telemetry/log.ts";
import { traceReport, traceReportOfCall } from "../../telemetry/message-spans.ts";
import type { Metrics } from "../../telemetry/metrics.ts";
import type { Pools } from "../pools/pools.ts";
import type { Yielding } from "../yielding.ts";

/** Stores the reports of carriers; those that arrive together share one transaction. */
export type Reporter = {
  /** Resolves with the report's effect when it is on disk; writes that fail are retried. */
  readonly report: (report: CarrierReport) => Promise<AppliedReport>;
  /** Stores a report in a transaction of its own, and rejects when that fails. */
  readonly reportNow: (report: CarrierReport) => Promise<AppliedReport>;
  /** Resolves when every report is on disk. */
  readonly settle: () => Promise<void>;
};

export type ReporterParts = {
  readonly store: Store;
  readonly pools: Pools;
  readonly log: Log;
  readonly yieldAfter: Yielding["yieldAfter"];
  readonly metrics: Pick<Metrics, "observeReport">;
};

/** How long reports are collected: each transaction is a sync to disk, and sends wait for it. */
const COLLECT_MS = 20;

type Waiting = { readonly report: CarrierReport; readonly resolve: (applied: AppliedReport) => void };

/** Creates a reporter over a store. Reports keep their order; writes that fail are retried. */
export function createReporter({ store, pools, log, yieldAfter, metrics }: ReporterParts): Reporter {
  let waiting: Waiting[] = [];
  let writing: Promise<void> | undefined;

  const write = async () => {
    // How many reports to write one by one, because the store cannot write one of them.
    let alone = 0;
    while (waiting.length > 0) {
      const group = waiting.slice(0, alone > 0 ? 1 : store.delivery.atOnce);
      const start = performance.now();
      alone = Math.max(0, alone - 1);
      let applied: readonly AppliedReport[] | undefined;
      try {
        applied = await store.applyReports(group.map(({ report }) => report));
      } catch (error) {
        if (error instanceof Failure) {
          log.error({ event: "report_write_failed", err: error }, "report write failed, retrying");
          await setTimeout(1000);
        } else if (group.length > 1) alone = group.length;
        else giveUp(group[0] as Waiting, error);
      }
      if (applied !== undefined) written(group, applied);
      await yieldAfter(performance.now() - start);
    }
    writing = undefined;
  };

  /** Replaces an answer that cannot be stored by an unconfirmed submit, so that its message ends; drops any other report. */
  const giveUp = ({ report, resolve }: Waiting, error: unknown) => {
    log.error({ event: "report_dropped", err: error }, "report dropped");
    const { target } = report;
    if (!("messageId" in target) || report.report.kind === "submit_unconfirmed")
      return written([{ report, resolve }], [UNMATCHED]);
    waiting[0] = { report: { ...report, report: { kind: "submit_unconfirmed", at: report.report.at } }, resolve };
  };

  const written = (group: readonly Waiting[], applied: readonly AppliedReport[]) => {
    waiting = waiting.slice(group.length);
    try {
      pools.book(applied);
    } catch (error) {
      // The reports are on disk: none of them may be stored again, or taken for another.
      log.error({ event: "pool_update_failed", err: error }, "pool update failed");
    }
    applied.forEach((each, index) => {
      const { report, resolve } = group[index] as Waiting;
      metrics.observeReport(report);
      resolve(each);
    });
  };

  return {
    report: (report) =>
      traceReport(report, () => {
        const { promise, resolve } = Promise.withResolvers<AppliedReport>();
        waiting.push({ report, resolve });
        writing ??= setTimeout(COLLECT_MS).then(write);
        return promise;
      }),
    reportNow: (report) =>
      traceReportOfCall(report, async () => {
        const [applied = UNMATCHED] = await store.applyReports([report]);
        pools.book([applied]);
        metrics.observeReport(report);
        return applied;
      }),
    settle: async () => {
      while (writing !== undefined) await writing;
    },
  };
}
