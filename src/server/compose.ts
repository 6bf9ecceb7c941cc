import { randomBytes } from "node:crypto";
import type { Config } from "../config/config.ts";
import { createIds } from "../domain/ids.ts";
import { openPools } from "../engine/pools/pools.ts";
import { createScheduledRelease } from "../engine/schedule/release.ts";
import type { ServiceParts } from "../service/parts.ts";
import { createServices } from "../service/services.ts";
import type { Log } from "../telemetry/log.ts";
import { createMetrics } from "../telemetry/metrics.ts";
import { openAuthentication } from "../transport/authentication.ts";
import { installKey } from "./api-keys.ts";
import { openDatabase } from "./database.ts";
import { createDelivery } from "./delivery.ts";
import { createPorts, type Ports } from "./ports.ts";
import { makeSample, type Sample } from "./sample.ts";
import { timedStore } from "./timed-store.ts";

/** A server whose parts are constructed. */
export type Server = {
  /** The database's name, without credentials. */
  readonly database: string;
  /** Starts delivery, then the ports. Gives the actual addresses. */
  readonly start: () => ReturnType<Ports["listen"]>;
  /** Fills an empty database; undefined: it is not empty. */
  readonly createSample: () => Promise<Sample | undefined>;
  /** Drains the ports and delivery within `maxMs`, then closes the database. */
  readonly stop: (maxMs: number) => Promise<void>;
};

/**
 * Constructs a server from its configuration: the only place that connects its parts. Throws an
 * error of one sentence when the database or a certificate cannot be used.
 */
export async function compose(config: Config, log: Log): Promise<Server> {
  const ids = createIds((bytes) => randomBytes(bytes));
  const metrics = createMetrics();
  const database = await openDatabase(config, log, metrics.observeCommit);
  const { clock } = database;
  const store = timedStore(database.store, metrics.timed);
  const organization = await installKey(store, config.apiKey, clock(), ids);
  const pools = openPools(store, clock, new Set(config.carriers.keys()));
  metrics.watch({ measureQueue: store.measureQueue, countUnhealthy: pools.countUnhealthy, clock });
  const authentication = await openAuthentication(store);
  const { observeReport: observe, observeUnreachable } = metrics;
  const delivery = createDelivery({ config, store, pools, log, clock, observe, observeUnreachable });
  metrics.watchCarriers(delivery.carriers);
  const serviceParts: ServiceParts = {
    store,
    pools,
    clock,
    ids,
    carriers: delivery.carriers.map(({ name }) => name),
    mayShareNumbers: config.allowSharedNumbers,
    stickyLifetimeMs: config.stickyLifetimeSeconds * 1000,
    report: delivery.report,
    delivery: delivery.control,
    onAccepted: delivery.accepted,
  };
  const ports = createPorts({
    config,
    services: createServices(serviceParts),
    authenticate: authentication.authenticate,
    metrics,
    log,
    clock,
    probe: store.probe,
    heldSince: delivery.control.heldSince,
  });

  return {
    database: store.name,
    start: async () => {
      await delivery.start(createScheduledRelease(serviceParts));
      return ports.listen();
    },
    createSample: () => makeSample(store, organization, clock(), ids),
    stop: async (maxMs) => {
      // No message is claimed from now on, while calls in flight are answered.
      await Promise.all([ports.drain(), delivery.stop(maxMs / 2)]);
      ports.close();
      authentication.close();
      pools.close();
      await database.close();
    },
  };
}
