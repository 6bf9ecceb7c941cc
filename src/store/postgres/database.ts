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
 * A PostgreSQL database. Its own statements are each a transaction of their own. Whatever cannot be done because the database is
 * not to be had, and whatever may or may not have been done, rejects with the reason UNAVAILABLE.
 */
export type Database = Session & {
  /** For logs and the ready line, without credentials. */
  readonly name: string;
  /**
   * One transaction, committed when `work` has resolved. Takes it back when `work` throws. It is repeated when the server took it
   * back for the sake of another, so `work` must be repeatable: all it does is to be in the database or in what it returns.
   */
  readonly transact: <Result>(work: (session: Session) => Promise<Result>) => Promise<Result>;
  /** Several reads that see one state of the database. Repeatable as in `transact`. */
  readonly read: <Result>(work: (session: Session) => Promise<Result>) => Promise<Result>;
  /**
   * Whether every transaction whose answer was lost has ended on the server, so that a statement after this one sees what was
   * committed. A commit that waits for a standby may take as long as it likes after its connection is gone.
   */
  readonly isSettled: () => Promise<boolean>;
  /** Waits for what is under way. */
  readonly close: () => Promise<void>;
};

/** What a database is opened with. */
export type DatabaseOptions = {
  /** A number from 0 to less than 1. */
  readonly chance: () => number;
  /** How long a statement is waited for before its answer counts as lost, milliseconds. Default: 15 s. */
  readonly answerTimeoutMs?: number;
  /** Called with the changes that a transaction wrote, once it is committed. */
  readonly onCommitted?: ((changes: Changes) => void) | undefined;
};

/** A process of the server behind a connection of ours; another one may get the same number later. */
type Backend = { readonly pid: number; readonly start: string };

/**
 * Each is a process on the server, and its usual limit of 100 must do for several of us; a commit is mostly waiting for the
 * disk.
 */
const CONNECTIONS = 10;
/** Connections that are not needed stay for so long, with what they have prepared, milliseconds. */
const IDLE_TIMEOUT = 300_000;
/** No statement of ours needs longer; one that does holds up others, milliseconds. */
const STATEMENT_TIMEOUT = 10_000;
/** When the server should have ended a statement long ago it is gone, or the way to it is, milliseconds. */
const ANSWER_TIMEOUT = 15_000;
/** A process of ours that stands still must not keep its locks, milliseconds. */
const IDLE_IN_TRANSACTION_TIMEOUT = 10_000;
/** How often a transaction is tried, and the longest first pause between two tries, milliseconds. */
const ATTEMPTS = 4;
const FIRST_PAUSE = 20;

// Spelled out, because the server's defaults can be changed.
const BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
const BEGIN_READING = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

const BACKEND = "a.pid, extract(epoch FROM a.backend_start)::text AS start";
const OWN_BACKEND = `SELECT ${BACKEND} FROM pg_stat_activity a WHERE a.pid = pg_backend_pid()`;
// An end is seen here only after what it committed is seen.
const selectBackends = statement<Backend>(
  `SELECT ${BACKEND} FROM pg_stat_activity a JOIN unnest($1::integer[], $2::text[]) AS given (pid, start)
     ON given.pid = a.pid AND given.start = extract(epoch FROM a.backend_start)::text`,
);

/** Opens a database that is there. Throws one sentence without secrets when it cannot be reached or must not be used. */
export async function openDatabase(
  url: string,
  { chance, answerTimeoutMs = ANSWER_TIMEOUT, onCommitted }: DatabaseOptions,
): Promise<Database> {
  const name = describeDatabase(url);
  const unreplicated = new WeakSet<object>();
  const backends = new WeakMap<object, Backend>();
  /** The backends of connections that were given up with something under way. */
  let abandoned: Backend[] = [];
  const pool = new Pool({
    ...connectionSettings(url),
    // Statements leave without waiting for the answers of those before them.
    pipeline: true,
    max: CONNECTIONS,
    idleTimeoutMillis: IDLE_TIMEOUT,
    statement_timeout: STATEMENT_TIMEOUT,
    query_timeout: answerTimeoutMs,
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_TIMEOUT,
    // Settings hold per connection, and the server behind a name may be another one after a while.
    onConnect: async (client) => {
      await checkServer(client, name);
      await planByIndex(client);
      const { rows } = await client.query<Backend>(OWN_BACKEND);
      if (rows[0] !== undefined) backends.set(client, rows[0]);
    },
  });
  // A connection that fails is noticed by whoever uses it, or replaced; without listeners it would end the process.
  pool.on("error", () => {});
  pool.on("connect", (client) => {
    client.on("error", () => {});
    client.on("notice", ({ routine }) => {
      // An operator gave up waiting for the standbys: it is on one disk, which is less than was asked for.
      if (routine === "SyncRepWaitForLSN") unreplicated.add(client);
    });
  });

  try {
    (await pool.connect()).release();
  } catch (error) {
    await pool.end();
    throw naming(name, error);
  }

  /** Takes a connection for some work, and gives it back unless it failed. */
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

  const settle = <Result>(outcome: Outcome<Result>): Result => {
    if (outcome.kind === "done") return outcome.result;
    throw outcome.kind === "thrown" ? outcome.error : translate(outcome.error);
  };

  const repeatedly = async <Result>(work: () => Promise<Outcome<Result>>): Promise<Result> => {
    for (let attempt = 1; ; attempt++) {
      const outcome = await work();
      const isOver = outcome.kind !== "failed" || attempt === ATTEMPTS || !isWorthRepeating(outcome.error);
      if (isOver) return settle(outcome);
      // Chance keeps two that stood in each other's way from doing so again.
      await setTimeout(FIRST_PAUSE * 2 ** (attempt - 1) * chance());
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
    // Others may have been added meanwhile.
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
      // An earlier try was rolled back.
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
