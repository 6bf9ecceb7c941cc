import { createServer, type Server as NetServer, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { type Server as GrpcServer, ServerCredentials } from "@grpc/grpc-js";
import { LIMITS } from "../../domain/limits.ts";
import type { Tls } from "../tls.ts";

/** Bytes of the shortest start of a client: the preface of HTTP/2 and empty settings. */
const MIN_START = 24 + 9;

/**
 * The listener of the gRPC port. The library has no cap on connections and no timer for those that say nothing, so they are accepted
 * here and handed to it. What the client owes after its preface is the library's to ask for: a peer that is dead, or in the middle of
 * a header block, cannot answer its pings.
 */
export function createGrpcListener(server: GrpcServer, tls: Tls | undefined, maxConnections: number): NetServer {
  // TLS ends here, so the library is handed the plain stream.
  const { injectConnection } = server.createConnectionInjector(ServerCredentials.createInsecure());
  const take = (socket: Socket) => {
    const late = setTimeout(() => {
      if (socket.bytesRead < MIN_START) socket.destroy();
    }, LIMITS.headersTimeoutMs);
    late.unref();
    socket.once("close", () => clearTimeout(late));
    // An error after the end of the library's session concerns no call; the socket closes by itself.
    socket.on("error", () => undefined);
    injectConnection(socket);
  };
  const listener = tls === undefined ? createServer(take) : createTlsListener(tls, take);
  listener.maxConnections = maxConnections;
  return listener;
}

function createTlsListener(tls: Tls, take: (socket: Socket) => void): NetServer {
  const listener = createTlsServer({
    cert: tls.certificate,
    key: tls.key,
    ...(tls.clientAuthority !== undefined && { ca: tls.clientAuthority, requestCert: true, rejectUnauthorized: true }),
    ALPNProtocols: ["h2"],
    handshakeTimeout: LIMITS.headersTimeoutMs,
    noDelay: true,
  });
  listener.on("secureConnection", take);
  // A handshake that failed or never ended leaves its socket to us.
  listener.on("tlsClientError", (_error, socket) => socket.destroy());
  return listener;
}
