import { type IncomingMessage, type Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { TRANSPORT_LIMITS } from "./limits.ts";

/**
 * Bounds the memory of each connection of the HTTP port and of all together; destroys stalled ones.
 */
export type HttpConnections = {
  /** Runs a request now, or when the connection's earlier responses leave room. */
  readonly dispatch: (request: IncomingMessage, response: ServerResponse, run: () => void) => void;
  /** Watches a server's connections. */
  readonly watch: (server: Server) => void;
  /** Complete responses that their clients have not read yet: their calls are still in flight. */
  readonly unsentResponses: () => number;
  /** Whether unsent responses have reached their memory limit. */
  readonly isFull: () => boolean;
  /** Destroys connections whose TLS handshake has not ended. */
  readonly destroyHandshakes: () => void;
};

/** The state of a connection. Responses leave in the order of their requests. */
type Connection = {
  readonly waiting: (() => void)[];
  /** Started responses, with the unsent bytes of each ended one. */
  readonly open: Map<ServerResponse, number>;
  unsentBytes: number;
  /** When a response last left, or the first unsent one ended; monotonic. */
  sinceMs: number;
};

/** A response that emits "ended" when the server has written its last byte. */
export class TrackedResponse extends ServerResponse {
  // biome-ignore lint/suspicious/noExplicitAny: the overloads of the replaced method.
  override end(...args: any[]): this {
    super.end(...args);
    this.emit("ended");
    return this;
  }
}

/** Watches connections; `elapsedMs` gives monotonic milliseconds. */
export function createHttpConnections(elapsedMs: () => number): HttpConnections {
  const unsent = createUnsentResponses(elapsedMs);
  const handshakes = createHandshakes();
  return {
    dispatch: (request, response, run) => {
      const connection = unsent.connectionOf(request.socket);
      connection.waiting.push(() => {
        unsent.track(connection, response);
        run();
      });
      startWaiting(connection);
      if (connection.waiting.length > TRANSPORT_LIMITS.pipelinedWaiting) request.socket.pause();
    },
    watch: handshakes.watch,
    unsentResponses: unsent.count,
    isFull: () => unsent.bytes() >= TRANSPORT_LIMITS.unsentBytes,
    destroyHandshakes: handshakes.destroy,
  };
}

/** Starts waiting requests while the connection has room for their responses. */
function startWaiting(connection: Connection): void {
  const hasRoom = () =>
    connection.open.size < TRANSPORT_LIMITS.pipelined &&
    connection.unsentBytes < TRANSPORT_LIMITS.unsentBytesPerConnection;
  while (hasRoom()) {
    const start = connection.waiting.shift();
    if (start === undefined) return;
    start();
  }
}

/**
 * Counts ended responses until their clients have read them, and destroys clients that do not read.
 */
function createUnsentResponses(elapsedMs: () => number) {
  const connections = new Map<Duplex, Connection>();
  let count = 0;
  let bytes = 0;

  const release = (connection: Connection, response: ServerResponse) => {
    const released = connection.open.get(response);
    if (released === undefined) return;
    connection.open.delete(response);
    connection.unsentBytes -= released;
    connection.sinceMs = elapsedMs();
    if (connection.waiting.length <= TRANSPORT_LIMITS.pipelinedWaiting) response.req.socket.resume();
    bytes -= released;
    if (released > 0) count -= 1;
    startWaiting(connection);
  };

  const hold = (connection: Connection, response: ServerResponse) => {
    if (!connection.open.has(response)) return;
    if (connection.unsentBytes === 0) connection.sinceMs = elapsedMs();
    // At least 1: a response of queued headers alone has no body bytes, but is unsent too.
    const held = Math.max(1, response.writableLength);
    connection.open.set(response, held);
    connection.unsentBytes += held;
    bytes += held;
    count += 1;
  };

  const destroyStalled = () => {
    const nowMs = elapsedMs();
    // Memory that fills up must be freed sooner.
    const isFilling = bytes > TRANSPORT_LIMITS.unsentBytes / 2;
    const timeoutMs = isFilling ? TRANSPORT_LIMITS.unreadTimeoutMs / 5 : TRANSPORT_LIMITS.unreadTimeoutMs;
    for (const [socket, connection] of connections) {
      if (connection.unsentBytes > 0 && nowMs - connection.sinceMs > timeoutMs) socket.destroy();
    }
  };
  setInterval(destroyStalled, TRANSPORT_LIMITS.unreadCheckMs).unref();

  return {
    count: () => count,
    bytes: () => bytes,
    connectionOf: (socket: Socket): Connection => {
      const known = connections.get(socket);
      if (known !== undefined) return known;
      const connection: Connection = { waiting: [], open: new Map(), unsentBytes: 0, sinceMs: 0 };
      connections.set(socket, connection);
      socket.once("close", () => {
        connections.delete(socket);
        connection.waiting.length = 0;
        for (const response of connection.open.keys()) release(connection, response);
      });
      return connection;
    },
    /** Follows a response from its start until its client has read it. */
    track: (connection: Connection, response: ServerResponse) => {
      connection.open.set(response, 0);
      response.once("ended", () => hold(connection, response));
      const done = () => release(connection, response);
      response.once("finish", done);
      response.once("close", done);
    },
  };
}

/** Follows TLS handshakes: Node has no list of connections before their end. */
function createHandshakes() {
  const handshakes = new Map<string, Socket>();
  const nameOf = (socket: Socket) => `${socket.remoteAddress} ${socket.remotePort}`;
  return {
    watch: (server: Server) => {
      // A server with TLS emits the raw connection first, and the secured one later.
      if (server.listenerCount("secureConnection") === 0) return;
      server.on("connection", (socket: Socket) => {
        const name = nameOf(socket);
        handshakes.set(name, socket);
        socket.once("close", () => {
          if (handshakes.get(name) === socket) handshakes.delete(name);
        });
      });
      server.on("secureConnection", (socket: Socket) => handshakes.delete(nameOf(socket)));
    },
    destroy: () => {
      for (const socket of handshakes.values()) socket.destroy();
    },
  };
}
