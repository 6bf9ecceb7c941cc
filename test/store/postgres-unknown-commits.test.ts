import pg from "pg";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import type { PhoneNumber } from "../../src/domain/phone-number-record.ts";
import { createDispatcher } from "../../src/engine/dispatch/dispatcher.ts";
import { openPools } from "../../src/engine/pools/pools.ts";
import { createReporter } from "../../src/engine/reports/reporter.ts";
import { createYielding } from "../../src/engine/yielding.ts";
import { openPostgresStore } from "../../src/store/postgres/postgres-store.ts";
import type { Store } from "../../src/store/store.ts";
import { fakeCarrier } from "../engine/fake-carrier.ts";
import {
  aMessage,
  claimOne,
  eventsOf,
  NOON,
  report,
  SECOND,
  storeMessage,
  storeNumber,
  storeProfile,
  write,
} from "./contract/records.ts";
import { type PostgresServer, startPostgres } from "./postgres-server.ts";

const UNAVAILABLE = { refusal: { reason: ErrorReason.UNAVAILABLE } };

/**
 * Commits wait for a standby that does not exist, longer than the store waits for their answers.
 */
describe.skipIf(process.env.NUMBERPOOL_TEST_POSTGRES)("A commit on PostgreSQL whose answer is lost", () => {
  let server: PostgresServer;
  let admin: pg.Client;
  let store: Store;
  let number: PhoneNumber;

  const stallCommits = async () => {
    await admin.query("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    await admin.query("SELECT pg_reload_conf()");
    await expect
      .poll(async () => (await admin.query("SHOW synchronous_standby_names")).rows[0])
      .toMatchObject({
        synchronous_standby_names: "nobody",
      });
  };
  const letCommitsGoOn = async () => {
    await admin.query("ALTER SYSTEM RESET synchronous_standby_names");
    await admin.query("SELECT pg_reload_conf()");
  };
  const stalled = async () =>
    (await admin.query("SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'")).rowCount ?? 0;
  const statusOf = async ({ organizationId, id }: { organizationId: string; id: string }) =>
    (await store.getMessage(organizationId, id))?.status;

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
    const url = await server.createDatabase();
    store = await openPostgresStore(url, { onLost: () => {}, chance: Math.random, answerTimeoutMs: 500 });
    number = await storeNumber(store, await storeProfile(store), { segmentsPerSecond: 1_000 });
  });
  afterEach(async () => {
    await letCommitsGoOn();
    await store?.close();
  });

  it("is a claim's: the claimed messages return to their queue as soon as the commit is visible", async () => {
    const message = await storeMessage(store, number);
    await stallCommits();
    await expect(claimOne(store, number, NOON)).rejects.toMatchObject(UNAVAILABLE);
    expect(await stalled()).toBe(1);
    expect(await store.requeue("process-1", [], NOON)).toEqual({ phoneNumberIds: [], isSettled: false });
    await letCommitsGoOn();
    const taken: string[] = [];
    await expect
      .poll(async () => {
        const { phoneNumberIds, isSettled } = await store.requeue("process-1", [], NOON);
        taken.push(...phoneNumberIds);
        return isSettled;
      })
      .toBe(true);
    expect(taken).toEqual([number.id]);
    expect(await store.getMessage(message.organizationId, message.id)).toMatchObject({ status: "queued", submits: 0 });
  });

  it("is a claim's: the dispatcher sends the claimed messages once", async () => {
    const messages = [await storeMessage(store, number), await storeMessage(store, number)];
    const begun = performance.now();
    const clock = () => Math.round(NOON + performance.now() - begun);
    const pools = openPools(store, clock);
    const log = pino({ level: "silent" });
    const { yieldAfter } = createYielding(clock, false);
    const carrier = fakeCarrier("sandbox", clock);
    const dispatcher = createDispatcher({
      store,
      pools,
      carriers: new Map([["sandbox", carrier]]),
      reporter: createReporter({ store, pools, log, yieldAfter, metrics: { observeReport: () => {} } }),
      clock,
      random: Math.random,
      log,
      yieldAfter,
      owner: "process-1",
      submitTimeoutMs: 60 * SECOND,
      isDeliveryHeld: () => false,
    });
    await stallCommits();
    await dispatcher.start();
    await expect.poll(stalled, { timeout: 5 * SECOND }).toBe(1);
    // The dispatcher has given the claim up, and its requeue found nothing.
    await new Promise((resolve) => setTimeout(resolve, 2.5 * SECOND));
    expect(carrier.taken).toEqual([]);
    await letCommitsGoOn();
    for (const message of messages) await expect.poll(() => statusOf(message), { timeout: 5 * SECOND }).toBe("sent");
    expect(carrier.taken.toSorted()).toEqual(messages.map(({ id }) => id).toSorted());
    await dispatcher.stop(SECOND);
    pools.close();
  });

  it("is that of reports: they are written again without a second effect", async () => {
    const message = await storeMessage(store, number, { status: "sending" });
    const reports = [
      { kind: "accepted", at: NOON, carrierMessageId: "told twice" },
      { kind: "delivered", at: NOON },
    ] as const;
    await stallCommits();
    await expect(report(store, message, ...reports)).rejects.toMatchObject(UNAVAILABLE);
    expect(await statusOf(message)).toBe("sending");
    await letCommitsGoOn();
    const again = report(store, message, ...reports).catch(() => report(store, message, ...reports));
    expect(await again).toMatchObject([{ messageId: message.id }, { status: "delivered" }]);
    const health = (await store.loadPoolNumber(number.id))?.traffic.health;
    expect(health).toMatchObject({ delivered: 1 });
    expect(await statusOf(message)).toBe("delivered");
    const story = await eventsOf(store, message);
    expect(story.map(({ kind, carrierMessageId }) => [kind, carrierMessageId])).toEqual([
      ["accepted", "told twice"],
      ["delivered", undefined],
    ]);
  });

  it("is that of accepting: the caller gets UNAVAILABLE, and the message may exist", async () => {
    const message = aMessage(number);
    await stallCommits();
    await expect(write(store, { messages: [message] })).rejects.toMatchObject(UNAVAILABLE);
    expect(await statusOf(message)).toBeUndefined();
    await letCommitsGoOn();
    await expect.poll(() => statusOf(message)).toBe("queued");
    expect((await store.listQueues(1)).map(({ phoneNumberId }) => phoneNumberId)).toEqual([number.id]);
  });
});
