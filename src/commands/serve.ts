import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import type { Config } from "../config.ts";
import { openSharedClock } from "../delivery/shared-clock.ts";
import { createIds } from "../domain/ids.ts";
import { createScheduledRelease } from "../service/scheduled-release.ts";
import { createServices, type ServiceParts } from "../service/services.ts";
import { openPools } from "../store/pools.ts";
import { codeOf, holdExclusively } from "../store/sqlite/open.ts";
import { inspectLog } from "../store/sqlite/write-ahead-log.ts";
import type { Store } from "../store/store.ts";
import { openAuthentication } from "../transport/authentication.ts";
import { createDelivery } from "./delivery.ts";
import { openLog } from "./log.ts";
import { createMetrics } from "./metrics.ts";
import { isPostgres, openStore } from "./open-store.ts";
import { installKey } from "./organization.ts";
import { createPorts } from "./ports.ts";
import { makeSample, sampleCommands } from "./sample.ts";

/** A drain takes this long at most, milliseconds. */
const DRAIN = 30_000;
/** A second signal this soon is the same keypress, reaching us once more through npm, milliseconds. */
const SAME_KEYPRESS = 2_000;

/**
 * Serves until SIGTERM or SIGINT, then drains. Prints one JSON line on standard output when it is ready. Throws one sentence when it
 * cannot start.
 */
export async function serve(config: Config): Promise<void> {
  const stop = signalled();
  const { log, finish } = openLog(config.logLevel);
  const ids = createIds((bytes) => randomBytes(bytes));
  const metrics = createMetrics();

  const letGo = isPostgres(config) ? () => {} : holdExclusively(config.database);
  if (!isPostgres(config)) tellOfLog(config.database, log);
  const onLost = (error: unknown) => {
    // What is in memory may not be what is on disk; the next start reads the truth.
    log.fatal({ err: error }, "the disk failed");
    log.flush();
    process.exit(1);
  };
  const onMoved = (detail: string | undefined) => {
    if (detail === undefined) log.warn({ event: "database_file_back" }, "database file back in place");
    else log.error({ event: "database_file_moved", database: config.database }, detail);
  };
  const store = metrics.measured(await openStore(config, { onLost, onMoved }));
  await checkWritable(store);
  // Paces and days of numbers are kept by all processes together, so they go by one clock.
  const sleep = (milliseconds: number) => delay(milliseconds, undefined, { ref: false });
  const own = { system: Date.now, monotonic: () => performance.now(), sleep };
  const shared = store.readClock && (await openSharedClock({ read: store.readClock, ...own, log }));
  const clock = shared?.now ?? Date.now;
  const organization = await installKey(store, config.apiKey, clock(), ids);

  const pools = openPools(store, clock, new Set(config.carriers.keys()));
  metrics.watch(store, pools, clock);
  const { authenticate, close: closeAuthentication } = await openAuthentication(store);
  const delivery = createDelivery({
    config,
    store,
    pools,
    log,
    clock,
    observe: metrics.observeReport,
    unreachable: metrics.unreachable,
  });
  const serviceParts: ServiceParts = {
    store,
    pools,
    clock,
    ids,
    carriers: delivery.carriers,
    mayShareNumbers: config.allowSharedNumbers,
    stickyLifetime: config.stickyLifetimeSeconds * 1000,
    report: delivery.report,
    delivery: delivery.control,
    onAccepted: delivery.accepted,
  };
  const services = createServices(serviceParts);
  const ports = createPorts({
    config,
    services,
    authenticate,
    metrics,
    log,
    clock,
    probe: store.probe,
    heldSince: delivery.control.heldSince,
  });

  await delivery.start(createScheduledRelease(serviceParts));
  const addresses = await ports.listen();
  // Its key is shown once, so it is made when nothing can keep the program from showing it.
  const sample = config.sample ? await makeSample(store, organization, clock(), ids) : undefined;
  process.stdout.write(`${JSON.stringify({ ready: true, ...addresses, database: store.name })}\n`);
  if (sample !== undefined) process.stderr.write(sampleCommands(sample, addresses.http));

  await stop;
  log.info("draining");
  setTimeout(() => {
    log.error("the drain took too long");
    log.flush();
    process.exit(1);
  }, DRAIN).unref();
  // Nothing more is claimed from now on, while calls under way are answered.
  await Promise.all([ports.drain(), delivery.stop(DRAIN / 2)]);
  ports.close();
  closeAuthentication();
  pools.close();
  shared?.close();
  await store.close();
  letGo();
  log.info("stopped");
  await finish();
  process.exit(0);
}

/** Says what recovery finds in the log of a SQLite file: commits that stood only there, or that it has to pass by. */
function tellOfLog(database: string, log: Logger): void {
  const { pages, commits, lostCommits, keptAs } = inspectLog(database);
  const found = { database, log_pages: pages, log_commits: commits };
  if (lostCommits === 0) {
    log.info({ event: "log_recovered", ...found }, "write-ahead log recovered");
    return;
  }
  log.error(
    { event: "log_damaged", ...found, lost_commits: lostCommits, kept_as: keptAs },
    "write-ahead log damaged: commits behind the damage are lost; the log is kept",
  );
}

/** Throws one sentence when the store cannot be written. */
async function checkWritable(store: Store): Promise<void> {
  try {
    await store.probe();
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    const isReadOnly = codeOf(cause).startsWith("SQLITE_READONLY");
    const why = isReadOnly
      ? "it is read-only"
      : cause instanceof Error
        ? cause.message.replace(/\.$/, "")
        : String(cause);
    throw new Error(`${store.name} cannot be written: ${why}.`);
  }
}

/** Resolves at the first SIGTERM or SIGINT; a second one ends the process at once. */
function signalled(): Promise<void> {
  let first: number | undefined;
  return new Promise((resolve) => {
    const onSignal = () => {
      if (first === undefined) {
        first = performance.now();
        resolve();
      } else if (performance.now() - first > SAME_KEYPRESS) process.exit(1);
    };
    process.on("SIGTERM", onSignal);
    process.on("SIGINT", onSignal);
  });
}
