import { setTimeout } from "node:timers/promises";
import type { Carrier, CarrierParts } from "../carriers/carrier.ts";
import { type CarrierSettings, openCarrier } from "../carriers/registry.ts";
import type { Ids } from "../domain/ids.ts";
import type { Store } from "../store/store.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { createAcceptance } from "./accept/acceptance.ts";
import { createDeliveryHold, type DeliveryControl } from "./delivery-hold.ts";
import { createDispatcher } from "./dispatch/dispatcher.ts";
import { createMaintenance } from "./maintenance/maintenance.ts";
import { type MaintenanceSettings, maintenanceTasks } from "./maintenance/maintenance-tasks.ts";
import { createUnreachableCount } from "./maintenance/unreachable-numbers.ts";
import { openPools, type Pools } from "./pools/pools.ts";
import { createReporter, type Reporter } from "./reports/reporter.ts";
import { createScheduledRelease } from "./schedule/release.ts";
import { createScheduler } from "./schedule/scheduler.ts";
import { createYielding } from "./yielding.ts";

/** Everything that runs between the services and the store. */
export type Engine = {
  /** The pools in memory. */
  readonly pools: Pools;
  /** The configured carriers, open. */
  readonly carriers: readonly Carrier[];
  /** Decides and stores sends, by group commit. */
  readonly accept: ReturnType<typeof createAcceptance>["accept"];
  /** Stores a report at once. Rejects when the store fails, since the caller can retry. */
  readonly report: Reporter["reportNow"];
  /** Whether delivery is held, and how to resume it. */
  readonly delivery: DeliveryControl;
  /** Starts delivery, scheduled sends and maintenance. Sends are accepted before, too. */
  readonly start: () => Promise<void>;
  /** Resolves when every submit under way is answered and stored, or after so many milliseconds. */
  readonly stop: (withinMs: number) => Promise<void>;
  /** Releases the pools, after the last call. */
  readonly close: () => void;
};

/** The parts of an engine. */
export type EngineParts = {
  readonly store: Store;
  /** The settings of each configured carrier. */
  readonly carriers: ReadonlyMap<string, CarrierSettings>;
  readonly settings: EngineSettings;
  readonly log: Log;
  readonly metrics: Pick<Metrics, "observeReport" | "observeUnreachable">;
  readonly ids: Ids;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  /** A number from 0 to 1, 1 excluded. */
  readonly random: () => number;
  /** This process, as claimed messages name it. */
  readonly owner: string;
};

/** The settings of an engine. */
export type EngineSettings = MaintenanceSettings & {
  /** The wait for an answer to a submit; after it the submit counts as unconfirmed. */
  readonly submitTimeoutMs: number;
};

/** The longest wait for the last answers to be stored: the database may be unavailable. */
const MAX_LAST_WRITES_MS = 2_000;

/** Constructs an engine: the only place that connects its parts. Nothing runs before `start`. */
export function createEngine(parts: EngineParts): Engine {
  const { store, settings, clock, log, owner } = parts;
  const { yieldAfter, noteCall } = createYielding(() => performance.now(), store.delivery.isBlocking);
  const pools = openPools(store, clock, new Set(parts.carriers.keys()));
  const reporter = createReporter({ ...parts, pools, yieldAfter });
  const carriers = openCarriers(parts, reporter);
  const hold = createDeliveryHold(store, log, () => dispatcher.resume());
  const { submitTimeoutMs } = settings;
  const isDeliveryHeld = () => hold.heldSince() !== undefined;
  const delivering = { pools, carriers, reporter, yieldAfter, submitTimeoutMs, isDeliveryHeld };
  const dispatcher = createDispatcher({ ...parts, ...delivering });
  const onAccepted = (segments: ReadonlyMap<string, number>) => {
    noteCall();
    pools.bookAccepted(segments);
    dispatcher.wake(segments.keys());
  };
  const deciding = { ...parts, pools, stickyLifetimeMs: settings.stickyLifetimeMs, onAccepted };
  const { accept } = createAcceptance(deciding);
  const scheduler = createScheduler({ release: createScheduledRelease(deciding), yieldAfter, clock, log });
  const synchronize = () => pools.exchange((backlog) => store.synchronize({ owner, now: clock(), backlog }));
  const countUnreachable = createUnreachableCount({
    store,
    log,
    carriers: [...carriers.keys()],
    observe: parts.metrics.observeUnreachable,
  });
  const tasks = maintenanceTasks({ settings, store, pools, clock, synchronize, countUnreachable });
  const maintenance = createMaintenance(tasks, log);

  return {
    pools,
    carriers: [...carriers.values()],
    accept,
    report: reporter.reportNow,
    delivery: { heldSince: hold.heldSince, resume: hold.resume },
    start: async () => {
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
      scheduler.start();
    },
    stop: async (withinMs) => {
      hold.stop();
      await scheduler.stop();
      await dispatcher.stop(withinMs);
      // Closing a carrier answers its open submits; those answers are stored next.
      for (const carrier of carriers.values()) await carrier.close();
      await dispatcher.stop(MAX_LAST_WRITES_MS);
      await Promise.race([reporter.settle(), setTimeout(MAX_LAST_WRITES_MS)]);
      await maintenance.stop();
    },
    close: pools.close,
  };
}

/** Opens the configured carriers. Their receipts are reported. */
function openCarriers({ carriers, clock, random }: EngineParts, reporter: Reporter): ReadonlyMap<string, Carrier> {
  const onEvent: CarrierParts["onEvent"] = (carrier, { carrierMessageId, report }) => {
    void reporter.report({ target: { carrier, carrierMessageId }, report, receivedAt: clock() });
  };
  return new Map(
    [...carriers].map(([name, settings]) => [name, openCarrier({ name, clock, random, onEvent }, settings)]),
  );
}
