import { createServer, type Server as NetServer, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { type Server as GrpcServer, ServerCredentials } from "@grpc/grpc-js";
import { TRANSPORT_LIMITS } from "../limits.ts";
import type { Tls } from "../tls.ts";

/** Bytes of the shortest client start: the HTTP/2 preface and empty settings. */
const MIN_START_BYTES = 24 + 9;

/**
 * The listener of the gRPC port. grpc-js has no limit on connections and no timer for silent ones,
 * so this listener accepts them and passes them on. After the preface grpc-js's pings end a dead
 * peer, and one in the middle of a header block.
 */
export function createGrpcListener(server: GrpcServer, tls: Tls | undefined, maxConnections: number): NetServer {
  // TLS ends here, so grpc-js gets the plain stream.
  const { injectConnection } = server.createConnectionInjector(ServerCredentials.createInsecure());
  const accept = (socket: Socket) => {
    const timer = setTimeout(() => {
      if (socket.bytesRead < MIN_START_BYTES) socket.destroy();
    }, TRANSPORT_LIMITS.headersTimeoutMs);
    timer.unref();
    socket.once("close", () => clearTimeout(timer));
    // An error after the end of the HTTP/2 session affects no call; the socket closes by itself.
    socket.on("error", () => undefined);
    injectConnection(socket);
  };
  const listener = tls === undefined ? createServer(accept) : createTlsListener(tls, accept);
  listener.maxConnections = maxConnections;
  return listener;
}

function createTlsListener(tls: Tls, accept: (socket: Socket) => void): NetServer {
  const listener = createTlsServer({
    cert: tls.certificate,
    key: tls.key,
    ...(tls.clientAuthority !== undefined && { ca: tls.clientAuthority, requestCert: true, rejectUnauthorized: true }),
    ALPNProtocols: ["h2"],
    handshakeTimeout: TRANSPORT_LIMITS.headersTimeoutMs,
    noDelay: true,
  });
  listener.on("secureConnection", accept);
  // Node does not close the socket of a failed or unfinished handshake.
  listener.on("tlsClientError", (_error, socket) => socket.destroy());
  return listener;
}
