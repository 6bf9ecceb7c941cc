import { Client, type ClientConfig, type CustomTypesConfig, types } from "pg";
import { checkServer } from "./check-server.ts";
import { describeDatabase } from "./describe-database.ts";

/** The timeout of connecting, milliseconds. */
const CONNECT_TIMEOUT_MS = 5_000;
/**
 * Time until the first keep-alive probe of an idle connection, milliseconds: firewalls drop idle
 * connections silently.
 */
const KEEP_ALIVE_DELAY = 10_000;

/** Types that the driver gives as strings: bigint, and numeric, the type of a sum of bigints. */
const EXACT = new Set([20, 1700]);

/** The settings of every connection: a name that the server shows, and numbers as numbers. */
export function connectionSettings(url: string): ClientConfig {
  return {
    connectionString: url,
    application_name: "numberpool",
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_DELAY,
    types: {
      getTypeParser: (type: number, format?: "text") =>
        EXACT.has(type) ? toNumber : types.getTypeParser(type, format),
    } as CustomTypesConfig,
  };
}

/**
 * Opens one connection without statement timeouts and checks its server. Throws one sentence that
 * names the database when that fails. The caller listens to "error" and ends the connection.
 */
export async function connect(url: string): Promise<Client> {
  const name = describeDatabase(url);
  const client = new Client(connectionSettings(url));
  // Without a listener, the end of the server would end this process.
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
  // For a host with several addresses, only the code names the error.
  return new Error(`${name}: ${(message || code || "it cannot be reached").replace(/\.$/, "")}.`, { cause: error });
}

function toNumber(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && !Number.isSafeInteger(value)) throw new RangeError(`${text} is too large a number.`);
  return value;
}
