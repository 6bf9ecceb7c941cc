import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

/** A proxy in front of a PostgreSQL server that cuts a connection at the worst moment. */
export type CuttingProxy = {
  /** The server's URL through the proxy. */
  readonly url: string;
  /**
   * Cuts the connection that sends these bytes next: "before" they reach the server, or "after" the
   * server has answered, without its answer.
   */
  readonly cutAt: (bytes: string, when: "before" | "after") => void;
  /** The bytes that left over all connections, one entry between two answers of the server. */
  readonly roundTrips: string[];
  readonly close: () => Promise<void>;
};

/** Starts a proxy before the server of a URL. */
export async function cutConnections(url: string): Promise<CuttingProxy> {
  const target = new URL(url);
  let cut: { readonly bytes: string; readonly when: "before" | "after" } | undefined;
  const roundTrips: string[] = [""];
  const sockets = new Set<Socket>();

  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname);
    let isAnswerLost = false;
    const end = () => {
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        sockets.delete(socket);
        end();
      });
    }
    client.on("data", (chunk) => {
      roundTrips.push(roundTrips.pop() + chunk.toString("latin1"));
      const at = cut === undefined ? -1 : chunk.indexOf(cut.bytes);
      if (cut === undefined || at < 0) return upstream.write(chunk);
      isAnswerLost = true;
      // The head of a message has five bytes.
      if (cut.when === "before") upstream.write(chunk.subarray(0, at - 5), end);
      else upstream.write(chunk);
      cut = undefined;
    });
    upstream.on("data", (chunk) => {
      if (roundTrips.at(-1) !== "") roundTrips.push("");
      if (isAnswerLost) end();
      else client.write(chunk);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const through = new URL(url);
  through.port = String((server.address() as { port: number }).port);
  return {
    url: through.href,
    cutAt: (bytes, when) => {
      cut = { bytes, when };
    },
    roundTrips,
    close: async () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
