import { randomBytes } from "node:crypto";
import pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import type { ClientAttempt } from "../../src/domain/client-attempt.ts";
import { createIds } from "../../src/domain/ids.ts";
import { segment } from "../../src/domain/segments.ts";
import { createAcceptance } from "../../src/engine/accept/acceptance.ts";
import type { UnitOutcome } from "../../src/engine/accept/decide-group.ts";
import { openPools } from "../../src/engine/pools/pools.ts";
import { openPostgresStore } from "../../src/store/postgres/postgres-store.ts";
import { NOON, SECOND, storeNumber, storeProfile } from "./contract/records.ts";
import { type PostgresServer, startPostgres } from "./postgres-server.ts";

const RULES = { longCodeWeight: 1, tollFreeWeight: 1, skipUnhealthy: true, stickySender: false, geomatch: false };
const UNAVAILABLE = { refusal: { reason: ErrorReason.UNAVAILABLE } };
const TO = "+12125560100";
const FIRST: ClientAttempt = { retryCount: 0, timeoutMs: 60 * SECOND };
const RETRY: ClientAttempt = { retryCount: 1, timeoutMs: 60 * SECOND };

type Process = Awaited<ReturnType<typeof join>>;

/** A process that accepts sends through a profile's pool. */
async function join(url: string, profile: Awaited<ReturnType<typeof storeProfile>>, clock: () => number) {
  const store = await openPostgresStore(url, { onLost: () => {}, chance: Math.random, answerTimeoutMs: 500 });
  const pools = openPools(store, clock);
  const acceptance = createAcceptance({
    store,
    clock,
    ids: createIds((bytes) => randomBytes(bytes)),
    stickyLifetimeMs: SECOND,
    onAccepted: (segments) => pools.bookAccepted(segments),
  });
  const segments = segment("Hello", "auto");
  if ("unencodable" in segments) throw new Error("the text cannot be encoded");
  const live = await pools.load(profile.organizationId, profile.id);
  if (live === undefined) throw new Error("there is no pool");
  return {
    send: (attempt: ClientAttempt | undefined, hash = 1): Promise<UnitOutcome> => {
      const webhooks = { webhookUrl: undefined, webhookFailoverUrl: undefined, useProfileWebhooks: true };
      const send = { to: TO, text: "Hello", segments };
      return acceptance.accept({
        organizationId: profile.organizationId,
        method: "SendMessage",
        items: [{ live, send, from: undefined, sendAt: undefined, ...webhooks }],
        key: undefined,
        requestHash: attempt && new Uint8Array(32).fill(hash),
        attempt,
        answer: () => new Uint8Array(),
      });
    },
    leave: async () => {
      pools.close();
      await store.close();
    },
  };
}

describe.skipIf(process.env.NUMBERPOOL_TEST_POSTGRES)("Attempts of the official client on PostgreSQL", () => {
  let server: PostgresServer;
  let admin: pg.Client;
  let database: pg.Client;
  let one: Process;
  let other: Process;
  let now: number;

  const stallCommits = async () => {
    await admin.query("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    await admin.query("SELECT pg_reload_conf()");
    await expect
      .poll(async () => (await admin.query("SHOW synchronous_standby_names")).rows[0])
      .toMatchObject({ synchronous_standby_names: "nobody" });
  };
  const letCommitsGoOn = async () => {
    await admin.query("ALTER SYSTEM RESET synchronous_standby_names");
    await admin.query("SELECT pg_reload_conf()");
  };
  const messageIds = async () => (await database.query("SELECT id FROM messages ORDER BY id")).rows.map(({ id }) => id);
  const acceptedId = (outcome: UnitOutcome) => {
    const message = outcome.kind === "decided" ? outcome.outcomes[0] : undefined;
    if (message === undefined || !("message" in message)) throw new Error("it was not accepted");
    return message.message.id;
  };

  beforeAll(async () => {
    server = await startPostgres();
    admin = new pg.Client({ connectionString: server.url });
    await admin.connect();
  });
  afterAll(async () => {
    await admin?.end();
    await server?.stop();
  });
  beforeEach(async () => {
    now = NOON;
    const url = await server.createDatabase();
    const store = await openPostgresStore(url, { onLost: () => {}, chance: Math.random });
    const profile = await storeProfile(store, { poolSettings: RULES });
    await storeNumber(store, profile, { segmentsPerSecond: 100 });
    await store.close();
    database = new pg.Client({ connectionString: url });
    await database.connect();
    one = await join(url, profile, () => now);
    other = await join(url, profile, () => now);
  });
  afterEach(async () => {
    await letCommitsGoOn();
    await one?.leave();
    await other?.leave();
    await database?.end();
  });

  it.each(["another process", "the same process"])(
    "text once when the first one's commit hangs and the retry comes to %s",
    async (where) => {
      await stallCommits();
      await expect(one.send(FIRST)).rejects.toMatchObject(UNAVAILABLE);
      const retrying = (where === "the same process" ? one : other).send(RETRY);
      const early = await Promise.race([
        retrying.then(
          () => "settled",
          () => "settled",
        ),
        new Promise((resolve) => setTimeout(() => resolve("waiting"), SECOND)),
      ]);
      expect(early).toBe("waiting");
      await letCommitsGoOn();
      const outcome = await retrying;
      const ids = await messageIds();
      expect(ids).toHaveLength(1);
      expect(outcome).toMatchObject({ kind: "repeated", message: { id: ids[0] } });
    },
  );

  it("are refused after some seconds when the first one's commit still hangs, and delay no other send", async () => {
    const held = await database.query("BEGIN").then(() => {
      return database.query("SELECT pg_advisory_xact_lock_shared($1)", [String(Buffer.alloc(8, 1).readBigInt64BE())]);
    });
    expect(held.rowCount).toBe(1);
    const retrying = one.send(RETRY);
    const refused = expect(retrying).rejects.toMatchObject({
      refusal: { reason: ErrorReason.UNAVAILABLE, detail: expect.stringContaining("Idempotency-Key") },
    });
    const begun = performance.now();
    acceptedId(await one.send(FIRST, 2));
    acceptedId(await one.send(undefined));
    // An equal first attempt is a message of its own, beside the one in flight.
    acceptedId(await one.send(FIRST));
    expect(performance.now() - begun).toBeLessThan(4 * SECOND);
    await refused;
    await database.query("ROLLBACK");
    expect(await messageIds()).toHaveLength(3);
  });

  it("are one message when several processes receive retries at once", async () => {
    const outcomes = await Promise.all([one.send(RETRY), other.send(RETRY), one.send(RETRY), other.send(RETRY)]);
    expect(outcomes.map(({ kind }) => kind).toSorted()).toEqual(["decided", "repeated", "repeated", "repeated"]);
    expect(await messageIds()).toHaveLength(1);
  });

  it("are accepted by a retry whose first attempt never arrived", async () => {
    const id = acceptedId(await one.send(RETRY));
    expect(await messageIds()).toEqual([id]);
    expect(await other.send({ ...RETRY, retryCount: 2 })).toMatchObject({ kind: "repeated", message: { id } });
  });

  it("are two messages when two first attempts are equal, also at once", async () => {
    const ids = (await Promise.all([one.send(FIRST), other.send(FIRST), one.send(FIRST)])).map(acceptedId);
    expect(await messageIds()).toEqual(ids.toSorted());
    expect(new Set(ids).size).toBe(3);
  });

  it.each([
    [1, 1, 71],
    [2, 1, 142],
    [1, 60, 130],
    [2, 600, 900],
  ])("look back as retry %i with a timeout of %i s for %i s", async (retryCount, timeout, span) => {
    const attempt = { retryCount, timeoutMs: timeout * SECOND };
    const id = acceptedId(await one.send(FIRST));
    now = NOON + (span - 1) * SECOND;
    expect(await other.send(attempt)).toMatchObject({ kind: "repeated", message: { id } });
    now = NOON + (span + 10) * SECOND;
    expect(acceptedId(await other.send(attempt))).not.toBe(id);
  });

  it("leave no record, and are not found, without the header", async () => {
    const id = acceptedId(await one.send(undefined));
    expect((await database.query("SELECT FROM recent_sends")).rowCount).toBe(0);
    expect(acceptedId(await other.send(RETRY))).not.toBe(id);
  });
});
