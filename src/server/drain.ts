import type { Server as HttpServer } from "node:http";
import { Server as NetServer } from "node:net";
import { setTimeout } from "node:timers/promises";
import type { Server as GrpcServer } from "@grpc/grpc-js";
import type { HttpConnections } from "../transport/http-connections.ts";

/** A drain closes idle connections after the first time, and busy ones after the second. */
const IDLE_GRACE_MS = 500;
const BUSY_GRACE_MS = 15_000;

/**
 * Closes an HTTP server without losing a call. Node's own close ends idle connections at once, also
 * those with a request that has arrived but is not read yet. So this first stops listening, gives
 * open connections time to be answered, then closes idle ones, and in the end all.
 */
export async function drainHttp(server: HttpServer, connections: HttpConnections): Promise<void> {
  // From now on every answer closes its connection.
  server.prependListener("request", (_request, response) => response.setHeader("connection", "close"));
  const closed = new Promise<void>((resolve) => {
    NetServer.prototype.close.call(server, () => resolve());
  });
  const sweep = async () => {
    await setTimeout(IDLE_GRACE_MS);
    for (const until = performance.now() + BUSY_GRACE_MS; performance.now() < until; await setTimeout(100)) {
      connections.destroyHandshakes();
      // A connection whose answer is still being sent counts as idle, and would be cut off.
      if (connections.unsentResponses() === 0) server.closeIdleConnections();
    }
    server.closeAllConnections();
  };
  void sweep();
  await closed;
}

/**
 * Closes a gRPC server when its calls have ended, at the latest after the grace of busy
 * connections: a stream can stay silent.
 */
export async function drainGrpc(server: GrpcServer, listener: NetServer): Promise<void> {
  // The library counts a connection as ended when its end begins, so wait for the listener as well.
  const closed = new Promise<void>((resolve) => listener.close(() => resolve()));
  const ended = new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
  await Promise.race([Promise.all([closed, ended]), setTimeout(BUSY_GRACE_MS)]);
  server.forceShutdown();
}
