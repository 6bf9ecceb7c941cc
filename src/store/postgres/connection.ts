import { Client, type ClientConfig, type CustomTypesConfig, types } from "pg";
import { checkServer } from "./check-server.ts";
import { describeDatabase } from "./describe-database.ts";

/** How long a server is given to take a connection, milliseconds. */
const CONNECT_TIMEOUT = 5_000;
/** A connection that says nothing is asked for a sign of life after this, milliseconds: firewalls forget silently. */
const KEEP_ALIVE_DELAY = 10_000;

/** Columns that the driver would give as text, by their type: bigint, and numeric, which is what a sum of bigints is. */
const EXACT = new Set([20, 1700]);

/** How every connection is made: with a name for those who look at the server, and with numbers that are numbers. */
export function connectionSettings(url: string): ClientConfig {
  return {
    connectionString: url,
    application_name: "numberpool",
    connectionTimeoutMillis: CONNECT_TIMEOUT,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_DELAY,
    types: {
      getTypeParser: (type: number, format?: "text") =>
        EXACT.has(type) ? toNumber : types.getTypeParser(type, format),
    } as CustomTypesConfig,
  };
}

/**
 * One connection of its own, without any limit of time, to a server that was found fit. Throws one sentence that names the
 * database when there is none. Its user listens to "error" and ends it.
 */
export async function connect(url: string): Promise<Client> {
  const name = describeDatabase(url);
  const client = new Client(connectionSettings(url));
  // Without a listener the end of the server would be the end of this process.
  client.on("error", () => {});
  try {
    await client.connect();
    await checkServer(client, name);
    return client;
  } catch (error) {
    client.end().catch(() => {});
    throw naming(name, error);
  }
}

/** An error of the driver as one sentence that names the database. */
export function naming(name: string, error: unknown): Error {
  const { message, code } = error as NodeJS.ErrnoException;
  if (message?.startsWith(`${name}:`)) return error as Error;
  // Where a host has several addresses, only the code tells what became of them.
  return new Error(`${name}: ${(message || code || "it cannot be reached").replace(/\.$/, "")}.`, { cause: error });
}

function toNumber(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && !Number.isSafeInteger(value)) throw new RangeError(`${text} is too large a number.`);
  return value;
}
