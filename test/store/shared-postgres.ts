import { once } from "node:events";
import { createServer } from "node:http";
import type { TestProject } from "vitest/node";
import type { PostgresServer } from "./postgres-server.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /**
     * The address where tests request an empty PostgreSQL database; every response is the URL of a
     * new one.
     */
    readonly postgresDatabases: string;
  }
}

/**
 * One PostgreSQL server for all test files of a run, started at the first request for a database
 * and stopped with the run. It belongs to the process of the run, which outlives the files;
 * `freshDatabase` is its client.
 */
export default async function sharePostgres(project: TestProject): Promise<() => Promise<void>> {
  let postgres: Promise<PostgresServer> | undefined;
  const start = async () => (await import("./postgres-server.ts")).startPostgres();
  const broker = createServer((_request, response) => {
    postgres ??= start();
    postgres
      .then((server) => server.createDatabase())
      .then(
        (url) => response.end(url),
        (error) => response.writeHead(500).end(String(error)),
      );
  });
  broker.listen(0, "127.0.0.1");
  await once(broker, "listening");
  const { port } = broker.address() as { port: number };
  project.provide("postgresDatabases", `http://127.0.0.1:${port}`);
  return async () => {
    broker.close();
    broker.closeAllConnections();
    await postgres?.then(
      (server) => server.stop(),
      () => {},
    );
  };
}
