import { randomUUID } from "node:crypto";
import { setTimeout } from "node:timers/promises";
import type { Logger } from "pino";
import type { Carrier } from "../carriers/carrier.ts";
import { createSandbox } from "../carriers/sandbox.ts";
import type { Config } from "../config.ts";
import { createDispatcher } from "../delivery/dispatcher.ts";
import { createMaintenance } from "../delivery/maintenance.ts";
import { createReporter, type Reporter, type ReporterParts } from "../delivery/reporter.ts";
import { createScheduler } from "../delivery/scheduler.ts";
import { createYielding } from "../delivery/yielding.ts";
import type { DeliveryControl } from "../service/services.ts";
import { UNMATCHED } from "../store/plan-report.ts";
import type { Pools } from "../store/pools.ts";
import type { Store } from "../store/store.ts";
import { maintenanceTasks } from "./maintenance-tasks.ts";

/** What runs on its own: the carriers, the dispatcher that feeds them, the schedule, and what keeps the store tidy. */
export type Delivery = {
  /** The names of the configured carriers. */
  readonly carriers: readonly string[];
  /** Takes what a carrier reports over an RPC: at once, or with the reason why not, because whoever reports can do it again. */
  readonly report: Reporter["report"];
  /** Whether messages leave, and how to let them. */
  readonly control: DeliveryControl;
  /** Tells of segments that came into numbers' queues. */
  readonly accepted: (segments: ReadonlyMap<string, number>) => void;
  /** `release` is one pass over scheduled messages that are due; it resolves with the moment of the next one. */
  readonly start: (release: () => Promise<number | undefined>) => Promise<void>;
  /** Resolves when what was handed over is answered and written, or after so many milliseconds. */
  readonly stop: (within: number) => Promise<void>;
};

export type DeliveryParts = {
  readonly config: Config;
  readonly store: Store;
  readonly pools: Pools;
  readonly log: Logger;
  readonly clock: () => number;
  readonly observe: ReporterParts["observe"];
  /** Told of numbers whose carrier is not configured; for metrics. */
  readonly unreachable: (numbers: ReadonlyMap<string, number>) => void;
};

/** How long what carriers answer at the very end may take to be written, milliseconds: the database may be away. */
const LAST_WORDS = 2_000;

/** How often a hold of delivery is looked at while there is one, milliseconds. */
const HOLD_POLL = 1_000;

/** Puts delivery together. Nothing runs before `start`. */
export function createDelivery({ config, store, pools, log, clock, observe, unreachable }: DeliveryParts): Delivery {
  let heldSince: number | undefined;
  let watchingHold: NodeJS.Timeout | undefined;
  const yielding = createYielding(() => performance.now(), store.delivery.isBlocking);
  const reporter = createReporter({ store, pools, log, yieldAfter: yielding.yieldAfter, observe });
  const owner = randomUUID();
  const carriers = new Map<string, Carrier>();
  for (const [name, settings] of config.carriers) {
    const onEvent: Parameters<typeof createSandbox>[0]["onEvent"] = (carrier, { carrierMessageId, report }) => {
      void reporter.report({ target: { carrier, carrierMessageId }, report, receivedAt: clock() });
    };
    carriers.set(name, createSandbox({ name, clock, random: Math.random, onEvent }, settings));
  }
  const dispatcher = createDispatcher({
    store,
    pools,
    carriers,
    reporter,
    clock,
    random: Math.random,
    log,
    yieldAfter: yielding.yieldAfter,
    owner,
    submitTimeout: config.submitTimeoutSeconds * 1000,
    isHeld: () => heldSince !== undefined,
  });
  const synchronize = () => pools.exchange((backlog) => store.synchronize({ owner, now: clock(), backlog }));
  let toldUnreachable = "";
  /** Counts numbers whose carrier is not configured, and says so when it changes. */
  const lookForUnreachable = async () => {
    const numbers = await store.countUnreachable([...config.carriers.keys()]);
    unreachable(numbers);
    const found = JSON.stringify([...numbers]);
    if (numbers.size > 0 && found !== toldUnreachable) {
      for (const [carrier, count] of numbers) {
        log.warn(
          { event: "carrier_unavailable", carrier, numbers: count },
          "carrier of registered numbers not configured",
        );
      }
    }
    toldUnreachable = found;
  };
  const maintenance = createMaintenance(
    maintenanceTasks({ config, store, pools, clock, synchronize, lookForUnreachable }),
    log,
  );
  let scheduler: ReturnType<typeof createScheduler> | undefined;

  /** Delivery was held, and is no longer. */
  const resume = () => {
    if (heldSince === undefined) return;
    heldSince = undefined;
    clearInterval(watchingHold);
    log.warn({ event: "delivery_resumed" }, "delivery resumed");
    dispatcher.resume();
  };

  /** Another process on the same database may resume delivery. */
  const watchHold = async () => {
    try {
      if ((await store.readDeliveryHold()) === undefined) resume();
    } catch (error) {
      log.error({ event: "delivery_hold_unread", err: error }, "delivery hold not read, retrying");
    }
  };

  return {
    control: {
      heldSince: () => heldSince,
      resume: async () => {
        await store.endDeliveryHold();
        resume();
      },
    },
    carriers: [...carriers.keys()],
    report: async (report) => {
      const [applied = UNMATCHED] = await store.applyReports([report]);
      pools.book([applied]);
      observe(report, applied);
      return applied;
    },
    accepted: (segments) => {
      yielding.noteCall();
      pools.bookAccepted(segments);
      dispatcher.wake(segments.keys());
    },
    start: async (release) => {
      const { settled } = await synchronize();
      if (settled.length > 0) {
        log.warn({ messages: settled.length }, "the outcome of messages that were being sent is not known");
      }
      heldSince = await store.readDeliveryHold();
      if (heldSince !== undefined) {
        log.warn(
          { event: "delivery_held", held_since: new Date(heldSince).toISOString() },
          "delivery held: the database is a backup; sends wait until `numberpool delivery resume`",
        );
        watchingHold = setInterval(watchHold, HOLD_POLL);
      }
      await lookForUnreachable();
      await dispatcher.start();
      maintenance.start();
      scheduler = createScheduler({ release, yieldAfter: yielding.yieldAfter, clock, log });
      scheduler.start();
    },
    stop: async (within) => {
      clearInterval(watchingHold);
      await scheduler?.stop();
      await dispatcher.stop(within);
      // What is still open is answered by that, and the answers are written.
      for (const carrier of carriers.values()) await carrier.close();
      await dispatcher.stop(LAST_WORDS);
      await Promise.race([reporter.settle(), setTimeout(LAST_WORDS)]);
      await maintenance.stop();
    },
  };
}
