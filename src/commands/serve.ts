import { randomBytes, randomUUID } from "node:crypto";
import { createServer, type Server as HttpServer } from "node:http";
import { type Server as GrpcServer, ServerCredentials } from "@grpc/grpc-js";
import { pino } from "pino";
import type { Carrier, CarrierParts } from "../carriers/carrier.ts";
import { createSandbox } from "../carriers/sandbox.ts";
import { type Address, type Config, isLoopback } from "../config.ts";
import { createDispatcher } from "../delivery/dispatcher.ts";
import { createReporter } from "../delivery/reporter.ts";
import { createIds } from "../domain/ids.ts";
import { IDEMPOTENCY_KEPT, RETRY_REMEMBERED } from "../domain/limits.ts";
import { createAdmission } from "../doors/admission.ts";
import { openAuthentication } from "../doors/authentication.ts";
import { createGrpcDoor } from "../doors/grpc/door.ts";
import { addHealth, addReflection } from "../doors/grpc/public-services.ts";
import { createHttpPort } from "../doors/http-port.ts";
import { createInvoke } from "../doors/invoke.ts";
import { readTls, type Tls } from "../doors/tls.ts";
import { createServices } from "../service/services.ts";
import { openPools } from "../store/pools.ts";
import { holdExclusively } from "../store/sqlite/open.ts";
import { openSqliteStore } from "../store/sqlite/sqlite-store.ts";
import { createMetrics } from "./metrics.ts";
import { installKey } from "./organization.ts";
import { makeSample, sampleCommands } from "./sample.ts";

/** A drain takes this long at most, milliseconds. */
const DRAIN = 30_000;
/** A second signal this soon is the same keypress, reaching us once more through npm, milliseconds. */
const SAME_KEYPRESS = 2_000;
/** A store that was found writable counts as writable for so long, milliseconds. */
const PROBE_INTERVAL = 1_000;
/** How often what is outdated is forgotten, milliseconds, and how much at a time. */
const FORGET_INTERVAL = 10_000;
const FORGET_AT_ONCE = 20_000;

/**
 * Serves until SIGTERM or SIGINT, then drains. Prints one JSON line on standard output when it is ready. Throws one sentence when it
 * cannot start.
 */
export async function serve(config: Config): Promise<void> {
  const clock = Date.now;
  const tls = readTls({
    certificate: config.tlsCertificate,
    key: config.tlsKey,
    clientAuthority: config.tlsClientAuthority,
  });
  const log = pino({ level: config.logLevel, base: null }, pino.destination({ dest: 2, sync: false, minLength: 4096 }));
  const flushLog = setInterval(() => log.flush(), 250);
  flushLog.unref();
  const ids = createIds((bytes) => randomBytes(bytes));
  const letGo = holdExclusively(config.database);
  const metrics = createMetrics();
  const opened = openSqliteStore(config.database, {
    onLost: (error) => {
      // What is in memory may not be what is on disk; the next start reads the truth.
      log.fatal({ err: error }, "the disk failed");
      log.flush();
      process.exit(1);
    },
  });

  const store = metrics.measured(opened);
  const organization = await installKey(store, config.apiKey, clock(), ids);
  const sample = config.sample ? await makeSample(store, organization, clock(), ids) : undefined;
  // Nobody else serves this file: whatever was being sent when the last process ended has an unknown outcome.
  const uncertain = await store.settleOwner("all", clock());
  if (uncertain > 0) log.warn({ messages: uncertain }, "the outcome of messages that were being sent is not known");

  const pools = openPools(store, clock);
  metrics.watch(store, pools, clock);
  const { authenticate, close: closeAuthentication } = await openAuthentication(store);
  const reporter = createReporter({ store, pools, log, observe: metrics.observeReport });
  const carriers = new Map<string, Carrier>();
  for (const [name, settings] of config.carriers) {
    const parts: CarrierParts = {
      name,
      clock,
      random: Math.random,
      onEvent: (carrier, { carrierMessageId, report }) => {
        void reporter.report({ target: { carrier, carrierMessageId }, report });
      },
    };
    carriers.set(name, createSandbox(parts, settings));
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

  const services = createServices({
    store,
    pools,
    clock,
    ids,
    carriers: [...carriers.keys()],
    stickyLifetime: config.stickyLifetimeSeconds * 1000,
    onAccepted: dispatcher.wake,
  });
  const invoke = createInvoke({ services, log, observe: metrics.observeCall });
  let isDraining = false;
  let probed = { at: 0, outcome: Promise.resolve() };
  const checkReady = async () => {
    if (isDraining) throw new Error("draining");
    // A probe syncs the disk, and anybody may ask: once a second is enough.
    if (clock() - probed.at > PROBE_INTERVAL) probed = { at: clock(), outcome: store.probe() };
    await probed.outcome;
  };
  const { callsPerSecond } = config;
  const admit = createAdmission({ authenticate, callsPerSecond, inFlight: invoke.inFlight, clock });
  const http = createHttpPort({ invoke, admit, checkReady, tls });
  const grpc = createGrpcDoor({ invoke, admit });
  const descriptors = services.map(({ service }) => service);
  const health = addHealth(grpc, descriptors);
  // What it tells is public anyway, but a port that is open to the world should not draw its own map.
  if (isLoopback(config.grpcAddress)) addReflection(grpc, descriptors);

  await dispatcher.start();
  const forgetting = setInterval(() => {
    const now = clock();
    const before = {
      keys: now - IDEMPOTENCY_KEPT,
      recentSends: now - RETRY_REMEMBERED,
      stickyMappings: now - config.stickyLifetimeSeconds * 1000,
    };
    store.forget(before, FORGET_AT_ONCE).catch((error) => log.error({ err: error }, "outdated rows stay for now"));
  }, FORGET_INTERVAL);

  const httpAt = await http.listen({ host: config.httpAddress.host, port: config.httpAddress.port }).then(() => {
    const { address, port } = http.server.address() as { address: string; port: number };
    return addressText({ host: address, port });
  });
  const grpcAt = await listenGrpc(grpc, config.grpcAddress, tls);
  const metricsServer = createServer(metrics.handle);
  const metricsAt = await listenHttp(metricsServer, config.metricsAddress);
  const ready = { ready: true, http: httpAt, grpc: grpcAt, metrics: metricsAt, database: store.name };
  process.stdout.write(`${JSON.stringify(ready)}\n`);
  if (sample !== undefined) process.stderr.write(sampleCommands(sample, httpAt));

  await signalled();
  isDraining = true;
  health.stopServing();
  log.info("draining");
  const deadline = setTimeout(() => {
    log.error("the drain took too long");
    log.flush();
    process.exit(1);
  }, DRAIN);
  deadline.unref();
  await Promise.all([http.close(), new Promise<void>((resolve) => grpc.tryShutdown(() => resolve()))]);
  clearInterval(forgetting);
  await dispatcher.stop(DRAIN / 2);
  for (const carrier of carriers.values()) await carrier.close();
  await reporter.settle();
  metricsServer.close();
  closeAuthentication();
  pools.close();
  await store.close();
  letGo();
  log.info("stopped");
  log.flush();
  process.exit(0);
}

/** Resolves at the first SIGTERM or SIGINT; a second one ends the process at once. */
function signalled(): Promise<void> {
  let first: number | undefined;
  return new Promise((resolve) => {
    const onSignal = () => {
      if (first === undefined) {
        first = Date.now();
        resolve();
      } else if (Date.now() - first > SAME_KEYPRESS) process.exit(1);
    };
    process.on("SIGTERM", onSignal);
    process.on("SIGINT", onSignal);
  });
}

function listenGrpc(server: GrpcServer, at: Address, tls: Tls | undefined): Promise<string> {
  const credentials =
    tls === undefined
      ? ServerCredentials.createInsecure()
      : ServerCredentials.createSsl(
          tls.clientAuthority ?? null,
          [{ private_key: tls.key, cert_chain: tls.certificate }],
          tls.clientAuthority !== undefined,
        );
  return new Promise((resolve, reject) => {
    server.bindAsync(addressText(at), credentials, (error, port) => {
      if (error !== null) reject(error);
      else resolve(addressText({ host: at.host, port }));
    });
  });
}

function listenHttp(server: HttpServer, at: Address): Promise<string> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(at.port, at.host, () => {
      const { port } = server.address() as { port: number };
      resolve(addressText({ host: at.host, port }));
    });
  });
}

function addressText({ host, port }: Address): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
