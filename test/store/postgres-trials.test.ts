import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createIds } from "../../src/domain/ids.ts";
import type { QueuedMessage } from "../../src/domain/message.ts";
import type { PhoneNumber } from "../../src/domain/phone-number-record.ts";
import { segment } from "../../src/domain/segments.ts";
import { createAcceptance } from "../../src/engine/accept/acceptance.ts";
import type { UnitOutcome } from "../../src/engine/accept/decide-group.ts";
import { openPools } from "../../src/engine/pools/pools.ts";
import { openPostgresStore } from "../../src/store/postgres/postgres-store.ts";
import type { Store } from "../../src/store/store.ts";
import { FAILED_BY_SENDER, NOON, report, storeMessages, storeNumber, storeProfile } from "./contract/records.ts";
import { freshDatabase } from "./postgres-database.ts";

const RULES = { longCodeWeight: 1, tollFreeWeight: 1, skipUnhealthy: true, stickySender: false, geomatch: false };

let url: string;
let admin: Store;

const open = () => openPostgresStore(url, { onLost: () => {}, chance: Math.random });

beforeAll(async () => {
  url = await freshDatabase();
  admin = await open();
});

afterAll(async () => {
  await admin.close();
});

/** A number with eleven failures, one short of being unhealthy: it is on trial. */
async function onTrial(profile: Awaited<ReturnType<typeof storeProfile>>): Promise<PhoneNumber> {
  const number = await storeNumber(admin, profile, { segmentsPerSecond: 100 });
  const eleven = Array.from({ length: 11 }, () => ({ status: "sending" as const }));
  for (const message of await storeMessages(admin, number, ...eleven)) {
    await report(admin, message, { kind: "failed", at: NOON, error: FAILED_BY_SENDER, carrierCode: "" });
  }
  return number;
}

/** A process that accepts sends through a profile's pool. */
async function join(profile: Awaited<ReturnType<typeof storeProfile>>) {
  const store = await open();
  const pools = openPools(store, () => NOON);
  const ids = createIds((bytes) => randomBytes(bytes));
  const acceptance = createAcceptance({
    store,
    clock: () => NOON,
    ids,
    stickyLifetimeMs: 1_000,
    onAccepted: (segments) => pools.bookAccepted(segments),
  });
  const segments = segment("Hello", "auto");
  if ("unencodable" in segments) throw new Error("the text cannot be encoded");
  return {
    load: () => pools.load(profile.organizationId, profile.id),
    send: async (to: string): Promise<UnitOutcome> => {
      const live = await pools.load(profile.organizationId, profile.id);
      if (live === undefined) throw new Error("there is no pool");
      const webhooks = { webhookUrl: undefined, webhookFailoverUrl: undefined, useProfileWebhooks: true };
      const item = { live, send: { to, text: "Hello", segments }, from: undefined, sendAt: undefined, ...webhooks };
      const unit = { organizationId: profile.organizationId, method: "SendMessage", items: [item], attempt: undefined };
      return acceptance.accept({ ...unit, key: undefined, requestHash: undefined, answer: () => new Uint8Array() });
    },
    leave: async () => {
      pools.close();
      await store.close();
    },
  };
}

const acceptedOf = (outcomes: readonly UnitOutcome[]) =>
  outcomes.flatMap((outcome) =>
    outcome.kind === "decided" ? outcome.outcomes.flatMap((each) => ("message" in each ? [each.message] : [])) : [],
  );

describe("a number on trial", () => {
  it("gets one unreported message, however many processes send at once", async () => {
    const profile = await storeProfile(admin, { poolSettings: RULES });
    const number = await onTrial(profile);
    const processes = await Promise.all([join(profile), join(profile), join(profile)]);
    for (const each of processes) await each.load();
    const sendAll = async (round: number) =>
      acceptedOf(
        await Promise.all(
          processes.flatMap((each, index) => [0, 1, 2].map((nth) => each.send(`+1212556${round}${index}${nth}0`))),
        ),
      );
    const [first, ...others] = await sendAll(1);
    expect([first?.from, others.length]).toEqual([number.phoneNumber, 0]);
    expect(await sendAll(2)).toEqual([]);
    // Not by a later process either, nor while it is sent.
    const late = await join(profile);
    expect(acceptedOf([await late.send("+12125569999")])).toEqual([]);
    for (const each of [...processes, late]) await each.leave();
    expect((first as QueuedMessage).status).toBe("queued");
  });

  it("leaves the other numbers of the pool alone", async () => {
    const profile = await storeProfile(admin, { poolSettings: RULES });
    const tried = await onTrial(profile);
    await storeNumber(admin, profile, { segmentsPerSecond: 100 });
    const processes = await Promise.all([join(profile), join(profile)]);
    for (const each of processes) await each.load();
    const outcomes = await Promise.all(
      processes.flatMap((each, index) => Array.from({ length: 10 }, (_, nth) => each.send(`+12125570${index}${nth}0`))),
    );
    const from = acceptedOf(outcomes).map((message) => message.from);
    expect(from).toHaveLength(20);
    expect(from.filter((phoneNumber) => phoneNumber === tried.phoneNumber)).toHaveLength(1);
    for (const each of processes) await each.leave();
  });
});
