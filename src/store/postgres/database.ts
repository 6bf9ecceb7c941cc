import { setTimeout } from "node:timers/promises";
import { Pool, type PoolClient } from "pg";
import type { Changes } from "../../domain/plan/changes.ts";
import { checkServer } from "./check-server.ts";
import { connectionSettings, naming } from "./connection.ts";
import { describeDatabase } from "./describe-database.ts";
import { planByIndex } from "./plan-by-index.ts";
import { type Outcome, runTransaction } from "./run-transaction.ts";
import { createSession, type Session } from "./session.ts";
import { statement } from "./statement.ts";
import { isAnswer, isWorthRepeating, translate, unavailable } from "./unavailable.ts";

/**
 * A PostgreSQL database. Each of its own statements is one transaction. A call rejects with the
 * reason UNAVAILABLE when the database cannot be used, or when its outcome is unknown.
 */
export type Database = Session & {
  /** A name for logs and the ready line, without credentials. */
  readonly name: string;
  /**
   * One transaction, committed when `work` has resolved and rolled back when `work` throws.
   * Repeated when the server rolled it back in favour of another, so `work` must be repeatable: its
   * only effects are in the database and in its result.
   */
  readonly transact: <Result>(work: (session: Session) => Promise<Result>) => Promise<Result>;
  /** Reads in one snapshot of the database. `work` must be repeatable, as in `transact`. */
  readonly read: <Result>(work: (session: Session) => Promise<Result>) => Promise<Result>;
  /**
   * Whether every transaction whose answer was lost has ended on the server, so that a later
   * statement sees what was committed. A commit that waits for a standby may end long after its
   * connection.
   */
  readonly isSettled: () => Promise<boolean>;
  /** Waits for transactions in progress. */
  readonly close: () => Promise<void>;
};

/** The options of opening a database. */
export type DatabaseOptions = {
  /** A number from 0 to less than 1. */
  readonly chance: () => number;
  /** Time after which the answer to a statement counts as lost, milliseconds. Default: 15 s. */
  readonly answerTimeoutMs?: number;
  /** Called with the changes of each transaction, after its commit. */
  readonly onCommitted?: ((changes: Changes) => void) | undefined;
};

/** A server process behind a connection; a later process may get the same number. */
type Backend = { readonly pid: number; readonly start: string };

/**
 * Each connection is a process of the server, and its default limit of 100 must suffice for several
 * Numberpool processes; a commit mostly waits for the disk.
 */
const CONNECTIONS = 10;
/** Time until an idle connection is closed with its prepared statements, milliseconds. */
const IDLE_TIMEOUT_MS = 300_000;
/**
 * The server's timeout of a statement, milliseconds: none needs longer, and a longer one delays
 * others.
 */
const STATEMENT_TIMEOUT_MS = 10_000;
/**
 * Time after which the server or the network is considered lost, milliseconds: longer than the
 * server's own timeout.
 */
const ANSWER_TIMEOUT_MS = 15_000;
/** Time after which a suspended process loses its locks, milliseconds. */
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 10_000;
/** The attempts of a transaction, and the longest pause after the first, milliseconds. */
const ATTEMPTS = 4;
const FIRST_PAUSE_MS = 20;

// Explicit, because the server's defaults can be changed.
const BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
const BEGIN_READING = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

const BACKEND = "a.pid, extract(epoch FROM a.backend_start)::text AS start";
const OWN_BACKEND = `SELECT ${BACKEND} FROM pg_stat_activity a WHERE a.pid = pg_backend_pid()`;
// A backend disappears here only after its commit is visible.
const selectBackends = statement<Backend>(
  `SELECT ${BACKEND} FROM pg_stat_activity a JOIN unnest($1::integer[], $2::text[]) AS given (pid, start)
     ON given.pid = a.pid AND given.start = extract(epoch FROM a.backend_start)::text`,
);

/**
 * Opens an existing database. Throws one sentence without secrets when it cannot be reached or must
 * not be used.
 */
export async function openDatabase(
  url: string,
  { chance, answerTimeoutMs = ANSWER_TIMEOUT_MS, onCommitted }: DatabaseOptions,
): Promise<Database> {
  const name = describeDatabase(url);
  const { pool, unreplicated, backends } = createConnections(url, name, answerTimeoutMs);
  /** The backends of connections that were closed with a transaction in progress. */
  let abandoned: Backend[] = [];

  try {
    (await pool.connect()).release();
  } catch (error) {
    await pool.end();
    throw naming(name, error);
  }

  /** Runs work on a connection of the pool; closes the connection when it failed. */
  const withClient = async <Result>(
    work: (client: PoolClient) => Promise<Outcome<Result>>,
  ): Promise<Outcome<Result>> => {
    let client: PoolClient | undefined;
    let isSound = false;
    try {
      client = await pool.connect().catch((error) => {
        throw unavailable(error);
      });
      const outcome = await work(client);
      if (unreplicated.has(client)) throw new Error("The commit did not reach the standbys.");
      isSound = outcome.kind !== "failed" || isAnswer(outcome.error);
      return outcome;
    } catch (error) {
      isSound = isAnswer(error);
      return { kind: "failed", error };
    } finally {
      const backend = client === undefined || isSound ? undefined : backends.get(client);
      if (backend !== undefined) abandoned.push(backend);
      client?.release(!isSound);
    }
  };

  const repeatedly = async <Result>(work: () => Promise<Outcome<Result>>): Promise<Result> => {
    for (let attempt = 1; ; attempt++) {
      const outcome = await work();
      const isOver = outcome.kind !== "failed" || attempt === ATTEMPTS || !isWorthRepeating(outcome.error);
      if (isOver) return settle(outcome);
      // A random pause, so that two transactions that deadlocked do not meet again.
      await setTimeout(FIRST_PAUSE_MS * 2 ** (attempt - 1) * chance());
    }
  };

  const isSettled = async (): Promise<boolean> => {
    const asked = abandoned;
    if (asked.length === 0) return true;
    const rows = await alone.all(
      selectBackends,
      asked.map(({ pid }) => pid),
      asked.map(({ start }) => start),
    );
    const alive = new Set(rows.map(({ pid, start }) => `${pid} ${start}`));
    // Other backends may have been added meanwhile.
    abandoned = abandoned.filter((one) => !asked.includes(one) || alive.has(`${one.pid} ${one.start}`));
    return abandoned.length === 0;
  };

  const transaction = <Result>(begin: string, work: (session: Session) => Promise<Result>) =>
    withClient((client) => runTransaction(client, begin, work));

  const alone = createSession((given, values, take) =>
    repeatedly(() =>
      withClient(async (client) => {
        const result = await client.query({ ...given, values: [...values] });
        return { kind: "done", result: take(result) };
      }),
    ),
  );

  const transact: Database["transact"] = async (work) => {
    let written: Changes[] = [];
    const result = await repeatedly(() => {
      // An earlier attempt was rolled back.
      written = [];
      return transaction(BEGIN, (session) => work({ ...session, note: (changes) => written.push(changes) }));
    });
    for (const changes of written) onCommitted?.(changes);
    return result;
  };

  return {
    ...alone,
    name,
    transact,
    read: (work) => repeatedly(() => transaction(BEGIN_READING, work)),
    isSettled,
    close: () => pool.end(),
  };
}

/** Connections to a server, and what is known of each. */
type Connections = {
  readonly pool: Pool;
  /** Connections of which a commit did not reach the standbys. */
  readonly unreplicated: WeakSet<object>;
  readonly backends: WeakMap<object, Backend>;
};

function createConnections(url: string, name: string, answerTimeoutMs: number): Connections {
  const unreplicated = new WeakSet<object>();
  const backends = new WeakMap<object, Backend>();
  const pool = new Pool({
    ...connectionSettings(url),
    // Sends statements without waiting for the answers to earlier ones.
    pipeline: true,
    max: CONNECTIONS,
    idleTimeoutMillis: IDLE_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    query_timeout: answerTimeoutMs,
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_TIMEOUT_MS,
    // Settings belong to a connection, and the server behind a name may change.
    onConnect: async (client) => {
      await checkServer(client, name);
      await planByIndex(client);
      const { rows } = await client.query<Backend>(OWN_BACKEND);
      if (rows[0] !== undefined) backends.set(client, rows[0]);
    },
  });
  // The user of a failed connection sees the error, and the pool replaces an idle one; without
  // listeners the error would end the process.
  pool.on("error", () => {});
  pool.on("connect", (client) => {
    client.on("error", () => {});
    client.on("notice", ({ routine }) => {
      // An operator canceled the wait for the standbys: the commit is on one disk only.
      if (routine === "SyncRepWaitForLSN") unreplicated.add(client);
    });
  });
  return { pool, unreplicated, backends };
}

/** The result of a transaction, or its error as callers know it. */
function settle<Result>(outcome: Outcome<Result>): Result {
  if (outcome.kind === "done") return outcome.result;
  throw outcome.kind === "thrown" ? outcome.error : translate(outcome.error);
}
