import type { Config } from "../config/config.ts";
import { openLog } from "../telemetry/log.ts";
import { compose } from "./compose.ts";
import { sampleCommands } from "./sample.ts";
import { stopSignal } from "./stop-signal.ts";

const MAX_DRAIN_MS = 30_000;

/**
 * Serves until SIGTERM or SIGINT, then drains. Prints one JSON line on standard output when ready.
 * Throws an error of one sentence when it cannot start.
 */
export async function serve(config: Config): Promise<void> {
  const stop = stopSignal();
  const { log, finish } = openLog(config.logLevel, process.stderr, Date.now);
  const server = await compose(config, log);
  const addresses = await server.start();
  // Its key is shown only once, so create it when nothing else can fail before it is shown.
  const sample = config.sample ? await server.createSample() : undefined;
  process.stdout.write(`${JSON.stringify({ ready: true, ...addresses, database: server.database })}\n`);
  if (sample !== undefined) process.stderr.write(sampleCommands(sample, addresses.http));

  await stop;
  log.info({ event: "drain_started" }, "drain started");
  setTimeout(() => {
    log.error({ event: "drain_timed_out", duration_ms: MAX_DRAIN_MS }, "drain timed out");
    log.flush();
    process.exit(1);
  }, MAX_DRAIN_MS).unref();
  await server.stop(MAX_DRAIN_MS);
  log.info({ event: "server_stopped" }, "server stopped");
  await finish();
  process.exit(0);
}
