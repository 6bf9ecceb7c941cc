import { type IncomingMessage, type Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { LIMITS } from "../domain/limits.ts";

/** Bounds what each connection of the HTTP port, and all of them, keep in memory; and destroys those that go nowhere. */
export type HttpConnections = {
  /** Carries out a request now, or when the connection's earlier answers have left room. */
  readonly dispatch: (request: IncomingMessage, response: ServerResponse, carryOut: () => void) => void;
  /** Watches a server's connections. */
  readonly watch: (server: Server) => void;
  /** Answers that are whole, but not yet taken from us: their calls are still under way. */
  readonly unsentAnswers: () => number;
  /** Whether the answers that wait to be sent take as much memory as they may. */
  readonly isFull: () => boolean;
  /** Destroys connections whose TLS handshake has not ended. */
  readonly destroyHandshakes: () => void;
};

/** What is known of a connection. Answers leave in the order of their requests. */
type Connection = {
  readonly waiting: (() => void)[];
  /** Answers that were begun, and the bytes of each that wait, once it ended. */
  readonly open: Map<ServerResponse, number>;
  unsent: number;
  /** When an answer last left, or the first of those that wait ended. */
  since: number;
};

/** A response that says when its last byte was written by us: "ended". */
export class Answer extends ServerResponse {
  // biome-ignore lint/suspicious/noExplicitAny: the overloads of the method that is replaced.
  override end(...given: any[]): this {
    super.end(...given);
    this.emit("ended");
    return this;
  }
}

/** Watches connections; `elapsed` gives milliseconds of a clock that nobody sets. */
export function createHttpConnections(elapsed: () => number): HttpConnections {
  const connections = new Map<Duplex, Connection>();
  const handshakes = new Map<string, Socket>();
  let answers = 0;
  let unsent = 0;

  const connectionOf = (socket: Socket): Connection => {
    let connection = connections.get(socket);
    if (connection === undefined) {
      const made: Connection = { waiting: [], open: new Map(), unsent: 0, since: 0 };
      connection = made;
      connections.set(socket, made);
      socket.once("close", () => {
        connections.delete(socket);
        made.waiting.length = 0;
        for (const response of made.open.keys()) release(made, response);
      });
    }
    return connection;
  };

  const release = (connection: Connection, response: ServerResponse) => {
    const bytes = connection.open.get(response);
    if (bytes === undefined) return;
    connection.open.delete(response);
    connection.unsent -= bytes;
    connection.since = elapsed();
    if (connection.waiting.length <= LIMITS.pipelinedWaiting) response.req.socket.resume();
    unsent -= bytes;
    if (bytes > 0) answers -= 1;
    next(connection);
  };

  const next = (connection: Connection) => {
    while (connection.open.size < LIMITS.pipelined && connection.unsent < LIMITS.unsentBytesPerConnection) {
      const start = connection.waiting.shift();
      if (start === undefined) return;
      start();
    }
  };

  const sweep = setInterval(() => {
    const now = elapsed();
    // The fuller the memory, the less patience.
    const patience = unsent > LIMITS.unsentBytes / 2 ? LIMITS.unreadTimeoutMs / 5 : LIMITS.unreadTimeoutMs;
    for (const [socket, { unsent: waits, since }] of connections) {
      if (waits > 0 && now - since > patience) socket.destroy();
    }
  }, LIMITS.unreadCheckMs);
  sweep.unref();

  return {
    dispatch: (request, response, carryOut) => {
      const connection = connectionOf(request.socket);
      connection.waiting.push(() => {
        connection.open.set(response, 0);
        response.once("ended", () => {
          const before = connection.open.get(response);
          if (before === undefined) return;
          if (connection.unsent === 0) connection.since = elapsed();
          // At least 1, so that an answer of nothing but queued headers is waited for, too.
          const bytes = Math.max(1, response.writableLength);
          connection.open.set(response, bytes);
          connection.unsent += bytes;
          unsent += bytes;
          answers += 1;
        });
        const done = () => release(connection, response);
        response.once("finish", done);
        response.once("close", done);
        carryOut();
      });
      next(connection);
      if (connection.waiting.length > LIMITS.pipelinedWaiting) request.socket.pause();
    },
    watch: (server) => {
      const nameOf = (socket: Socket) => `${socket.remoteAddress} ${socket.remotePort}`;
      // On a server with TLS the raw connection comes first, and the one that is secured later.
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
    unsentAnswers: () => answers,
    isFull: () => unsent >= LIMITS.unsentBytes,
    destroyHandshakes: () => {
      for (const socket of handshakes.values()) socket.destroy();
    },
  };
}
