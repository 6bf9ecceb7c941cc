import { randomUUID } from "node:crypto";
import { setTimeout } from "node:timers/promises";
import type { Carrier, CarrierParts } from "../carriers/carrier.ts";
import { openCarrier } from "../carriers/registry.ts";
import type { Config } from "../config/config.ts";
import { UNMATCHED } from "../domain/plan/report.ts";
import { createDeliveryHold, type DeliveryControl } from "../engine/delivery-hold.ts";
import { createDispatcher } from "../engine/dispatch/dispatcher.ts";
import { createMaintenance } from "../engine/maintenance/maintenance.ts";
import { maintenanceTasks } from "../engine/maintenance/maintenance-tasks.ts";
import { createUnreachableCount } from "../engine/maintenance/unreachable-numbers.ts";
import type { Pools } from "../engine/pools/pools.ts";
import { createReporter, type Reporter, type ReporterParts } from "../engine/reports/reporter.ts";
import { createScheduler, type Scheduler } from "../engine/schedule/scheduler.ts";
import { createYielding } from "../engine/yielding.ts";
import type { Store } from "../store/store.ts";
import type { Log } from "../telemetry/log.ts";
import { traceReportOfCall } from "../telemetry/message-spans.ts";

/** The background work of a server: carriers, dispatcher, scheduler and maintenance. */
export type Delivery = {
  /** The configured carriers, open. */
  readonly carriers: readonly Carrier[];
  /**
   * Applies a report that arrives by RPC. Rejects when the store fails, since the caller can retry.
   */
  readonly report: Reporter["report"];
  /** Whether delivery is held, and how to resume it. */
  readonly control: DeliveryControl;
  /** Books segments that were added to numbers' queues, and wakes those numbers. */
  readonly accepted: (segments: ReadonlyMap<string, number>) => void;
  /**
   * `release` makes one pass over due scheduled messages, and resolves with the time of the next
   * one.
   */
  readonly start: (release: () => Promise<number | undefined>) => Promise<void>;
  /** Resolves when every submit under way is answered and stored, or after so many milliseconds. */
  readonly stop: (withinMs: number) => Promise<void>;
};

export type DeliveryParts = {
  readonly config: Config;
  readonly store: Store;
  readonly pools: Pools;
  readonly log: Log;
  readonly clock: () => number;
  readonly observe: ReporterParts["observe"];
  /** Takes the counts of numbers whose carrier is not configured, by carrier. */
  readonly observeUnreachable: (numbers: ReadonlyMap<string, number>) => void;
};

/**
 * The longest wait for carriers' last answers to be stored: the database may be unavailable.
 */
const MAX_LAST_WRITES_MS = 2_000;

/** Constructs the background work. Nothing runs before `start`. */
export function createDelivery(parts: DeliveryParts): Delivery {
  const { config, store, pools, log, clock, observe } = parts;
  const { yieldAfter, noteCall } = createYielding(() => performance.now(), store.delivery.isBlocking);
  const reporter = createReporter({ store, pools, log, yieldAfter, observe });
  const owner = randomUUID();
  const carriers = openCarriers(config, reporter, clock);
  const names = [...carriers.keys()];
  const hold = createDeliveryHold(store, log, () => dispatcher.resume());
  const dispatcher = createDispatcher({
    store,
    pools,
    carriers,
    reporter,
    clock,
    random: Math.random,
    log,
    yieldAfter,
    owner,
    submitTimeoutMs: config.submitTimeoutSeconds * 1000,
    isDeliveryHeld: () => hold.heldSince() !== undefined,
  });
  const synchronize = () => pools.exchange((backlog) => store.synchronize({ owner, now: clock(), backlog }));
  const countUnreachable = createUnreachableCount({ store, log, carriers: names, observe: parts.observeUnreachable });
  const settings = {
    receiptWindowMs: config.receiptWindowSeconds * 1000,
    messageRetentionMs: config.messageRetentionSeconds * 1000,
    stickyLifetimeMs: config.stickyLifetimeSeconds * 1000,
  };
  const tasks = maintenanceTasks({ settings, store, pools, clock, synchronize, countUnreachable });
  const maintenance = createMaintenance(tasks, log);
  let scheduler: Scheduler | undefined;

  return {
    control: { heldSince: hold.heldSince, resume: hold.resume },
    carriers: [...carriers.values()],
    report: (report) =>
      traceReportOfCall(report, async () => {
        const [applied = UNMATCHED] = await store.applyReports([report]);
        pools.book([applied]);
        observe(report, applied);
        return applied;
      }),
    accepted: (segments) => {
      noteCall();
      pools.bookAccepted(segments);
      dispatcher.wake(segments.keys());
    },
    start: async (release) => {
      const { settled } = await synchronize();
      if (settled.length > 0) {
        log.warn(
          { event: "submits_unconfirmed", messages: settled.length },
          "submits of an earlier process unconfirmed",
        );
      }
      await hold.start();
      await countUnreachable();
      await dispatcher.start();
      maintenance.start();
      scheduler = createScheduler({ release, yieldAfter, clock, log });
      scheduler.start();
    },
    stop: async (withinMs) => {
      hold.stop();
      await scheduler?.stop();
      await dispatcher.stop(withinMs);
      // Closing a carrier answers its open submits; those answers are stored next.
      for (const carrier of carriers.values()) await carrier.close();
      await dispatcher.stop(MAX_LAST_WRITES_MS);
      await Promise.race([reporter.settle(), setTimeout(MAX_LAST_WRITES_MS)]);
      await maintenance.stop();
    },
  };
}

function openCarriers(config: Config, reporter: Reporter, clock: () => number): ReadonlyMap<string, Carrier> {
  const carriers = new Map<string, Carrier>();
  for (const [name, settings] of config.carriers) {
    const onEvent: CarrierParts["onEvent"] = (carrier, { carrierMessageId, report }) => {
      void reporter.report({ target: { carrier, carrierMessageId }, report, receivedAt: clock() });
    };
    carriers.set(name, openCarrier({ name, clock, random: Math.random, onEvent }, settings));
  }
  return carriers;
}
