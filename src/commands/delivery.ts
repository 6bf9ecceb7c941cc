import { randomUUID } from "node:crypto";
import type { Logger } from "pino";
import type { Carrier } from "../carriers/carrier.ts";
import { createSandbox } from "../carriers/sandbox.ts";
import type { Config } from "../config.ts";
import { createDispatcher } from "../delivery/dispatcher.ts";
import { createReporter, type ReporterParts } from "../delivery/reporter.ts";
import { IDEMPOTENCY_KEPT, RETRY_REMEMBERED } from "../domain/limits.ts";
import type { Pools } from "../store/pools.ts";
import type { Store } from "../store/store.ts";

/** What runs on its own: the carriers, the dispatcher that feeds them, and the sweep of what is outdated. */
export type Delivery = {
  /** The names of the configured carriers. */
  readonly carriers: readonly string[];
  /** Tells of numbers that have new messages. */
  readonly wake: (phoneNumberIds: Iterable<string>) => void;
  readonly start: () => Promise<void>;
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
};

/** How often what is outdated is forgotten, milliseconds, and how much at a time. */
const FORGET_INTERVAL = 10_000;
const FORGET_AT_ONCE = 20_000;

/** Puts delivery together. Nothing runs before `start`. */
export function createDelivery({ config, store, pools, log, clock, observe }: DeliveryParts): Delivery {
  const reporter = createReporter({ store, pools, log, observe });
  const carriers = new Map<string, Carrier>();
  for (const [name, settings] of config.carriers) {
    const onEvent: Parameters<typeof createSandbox>[0]["onEvent"] = (carrier, { carrierMessageId, report }) => {
      void reporter.report({ target: { carrier, carrierMessageId }, report });
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
    owner: randomUUID(),
    submitTimeout: config.submitTimeoutSeconds * 1000,
  });

  let forgetting: NodeJS.Timeout | undefined;
  const forget = () => {
    const now = clock();
    const before = {
      keys: now - IDEMPOTENCY_KEPT,
      recentSends: now - RETRY_REMEMBERED,
      stickyMappings: now - config.stickyLifetimeSeconds * 1000,
    };
    store.forget(before, FORGET_AT_ONCE).catch((error) => log.error({ err: error }, "outdated rows stay for now"));
  };

  return {
    carriers: [...carriers.keys()],
    wake: dispatcher.wake,
    start: async () => {
      await dispatcher.start();
      forgetting = setInterval(forget, FORGET_INTERVAL);
    },
    stop: async (within) => {
      clearInterval(forgetting);
      await dispatcher.stop(within);
      for (const carrier of carriers.values()) await carrier.close();
      await reporter.settle();
    },
  };
}
