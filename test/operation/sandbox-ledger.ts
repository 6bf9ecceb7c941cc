import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { type JsonAnswer, startServer, type TestServer, temporaryFolder } from "../server.ts";

/** A submit that the sandbox accepted. */
export type LedgerLine = { readonly at: number; readonly message_id: string; readonly carrier_message_id: string };

/**
 * A server whose sandbox records its submits in a ledger; it can be restarted on the same files.
 */
export type LedgerServer = {
  readonly start: () => Promise<TestServer>;
  readonly ledger: () => LedgerLine[];
  readonly database: string;
  /** Ends running processes, and removes the files. */
  readonly remove: () => Promise<void>;
};

/** `sandbox` goes to the configuration file, `args` to the command line. */
export function ledgerServer(
  sandbox: Readonly<Record<string, number>> = {},
  args: readonly string[] = [],
): LedgerServer {
  const folder = temporaryFolder();
  const database = `${folder.path}/pool.db`;
  const ledger = `${folder.path}/ledger.jsonl`;
  const configuration = `${folder.path}/numberpool.yaml`;
  writeFileSync(configuration, JSON.stringify({ carriers: { sandbox: { type: "sandbox", ledger, ...sandbox } } }));
  const started: TestServer[] = [];
  return {
    database,
    start: async () => {
      const server = await startServer({ database, args, env: { NUMBERPOOL_CONFIG: configuration } });
      started.push(server);
      return server;
    },
    ledger: () => readLedger(ledger),
    remove: async () => {
      for (const { process, kill } of started)
        if (process.exitCode === null && process.signalCode === null) await kill();
      folder.remove();
    },
  };
}

/** The complete lines of a ledger, in order; the last one may be incomplete. */
export function readLedger(file: string): LedgerLine[] {
  const text = existsSync(file) ? readFileSync(file, "utf8") : "";
  return text
    .slice(0, text.lastIndexOf("\n") + 1)
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));
}

/** The number of submits of each message in a ledger. */
export function timesEach(lines: readonly LedgerLine[]): ReadonlyMap<string, number> {
  const times = new Map<string, number>();
  for (const { message_id } of lines) times.set(message_id, (times.get(message_id) ?? 0) + 1);
  return times;
}

/** The fields of a message that tests read. */
export type Accepted = {
  readonly id: string;
  readonly parts: number;
  readonly wait_seconds: number;
  readonly received_at: string;
  readonly from: { readonly phone_number: string };
};

/** Sends texts through a pool in one batch; throws unless all are accepted. */
export async function sendBatch(
  server: TestServer,
  messaging_profile_id: string,
  texts: readonly string[],
): Promise<Accepted[]> {
  const messages = texts.map((text, index) => {
    return { messaging_profile_id, to: `+1312556${String(index).padStart(4, "0")}`, text };
  });
  const { data } = await done(server.json("POST", "/v2/messages/number_pool/batch", { messages }));
  return data.map(({ message, error }: { message: Accepted; error: unknown }) => {
    if (message === null) throw new Error(JSON.stringify(error));
    return message;
  });
}

/** A text of `parts` parts. */
export const textOf = (parts: number) => "x".repeat(parts === 1 ? 20 : 153 * (parts - 1) + 20);

/** The body of a response; throws unless the status is 200. */
export async function done(calling: Promise<JsonAnswer>): Promise<JsonAnswer["body"]> {
  const { status, body } = await calling;
  if (status !== 200) throw new Error(`${status} ${JSON.stringify(body)}`);
  return body;
}
