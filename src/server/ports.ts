import { createServer } from "node:http";
import type { Server as NetServer } from "node:net";
import { logVerbosity, setLogVerbosity } from "@grpc/grpc-js";
import type { Config } from "../config/config.ts";
import { type Address, isLoopback } from "../config/values.ts";
import type { Service } from "../service/services.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { createAdmission } from "../transport/admission.ts";
import type { Authenticate } from "../transport/authentication.ts";
import { createGrpcListener } from "../transport/grpc/listener.ts";
import { addHealth, addReflection } from "../transport/grpc/public-services.ts";
import { createGrpcTransport } from "../transport/grpc/transport.ts";
import { createHttpConnections } from "../transport/http-connections.ts";
import { createHttpPort } from "../transport/http-port.ts";
import { createInvoke } from "../transport/invoke.ts";
import { readTls } from "../transport/tls.ts";
import { connectionLimits } from "./connection-limits.ts";
import { drainGrpc, drainHttp } from "./drain.ts";

/** The three ports: JSON and Connect, gRPC, and metrics. */
export type Ports = {
  /** Starts to listen. Gives the actual addresses, "host:port". */
  readonly listen: () => Promise<{ readonly http: string; readonly grpc: string; readonly metrics: string }>;
  /** Refuses new calls, and resolves when the last call is answered. Metrics stay available. */
  readonly drain: () => Promise<void>;
  readonly close: () => void;
};

export type PortsParts = {
  readonly config: Config;
  readonly services: readonly Service[];
  readonly authenticate: Authenticate;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly clock: () => number;
  /** Rejects while the store cannot be written. */
  readonly probe: () => Promise<void>;
  /** The time since which delivery is held, milliseconds since 1970; undefined: it is not held. */
  readonly heldSince: () => number | undefined;
};

/** How long a probe's outcome is reused: a probe syncs the disk, and `/readyz` needs no key. */
const PROBE_INTERVAL_MS = 1_000;

/** Constructs the ports. Throws an error of one sentence when a certificate cannot be read. */
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
  // A monotonic clock: setting the system clock must not change durations.
  const elapsedMs = () => performance.now();
  const connections = createHttpConnections(elapsedMs);
  // A call is in flight until its answer is sent; while clients do not read their answers, no call
  // is admitted.
  const inFlight = () =>
    connections.isFull() ? Number.POSITIVE_INFINITY : invoke.inFlight() + connections.unsentResponses();
  const admit = createAdmission({ authenticate, callsPerSecond, inFlight, elapsedMs });

  let isDraining = false;
  let probed = { at: Number.NEGATIVE_INFINITY, outcome: Promise.resolve() };
  const checkReady = async () => {
    if (isDraining) throw new Error("draining");
    if (elapsedMs() - probed.at > PROBE_INTERVAL_MS) probed = { at: elapsedMs(), outcome: probe() };
    await probed.outcome;
    return heldSince() === undefined ? {} : { delivery: "held" };
  };

  const http = createHttpPort({ invoke, admit, connections, checkReady, tls });
  // The program itself reports an address that cannot be used.
  setLogVerbosity(logVerbosity.NONE);
  const grpc = createGrpcTransport({ invoke, admit, clock });
  const descriptors = services.map(({ service }) => service);
  const health = addHealth(grpc, descriptors);
  // The contract is public, but a port that is open to the network should not advertise it.
  if (isLoopback(config.grpcAddress)) addReflection(grpc, descriptors);
  const metricsServer = createServer(metrics.handle);
  const limits = connectionLimits(config.maxConnections);
  const grpcListener = createGrpcListener(grpc, tls, limits.grpc);
  // Node closes connections beyond the limit at once.
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
      invoke.drain();
      await Promise.all([drainHttp(http.server, connections), drainGrpc(grpc, grpcListener)]);
      await http.close();
    },
    close: () => {
      metricsServer.close();
    },
  };
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
