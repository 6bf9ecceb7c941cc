import { pino } from "pino";
import { describe, expect, it } from "vitest";
import { openPools } from "../../src/engine/pools/pools.ts";
import { createReporter } from "../../src/engine/reports/reporter.ts";
import { claimOne, NOON, storeMessages, storeNumber, storeProfile } from "../store/contract/records.ts";
import { openInFolder } from "../store/sqlite-folder.ts";

describe("The reporter", () => {
  it("stores and resolves every report once, although the pools cannot apply their effects", async () => {
    const { store, dispose } = openInFolder();
    const lines: { event: string }[] = [];
    const log = pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) });
    const pools = openPools(store, () => NOON);
    const failing = {
      ...pools,
      book: () => {
        throw new Error("the pool is broken");
      },
    };
    const parts = { store, pools: failing, log, yieldAfter: async () => {}, metrics: { observeReport: () => {} } };
    const reporter = createReporter(parts);
    const number = await storeNumber(store, await storeProfile(store), { segmentsPerSecond: 100 });
    const messages = await storeMessages(store, number, {}, {});
    expect((await claimOne(store, number, NOON)).messages).toHaveLength(2);
    const report = ({ organizationId, id }: (typeof messages)[number]) =>
      reporter.report({
        target: { organizationId, messageId: id },
        carrier: "sandbox",
        submit: 1,
        report: { kind: "accepted", at: NOON, carrierMessageId: id },
      });
    const [first, second] = messages as [(typeof messages)[number], (typeof messages)[number]];
    const early = report(first);
    // Into the group after the first one.
    const late = early.then(() => report(second));
    expect([(await early).status, (await late).status]).toEqual(["sent", "sent"]);
    await reporter.settle();
    for (const { organizationId, id } of messages) {
      expect((await store.getMessage(organizationId, id))?.status).toBe("sent");
      const { rows } = await store.listMessageEvents(organizationId, id, { after: undefined, limit: 10 });
      expect(rows.map(({ kind }) => kind)).toEqual(["sending", "accepted"]);
    }
    expect(lines.map(({ event }) => event)).toEqual(["pool_update_failed", "pool_update_failed"]);
    pools.close();
    await dispose();
  });
});
