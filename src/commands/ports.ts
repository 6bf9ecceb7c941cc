import { createServer, type Server as HttpServer } from "node:http";
import { Server as NetServer } from "node:net";
import { setTimeout } from "node:timers/promises";
import { type Server as GrpcServer, logVerbosity, setLogVerbosity } from "@grpc/grpc-js";
import type { Logger } from "pino";
import { type Address, type Config, isLoopback } from "../config.ts";
import type { Service } from "../service/services.ts";
import { createAdmission } from "../transport/admission.ts";
import type { Authenticate } from "../transport/authentication.ts";
import { createGrpcListener } from "../transport/grpc/listener.ts";
import { addHealth, addReflection } from "../transport/grpc/public-services.ts";
import { createGrpcTransport } from "../transport/grpc/transport.ts";
import { createHttpConnections, type HttpConnections } from "../transport/http-connections.ts";
import { createHttpPort } from "../transport/http-port.ts";
import { createInvoke } from "../transport/invoke.ts";
import { readTls } from "../transport/tls.ts";
import { connectionLimits } from "./connection-limits.ts";
import type { Metrics } from "./metrics.ts";

/** The three ports: JSON and Connect, gRPC, and metrics. */
export type Ports = {
  /** Listens, and gives the real addresses, "host:port". */
  readonly listen: () => Promise<{ readonly http: string; readonly grpc: string; readonly metrics: string }>;
  /** Takes nothing new, and resolves when the last call was answered. The metrics stay. */
  readonly drain: () => Promise<void>;
  readonly close: () => void;
};

export type PortsParts = {
  readonly config: Config;
  readonly services: readonly Service[];
  readonly authenticate: Authenticate;
  readonly metrics: Metrics;
  readonly log: Logger;
  readonly clock: () => number;
  /** Rejects while the store cannot be written. */
  readonly probe: () => Promise<void>;
  /** Since when delivery is held; undefined: it is not. */
  readonly heldSince: () => number | undefined;
};

/** How long a drain leaves idle connections alone, and how long busy ones, milliseconds. */
const DRAIN_GRACE = 500;
const DRAIN_BUSY = 15_000;
/** A store that was found writable counts as writable for so long, milliseconds: a probe syncs the disk, and anybody may ask. */
const PROBE_INTERVAL = 1_000;

/** Puts the ports together. Throws one sentence when a certificate cannot be read. */
export function createPorts({
  config,
  services,
  authenticate,
  metrics,
  log,
  clock,
  probe,
  heldSince,
}: PortsParts): Ports {
  const tls = readTls({
    certificate: config.tlsCertificate,
    key: config.tlsKey,
    clientAuthority: config.tlsClientAuthority,
  });
  const invoke = createInvoke({ services, log, observe: metrics.observeCall });
  const { callsPerSecond } = config;
  // Spans, not times of day: a system clock that is set must not change them.
  const elapsed = () => performance.now();
  const connections = createHttpConnections(elapsed);
  // A call is under way until its answer was taken from us; and where nobody takes answers, no more are made.
  const inFlight = () =>
    connections.isFull() ? Number.POSITIVE_INFINITY : invoke.inFlight() + connections.unsentAnswers();
  const admit = createAdmission({ authenticate, callsPerSecond, inFlight, elapsed });

  let isDraining = false;
  let probed = { at: Number.NEGATIVE_INFINITY, outcome: Promise.resolve() };
  const checkReady = async () => {
    if (isDraining) throw new Error("draining");
    if (elapsed() - probed.at > PROBE_INTERVAL) probed = { at: elapsed(), outcome: probe() };
    await probed.outcome;
    return heldSince() === undefined ? {} : { delivery: "held" };
  };

  const http = createHttpPort({ invoke, admit, connections, checkReady, tls });
  // What cannot be listened on is told once, by us.
  setLogVerbosity(logVerbosity.NONE);
  const grpc = createGrpcTransport({ invoke, admit, clock });
  const descriptors = services.map(({ service }) => service);
  const health = addHealth(grpc, descriptors);
  // What it tells is public anyway, but a port that is open to the world should not draw its own map.
  if (isLoopback(config.grpcAddress)) addReflection(grpc, descriptors);
  const metricsServer = createServer(metrics.handle);
  const limits = connectionLimits(config.maxConnections);
  const grpcListener = createGrpcListener(grpc, tls, limits.grpc);
  // Connections beyond it are closed at once.
  http.server.maxConnections = limits.http;
  metricsServer.maxConnections = limits.metrics;

  return {
    listen: async () => ({
      http: await listenAt(http.server, config.httpAddress, () => http.listen(config.httpAddress)),
      grpc: await listenAt(grpcListener, config.grpcAddress),
      metrics: await listenAt(metricsServer, config.metricsAddress),
    }),
    drain: async () => {
      isDraining = true;
      health.stopServing();
      await Promise.all([drainHttp(http.server, connections), drainGrpc(grpc, grpcListener)]);
      await http.close();
    },
    close: () => {
      metricsServer.close();
    },
  };
}

/**
 * Closes an HTTP server without cutting a call off. Node's own close ends connections that are idle at that moment, a request that
 * has arrived but was not read yet included; so first nothing new is let in, and what is there gets time to be read, answered and
 * closed by its answer. Connections that say nothing are closed then, and whatever is still busy at half of the drain.
 */
async function drainHttp(server: HttpServer, connections: HttpConnections): Promise<void> {
  // Every answer from now on ends its connection.
  server.prependListener("request", (_request, response) => response.setHeader("connection", "close"));
  const closed = new Promise<void>((resolve) => {
    NetServer.prototype.close.call(server, () => resolve());
  });
  const sweep = async () => {
    await setTimeout(DRAIN_GRACE);
    for (const until = performance.now() + DRAIN_BUSY; performance.now() < until; await setTimeout(100)) {
      connections.destroyHandshakes();
      // An answer that is still being sent would be cut off: its connection counts as idle.
      if (connections.unsentAnswers() === 0) server.closeIdleConnections();
    }
    server.closeAllConnections();
  };
  void sweep();
  await closed;
}

/** Closes a gRPC server when its calls have ended, or half of the drain is over: streams may say nothing for as long as they like. */
async function drainGrpc(server: GrpcServer, listener: NetServer): Promise<void> {
  // The library counts the connections that it was handed as ended when their end begins; the listener knows better.
  const closed = new Promise<void>((resolve) => listener.close(() => resolve()));
  const ended = new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
  await Promise.race([Promise.all([closed, ended]), setTimeout(DRAIN_BUSY)]);
  server.forceShutdown();
}

async function listenAt(
  server: Pick<NetServer, "address" | "once" | "listen">,
  at: Address,
  listen: () => Promise<unknown> = () =>
    new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(at.port, at.host, () => resolve());
    }),
): Promise<string> {
  await listen();
  const { port } = server.address() as { port: number };
  return addressText({ host: at.host, port });
}

function addressText({ host, port }: Address): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
