import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { PhoneNumber } from "../../src/domain/phone-number-record.ts";
import { openPostgresStore } from "../../src/store/postgres/postgres-store.ts";
import type { Store } from "../../src/store/store.ts";
import { aMessage, claimOne, NOON, report, storeMessages, storeNumber, storeProfile } from "./contract/records.ts";
import { type CuttingProxy, cutConnections } from "./cutting-proxy.ts";
import { freshDatabase } from "./postgres-database.ts";

let proxy: CuttingProxy;
let store: Store;
let number: PhoneNumber;

beforeAll(async () => {
  proxy = await cutConnections(await freshDatabase());
  store = await openPostgresStore(proxy.url, { onLost: () => {}, chance: Math.random });
  number = await storeNumber(store, await storeProfile(store), { segmentsPerSecond: 1_000 });
});

afterAll(async () => {
  await store?.close();
  await proxy?.close();
});

/** The round trips to the server. */
async function roundTripsOf(work: () => Promise<unknown>): Promise<number> {
  // The watch may read changes meanwhile on its own connection: the minimum of some attempts
  // counts.
  const counts: number[] = [];
  for (let attempt = 0; attempt < 5; attempt += 1) {
    proxy.roundTrips.splice(0, proxy.roundTrips.length, "");
    await work();
    counts.push(proxy.roundTrips.filter((trip) => trip !== "").length);
  }
  return Math.min(...counts);
}

describe("The network latency of PostgreSQL is paid", () => {
  it("twice by a group of sends", async () => {
    const { organizationId, messagingProfileId = "" } = number;
    const recipients = [{ organizationId, messagingProfileId, to: "+12125550100", sticky: true }];
    let made = 0;
    const accept = () => {
      const keys = [{ organizationId, method: "SendMessage", key: `${made++}` }];
      const bytes = { requestHash: new Uint8Array(32).fill(1), response: new Uint8Array(1), createdAt: NOON };
      return store.accept({ recipients, keys, retries: [] }, () => ({
        messages: [aMessage(number), aMessage(number)],
        mappings: [],
        keys: keys.map((key) => ({ ...key, ...bytes })),
        recentSends: [],
        usage: [{ phoneNumberId: number.id, day: 1, segments: 2 }],
      }));
    };
    expect(await roundTripsOf(accept)).toBe(2);
  });

  it("three times by a claim, however many numbers and messages it is about", async () => {
    await storeMessages(store, number, ...Array.from({ length: 100 }, () => ({})));
    let now = NOON;
    const claim = () => {
      now += 1_000;
      return claimOne(store, number, now);
    };
    expect(await roundTripsOf(claim)).toBe(3);
  });

  it("twice by reports", async () => {
    const messages = await storeMessages(
      store,
      number,
      ...Array.from({ length: 5 }, () => ({ status: "sending" as const })),
    );
    const answer = () => {
      const message = messages.pop();
      if (message === undefined) throw new Error("there are no more messages");
      const took = { kind: "accepted", at: NOON, carrierMessageId: message.id } as const;
      return report(store, message, took, { kind: "delivered", at: NOON });
    };
    expect(await roundTripsOf(answer)).toBe(2);
  });
});
