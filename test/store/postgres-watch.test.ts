import { setTimeout } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { connect } from "../../src/store/postgres/connection.ts";
import { CHANGES, type ChangeWatch, watchChanges } from "../../src/store/postgres/watch.ts";
import { cutConnections } from "./cutting-proxy.ts";
import { freshDatabase } from "./postgres-database.ts";

let url: string;
let other: Awaited<ReturnType<typeof connect>>;
let watch: ChangeWatch | undefined;
let reads = 0;
const errors: unknown[] = [];
const read = async () => {
  reads++;
};
const start = (parts: { url?: string; read?: () => Promise<void> } = {}) => {
  watch = watchChanges({ url, read, onError: (error) => errors.push(error), ...parts });
};
const listeners = async () => {
  const { rows } = await other.query(
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'",
  );
  return rows.map(({ pid }) => pid as number);
};
/** Resolves when the watch listens and has read. */
const settle = async () => {
  await expect.poll(listeners).toHaveLength(1);
  await setTimeout(100);
};

beforeEach(async () => {
  url = await freshDatabase();
  other = await connect(url);
  reads = 0;
  errors.length = 0;
});
afterEach(async () => {
  await watch?.close();
  watch = undefined;
  await other.end();
});

describe("A watch on a PostgreSQL database", () => {
  it("reads at once when a change is committed, and not before", async () => {
    start();
    await settle();
    const before = reads;
    await other.query(`BEGIN; NOTIFY ${CHANGES}, 'not to be trusted'`);
    await setTimeout(200);
    expect(reads).toBe(before);
    await other.query("COMMIT");
    await expect.poll(() => reads, { timeout: 500, interval: 10 }).toBe(before + 1);
  });

  it("reads again after a notification during a read, and never twice at once", async () => {
    let atOnce = 0;
    let highest = 0;
    let finish = () => {};
    start({
      read: async () => {
        reads++;
        highest = Math.max(highest, ++atOnce);
        await new Promise<void>((resolve) => {
          finish = resolve;
        });
        atOnce--;
      },
    });
    await expect.poll(() => reads).toBe(1);
    const refreshed = watch?.refresh();
    await expect.poll(listeners).toHaveLength(1);
    for (let time = 0; time < 5; time++) await other.query(`NOTIFY ${CHANGES}`);
    await setTimeout(100);
    expect(reads).toBe(1);
    finish();
    await expect.poll(() => reads, { interval: 10 }).toBe(2);
    finish();
    await refreshed;
    await setTimeout(100);
    expect([reads, highest]).toEqual([2, 1]);
    const closing = watch?.close();
    finish();
    await closing;
  });

  it("reads the changes that were notified while it had no connection", async () => {
    start();
    await settle();
    const [pid] = await listeners();
    const before = reads;
    await other.query(`SELECT pg_terminate_backend(${pid})`);
    await other.query(`NOTIFY ${CHANGES}`);
    await expect.poll(() => reads, { timeout: 1_000, interval: 10 }).toBe(before + 1);
    await expect.poll(listeners).toHaveLength(1);
    expect(errors.length).toBeGreaterThan(0);
    // And it receives notifications again.
    await settle();
    await other.query(`NOTIFY ${CHANGES}`);
    await expect.poll(() => reads, { timeout: 500, interval: 10 }).toBe(before + 2);
  });

  it("reads every two seconds without any connection of its own, and after a read that failed", async () => {
    const proxy = await cutConnections(url);
    await proxy.close();
    start({
      url: proxy.url,
      read: async () => {
        reads++;
        if (reads === 1) throw new Error("this read failed");
      },
    });
    await expect.poll(() => reads, { timeout: 5_000 }).toBe(3);
    expect(errors).toContainEqual(new Error("this read failed"));
    expect(errors.map(String)).toContainEqual(expect.stringContaining("ECONNREFUSED"));
  });

  it("stops reading when it is closed, and leaves no connection", async () => {
    start();
    await settle();
    await watch?.close();
    const before = reads;
    await other.query(`NOTIFY ${CHANGES}`);
    await watch?.refresh();
    await setTimeout(100);
    expect(reads).toBe(before);
    await expect.poll(listeners).toEqual([]);
  });
});
