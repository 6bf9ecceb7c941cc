import { randomBytes, randomUUID } from "node:crypto";
import type { Config } from "../config/config.ts";
import { createIds } from "../domain/ids.ts";
import { createEngine } from "../engine/engine.ts";
import type { ServiceParts } from "../service/parts.ts";
import { createServices } from "../service/services.ts";
import type { Log } from "../telemetry/log.ts";
import { createMetrics } from "../telemetry/metrics.ts";
import { openAuthentication } from "../transport/authentication.ts";
import { installKey } from "./api-keys.ts";
import { openDatabase } from "./database.ts";
import { createPorts, type Ports } from "./ports.ts";
import { makeSample, type Sample } from "./sample.ts";
import { timedStore } from "./timed-store.ts";

/** A server whose parts are constructed. */
export type Server = {
  /** The database's name, without credentials. */
  readonly database: string;
  /** Starts the engine, then the ports. Gives the actual addresses. */
  readonly start: () => ReturnType<Ports["listen"]>;
  /** Fills an empty database; undefined: it is not empty. */
  readonly createSample: () => Promise<Sample | undefined>;
  /** Drains the ports and the engine within `maxMs`, then closes the database. */
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
  const authentication = await openAuthentication(store);
  const stickyLifetimeMs = config.stickyLifetimeSeconds * 1000;
  const engine = createEngine({
    store,
    carriers: config.carriers,
    settings: {
      submitTimeoutMs: config.submitTimeoutSeconds * 1000,
      receiptWindowMs: config.receiptWindowSeconds * 1000,
      messageRetentionMs: config.messageRetentionSeconds * 1000,
      stickyLifetimeMs,
    },
    log,
    metrics,
    ids,
    clock,
    random: Math.random,
    owner: randomUUID(),
  });
  metrics.watch({ measureQueue: store.measureQueue, countUnhealthy: engine.pools.countUnhealthy, clock });
  metrics.watchCarriers(engine.carriers);
  const serviceParts: ServiceParts = {
    store,
    pools: engine.pools,
    clock,
    ids,
    carriers: engine.carriers.map(({ name }) => name),
    mayShareNumbers: config.allowSharedNumbers,
    stickyLifetimeMs,
    engine,
  };
  const ports = createPorts({
    config,
    services: createServices(serviceParts),
    authenticate: authentication.authenticate,
    metrics,
    log,
    clock,
    probe: store.probe,
    heldSince: engine.delivery.heldSince,
  });

  return {
    database: store.name,
    start: async () => {
      await engine.start();
      return ports.listen();
    },
    createSample: () => makeSample(store, organization, clock(), ids),
    stop: async (maxMs) => {
      // No message is claimed from now on, while calls in flight are answered.
      await Promise.all([ports.drain(), engine.stop(maxMs / 2)]);
      ports.close();
      authentication.close();
      engine.close();
      await database.close();
    },
  };
}
