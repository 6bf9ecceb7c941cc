import { expect, it } from "vitest";
import type { RecentSend } from "../../../src/domain/idempotency.ts";
import type { Store } from "../../../src/store/store.ts";
import {
  ALL,
  ANY_NAME,
  aMessage,
  claimOne,
  HOUR,
  NOON,
  newId,
  read,
  report,
  SECOND,
  settleOthers,
  storeMessage,
  storeMessages,
  storeNumber,
  storeProfile,
  write,
} from "./records.ts";
import type { Subject } from "./subject.ts";

const NEVER_YET = { keys: 0, recentSends: 0, stickyMappings: 0, unmatchedReceipts: 0 };
const MOST = 1_000;

/** Retention, and what survives a restart. */
export function keeping(subject: Subject): void {
  /**
   * Records of each kind, one for each moment: a key, a recent send with its message, a mapping.
   */
  const storeAged = async (moments: readonly number[]) => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const number = await storeNumber(store, profile);
    const { organizationId } = profile;
    const bytes = { requestHash: new Uint8Array(32), response: new Uint8Array([1]) };
    const keys = moments.map((createdAt) => ({
      organizationId,
      method: "m",
      key: `${createdAt}`,
      ...bytes,
      createdAt,
    }));
    const mappings = moments.map((lastMessageAt, index) => ({
      organizationId,
      messagingProfileId: profile.id,
      to: `+121255501${String(index).padStart(2, "0")}`,
      phoneNumberId: number.id,
      profileGeneration: 0,
      numberGeneration: 0,
      lastMessageAt,
    }));
    const messages = moments.map((receivedAt) => aMessage(number, { receivedAt }));
    const recentSends = messages.map(({ id, receivedAt }, index): RecentSend => {
      return { organizationId, requestHash: new Uint8Array(32).fill(index + 1), messageId: id, at: receivedAt };
    });
    await write(store, { keys, mappings, messages, recentSends });
    const left = async () => {
      const retries = recentSends.map(({ requestHash, at }) => ({ requestHash, since: at, until: at }));
      const facts = await read(store, { keys, recipients: mappings, retries });
      return {
        keys: facts.keys.flatMap((record) => record?.createdAt ?? []),
        stickyMappings: facts.recipients.flatMap(({ mapping }) => mapping?.lastMessageAt ?? []),
        recentSends: facts.retries.flatMap((message) => message?.receivedAt ?? []),
      };
    };
    return { messages, left };
  };

  it("forgets only rows older than the moment", async () => {
    const { store } = subject();
    const moments = [NOON, NOON + HOUR];
    const { left } = await storeAged(moments);
    expect(await store.forget(NEVER_YET, MOST)).toBe(0);
    expect(
      await store.forget({ keys: NOON, recentSends: NOON, stickyMappings: NOON, unmatchedReceipts: NOON }, MOST),
    ).toBe(0);
    expect(await left()).toEqual({ keys: moments, recentSends: moments, stickyMappings: moments });
  });

  it.each(["keys", "recentSends", "stickyMappings"] as const)(
    "forgets %s that are older, and nothing else",
    async (kind) => {
      const { store } = subject();
      const moments = [NOON, NOON + HOUR, NOON + 2 * HOUR];
      const { left, messages } = await storeAged(moments);
      expect(await store.forget({ ...NEVER_YET, [kind]: NOON + 2 * HOUR }, MOST)).toBe(2);
      const whole = { keys: moments, recentSends: moments, stickyMappings: moments };
      expect(await left()).toEqual({ ...whole, [kind]: [NOON + 2 * HOUR] });
      for (const message of messages) {
        expect(await store.getMessage(message.organizationId, message.id)).toEqual(message);
      }
    },
  );

  it("forgets at most the limit of each kind in one call, and the rest in later calls", async () => {
    const { store } = subject();
    const moments = Array.from({ length: 5 }, (_, index) => NOON + index * SECOND);
    const { left } = await storeAged(moments);
    const before = { keys: NOON + HOUR, recentSends: NOON + HOUR, stickyMappings: NOON + HOUR, unmatchedReceipts: 0 };
    expect(await store.forget(before, 2)).toBe(6);
    const after = await left();
    expect(Object.values(after).map(({ length }) => length)).toEqual([3, 3, 3]);
    expect(await store.forget(before, 2)).toBe(6);
    expect(await store.forget(before, 2)).toBe(3);
    expect(await store.forget(before, 2)).toBe(0);
    expect(await left()).toEqual({ keys: [], recentSends: [], stickyMappings: [] });
  });

  it("a forgotten key can be used again", async () => {
    const { store } = subject();
    const { organizationId } = await storeProfile(store);
    const bytes = { requestHash: new Uint8Array(32), response: new Uint8Array([1]) };
    const key = { organizationId, method: "SendMessage", key: "order-1", ...bytes, createdAt: NOON };
    await write(store, { keys: [key] });
    await store.forget({ ...NEVER_YET, keys: NOON + 1 }, MOST);
    await write(store, { keys: [{ ...key, createdAt: NOON + HOUR }] });
    expect((await read(store, { keys: [key] })).keys[0]?.createdAt).toBe(NOON + HOUR);
  });

  it("a probe resolves every time, and changes nothing", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const number = await storeNumber(store, profile);
    const message = await storeMessage(store, number);
    for (let asked = 0; asked < 3; asked += 1) await store.probe();
    expect(await store.getMessage(message.organizationId, message.id)).toEqual(message);
    expect(await store.getProfile(profile.organizationId, profile.id)).toEqual(profile);
  });

  it("has a name for logs", () => {
    expect(subject().store.name).toMatch(/\S/);
  });

  it("everything survives closing and opening again", async () => {
    const { store, reopen } = subject();
    const profile = await storeProfile(store);
    const { organizationId } = profile;
    const number = await storeNumber(store, profile, { dailySegmentLimit: 10, tags: ["été"] });
    const gone = await storeNumber(store, profile);
    const paced = await storeNumber(store, profile, { segmentsPerSecond: 0.3 });
    const [lost, settled, ...waiting] = await storeMessages(store, number, {}, {}, { text: "👋" }, { parts: 3 });
    await storeMessages(store, paced, {}, {});
    await claimOne(store, number, NOON, "process-1");
    await claimOne(store, number, NOON + SECOND, "process-2");
    await claimOne(store, paced, NOON, "process-2");
    if (settled !== undefined) {
      const answer = { kind: "accepted", at: NOON + SECOND, carrierMessageId: "c-1" } as const;
      await report(store, settled, answer, { kind: "delivered", at: NOON + 2 * SECOND });
    }
    const bytes = { requestHash: new Uint8Array(32).fill(3), response: new Uint8Array([0, 255, 1]) };
    const key = { organizationId, method: "SendMessage", key: "order-1", ...bytes, createdAt: NOON };
    const mapping = {
      organizationId,
      messagingProfileId: profile.id,
      to: "+12125550100",
      phoneNumberId: number.id,
      profileGeneration: 0,
      numberGeneration: 0,
      lastMessageAt: NOON,
    };
    await write(store, {
      keys: [key],
      mappings: [mapping],
      recentSends: [{ organizationId, requestHash: bytes.requestHash, messageId: waiting[0]?.id ?? "", at: NOON }],
    });
    const optOut = { ...mapping, to: "+12125550101", phoneNumber: "", keyword: "STOP", createdAt: NOON };
    await store.addOptOut(optOut);
    await store.removeNumber(organizationId, gone.id);
    const apiKey = { id: newId(), organizationId, name: "Till 4", secretHash: bytes.requestHash, createdAt: NOON };
    await store.insertApiKey({ ...apiKey, scopes: ["read"], revokedAt: undefined });
    await store.revokeApiKey(apiKey.id, NOON + 1);

    const everything = async (from: Store) => ({
      organizations: await from.listOrganizations(),
      apiKeys: await from.listApiKeys(),
      profiles: await from.listProfiles(organizationId, ANY_NAME),
      numbers: await from.listNumbers(organizationId, ALL),
      pool: await from.loadPool(organizationId, profile.id),
      messages: await Promise.all(
        [lost, settled, ...waiting].map((each) => from.getMessage(organizationId, each?.id ?? "")),
      ),
      listed: await from.listMessages(organizationId, { after: undefined, limit: 10 }),
      optOuts: await from.listOptOuts(organizationId, ALL),
      mappings: await from.listMappings({ ...mapping, since: 0 }, { after: undefined, limit: 10 }),
      traffic: [...(await from.listTraffic(organizationId, profile.id, NOON + HOUR))],
      queues: await from.listQueues(10),
      facts: await read(from, {
        recipients: [mapping, optOut],
        keys: [key],
        retries: [{ requestHash: bytes.requestHash, since: NOON, until: NOON }],
      }),
    });
    const before = await everything(store);
    const again = await reopen();
    expect(await everything(again)).toEqual(before);

    expect(before.messages.map((message) => message?.status)).toEqual(["sending", "delivered", "queued", "queued"]);
    expect(before.facts.keys[0]?.key).toBe("order-1");
    expect(before.facts.retries[0]?.text).toBe("👋");
    expect(before.pool?.numbers).toHaveLength(2);
    expect(before.facts.recipients.map(({ optedOut }) => optedOut)).toEqual([false, true]);
    expect([before.listed.rows.length, before.mappings.rows.length, before.traffic.length]).toEqual([6, 1, 2]);
    // Columns that no record shows: the owner, and the carrier's id.
    const target = { carrier: "sandbox", carrierMessageId: "c-1" };
    const [applied] = await again.applyReports([{ target, report: { kind: "delivered", at: NOON + HOUR } }]);
    expect(applied?.messageId).toBe(settled?.id);
    expect(await settleOthers(again, "process-2", NOON + HOUR)).toBe(1);
    expect((await again.getMessage(organizationId, lost?.id ?? ""))?.status).toBe("delivery_unconfirmed");
    const next = await storeNumber(again, profile);
    const sequences = before.pool?.numbers.map(({ traffic }) => traffic.sequence) ?? [];
    const sequence = (await again.loadPoolNumber(next.id))?.traffic.sequence;
    expect(sequence).toBeGreaterThan(Math.max(...sequences));
  });
}
