import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import type { Config } from "../config.ts";
import { createIds } from "../domain/ids.ts";
import { openPools } from "../engine/pools/pools.ts";
import { createScheduledRelease } from "../engine/schedule/release.ts";
import { openSharedClock } from "../engine/shared-clock.ts";
import type { ServiceParts } from "../service/parts.ts";
import { createServices } from "../service/services.ts";
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

const MAX_DRAIN_MS = 30_000;
/** A second signal within this time is the same keypress, sent on by npm. */
const SAME_KEYPRESS_MS = 2_000;

/**
 * Serves until SIGTERM or SIGINT, then drains. Prints one JSON line on standard output when ready.
 * Throws an error of one sentence when it cannot start.
 */
export async function serve(config: Config): Promise<void> {
  const stop = signalled();
  const { log, finish } = openLog(config.logLevel);
  const ids = createIds((bytes) => randomBytes(bytes));
  const metrics = createMetrics();

  const unlock = isPostgres(config) ? () => {} : holdExclusively(config.database);
  if (!isPostgres(config)) logRecovery(config.database, log);
  const onLost = (error: unknown) => {
    // Memory and disk may differ now; the next start reads the disk.
    log.fatal({ event: "disk_failed", err: error }, "disk failed");
    log.flush();
    process.exit(1);
  };
  const onMoved = (detail: string | undefined) => {
    if (detail === undefined) log.warn({ event: "database_file_back" }, "database file back in place");
    else log.error({ event: "database_file_moved", database: config.database }, detail);
  };
  const store = metrics.measured(await openStore(config, { onLost, onMoved }));
  await checkWritable(store);
  // All processes share the numbers' pace and daily limits, so they share one clock.
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
    observeUnreachable: metrics.observeUnreachable,
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
  // Its key is shown only once, so create it when nothing else can fail before it is shown.
  const sample = config.sample ? await makeSample(store, organization, clock(), ids) : undefined;
  process.stdout.write(`${JSON.stringify({ ready: true, ...addresses, database: store.name })}\n`);
  if (sample !== undefined) process.stderr.write(sampleCommands(sample, addresses.http));

  await stop;
  log.info({ event: "drain_started" }, "drain started");
  setTimeout(() => {
    log.error({ event: "drain_timed_out", duration_ms: MAX_DRAIN_MS }, "drain timed out");
    log.flush();
    process.exit(1);
  }, MAX_DRAIN_MS).unref();
  // No message is claimed from now on, while calls in flight are answered.
  await Promise.all([ports.drain(), delivery.stop(MAX_DRAIN_MS / 2)]);
  ports.close();
  closeAuthentication();
  pools.close();
  shared?.close();
  await store.close();
  unlock();
  log.info({ event: "server_stopped" }, "server stopped");
  await finish();
  process.exit(0);
}

/**
 * Logs the state of a SQLite file's write-ahead log: the commits that recovery applies, and those
 * that are lost.
 */
function logRecovery(database: string, log: Logger): void {
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

/** Throws an error of one sentence when the store is not writable. */
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
      } else if (performance.now() - first > SAME_KEYPRESS_MS) process.exit(1);
    };
    process.on("SIGTERM", onSignal);
    process.on("SIGINT", onSignal);
  });
}
