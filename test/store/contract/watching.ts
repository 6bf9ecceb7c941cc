import { setTimeout as sleep } from "node:timers/promises";
import { expect, it, vi } from "vitest";
import type { PhoneNumber } from "../../../src/domain/phone-number-record.ts";
import type { ConfigurationChange } from "../../../src/store/configuration-changes.ts";
import { aNumber, aProfile, NOON, newId, read, SECOND, storeMessage, storeNumber, storeProfile } from "./records.ts";
import type { Subject } from "./subject.ts";

/** What listeners of the configuration receive, and when. */
export function watching(subject: Subject): void {
  const aKey = (organizationId: string) => ({
    id: newId(),
    organizationId,
    name: "Till 4",
    secretHash: new Uint8Array(32),
    scopes: ["send"] as const,
    createdAt: NOON,
    revokedAt: undefined,
  });

  /** The changes that a listener received; `pause` is its time for each, milliseconds. */
  const listen = (store = subject().store, pause: (change: ConfigurationChange) => number = () => 0) => {
    const told: ConfigurationChange[] = [];
    const stop = store.watchConfiguration(async (change) => {
      await sleep(pause(change));
      told.push(change);
    });
    return { told, stop };
  };

  it("passes on its own changes before their promises resolve, in order", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const { organizationId } = profile;
    const { told } = listen();
    const change = (kind: ConfigurationChange["kind"], id: string) => ({ kind, organizationId, id });

    const other = aProfile(organizationId);
    await store.insertProfile(other);
    expect(told.splice(0)).toEqual([change("messaging_profile", other.id)]);
    await store.updateProfile(organizationId, profile.id, (current) => ({ ...current, name: "Changed" }));
    expect(told.splice(0)).toEqual([change("messaging_profile", profile.id)]);

    const number = await storeNumber(store, profile);
    expect(told.splice(0)).toEqual([change("phone_number", number.id)]);
    await store.updateNumber(organizationId, number.phoneNumber, (current) => ({ ...current, state: "paused" }));
    expect(told.splice(0)).toEqual([change("phone_number", number.id)]);
    const second = await storeNumber(store, profile);
    told.splice(0);
    await store.removeNumber(organizationId, second.phoneNumber);
    expect(told.splice(0)).toEqual([change("phone_number", second.id)]);

    const many = [aNumber(other), { ...number, id: newId() }, aNumber(other)];
    await store.insertNumbers(many);
    expect(told.splice(0)).toEqual([
      change("phone_number", many[0]?.id ?? ""),
      change("phone_number", many[2]?.id ?? ""),
    ]);

    await store.deleteProfile(organizationId, profile.id, NOON);
    expect(told.splice(0)).toEqual([change("messaging_profile", profile.id)]);
    expect((await store.unassignNumbers(10)).unassigned).toBe(1);
    expect(told.splice(0)).toEqual([]);

    const key = aKey(organizationId);
    await store.insertApiKey(key);
    expect(told.splice(0)).toEqual([change("api_key", key.id)]);
    await store.revokeApiKey(key.id, NOON);
    expect(told.splice(0)).toEqual([change("api_key", key.id)]);
  });

  it("a listener reads the changed row", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const number = await storeNumber(store, profile);
    const seen: unknown[] = [];
    store.watchConfiguration(async ({ kind, organizationId, id }) => {
      if (kind === "phone_number") seen.push((await store.getNumber(organizationId, id))?.number.state);
      else seen.push((await store.getProfile(organizationId, id))?.name);
    });
    await store.updateNumber(profile.organizationId, number.id, (current) => ({ ...current, state: "paused" }));
    await store.updateProfile(profile.organizationId, profile.id, (current) => ({ ...current, name: "Changed" }));
    await store.removeNumber(profile.organizationId, number.id);
    expect(seen).toEqual(["paused", "Changed", undefined]);
  });

  it("passes on nothing that did not change", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const { organizationId } = profile;
    const number = await storeNumber(store, profile);
    const { told } = listen();
    const refuse = () => {
      throw new Error("the policy says no");
    };
    await store.insertNumber({ ...number, id: newId() });
    await store.insertNumber({ ...number, id: newId(), phoneNumber: "+12125550177", messagingProfileId: newId() });
    await store.updateNumber(organizationId, newId(), (current) => current);
    await store.updateNumber(organizationId, number.id, (current) => ({ ...current, messagingProfileId: newId() }));
    await expect(store.updateNumber(organizationId, number.id, refuse)).rejects.toThrow();
    await expect(store.updateProfile(organizationId, profile.id, refuse)).rejects.toThrow();
    await store.updateProfile(organizationId, newId(), (current) => current);
    await store.deleteProfile(organizationId, newId(), NOON);
    await store.removeNumber(organizationId, newId());
    await store.revokeApiKey(newId(), NOON);
    await read(store, {});
    await storeMessage(store, number);
    await store.claim({ now: NOON, owner: "process-1", phoneNumberIds: [number.id], budgets: new Map() });
    await store.probe();
    expect(told).toEqual([]);
  });

  it("calls every listener, and none that stopped", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const [one, two] = [listen(), listen()];
    await storeNumber(store, profile);
    one.stop();
    one.stop();
    await storeNumber(store, profile);
    expect([one.told.length, two.told.length]).toEqual([1, 2]);
    two.stop();
    await storeNumber(store, profile);
    expect([one.told.length, two.told.length]).toEqual([1, 2]);
  });

  it("a failing listener delays no other, and gets the failed change again", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const { organizationId } = profile;
    const failing: string[] = [];
    let isFailing = true;
    store.watchConfiguration(async ({ id }) => {
      failing.push(id);
      if (isFailing) throw new Error("this listener fails");
    });
    const { told } = listen();
    const number = await storeNumber(store, profile);
    const key = aKey(organizationId);
    await store.insertApiKey(key);
    await store.revokeApiKey(key.id, NOON);
    expect(told.map(({ id }) => id)).toEqual([number.id, key.id, key.id]);
    expect(new Set(failing)).toEqual(new Set([number.id]));
    isFailing = false;
    failing.length = 0;
    await vi.waitFor(() => expect(failing).toEqual([number.id, key.id, key.id]), { timeout: 4 * SECOND, interval: 20 });
  });

  it("a listener that is slow with another process's changes delays no other", async ({ skip }) => {
    const { store, another } = subject();
    if (another === undefined) return skip("this store cannot be opened twice");
    const profile = await storeProfile(store);
    const other = await another();
    let finish = () => {};
    const slow = store.watchConfiguration(() => new Promise((resolve) => (finish = resolve)));
    const { told } = listen();
    const number = await storeNumber(other, profile);
    const key = aKey(profile.organizationId);
    await other.insertApiKey(key);
    await other.revokeApiKey(key.id, NOON);
    const expected = [number.id, key.id, key.id];
    await vi.waitFor(() => expect(told.map(({ id }) => id)).toEqual(expected), { timeout: SECOND, interval: 5 });
    slow();
    finish();
  });

  it("finishes one change before the next, however many are made at once", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const numbers = [await storeNumber(store, profile), await storeNumber(store, profile)];
    const order: string[] = [];
    store.watchConfiguration(async ({ id }) => {
      order.push(`${id} begins`);
      // The first takes longest: called concurrently, the second would finish before it.
      await sleep(id === numbers[0]?.id ? 20 : 1);
      order.push(`${id} ends`);
    });
    await Promise.all(
      numbers.map(({ organizationId, id }) => store.updateNumber(organizationId, id, (current) => ({ ...current }))),
    );
    expect(order).toEqual(numbers.flatMap(({ id }) => [`${id} begins`, `${id} ends`]));
  });

  it("passes on each of many changes once and in order", async () => {
    const { store } = subject();
    const profile = await storeProfile(store);
    const { told } = listen();
    const many = Array.from({ length: 300 }, () => aNumber(profile));
    const more = aNumber(profile);
    const pending = [store.insertNumbers(many), store.insertNumber(more)];
    await Promise.all(pending);
    expect(told.map(({ id }) => id)).toEqual([...many, more].map(({ id }) => id));
  });

  it("a change's promise waits for its own delivery, also when another change's call delivers it", async () => {
    const { store } = subject();
    for (const slow of [0, 1]) {
      const profile = await storeProfile(store);
      const { organizationId } = profile;
      const ids = [profile.id];
      const key = aKey(organizationId);
      const { told, stop } = listen(store, ({ id }) => ([...ids, key.id][slow] === id ? 40 : 1));
      const known = () => told.map(({ id }) => id);
      const [afterDeletion, afterKey] = await Promise.all([
        store.deleteProfile(organizationId, profile.id, NOON).then(known),
        store.insertApiKey(key).then(known),
      ]);
      stop();
      expect(afterDeletion).toEqual(expect.arrayContaining(ids));
      expect(afterKey).toContain(key.id);
    }
  });

  it("passes on another process's changes within a second, in order, and not to stopped listeners", async ({
    skip,
  }) => {
    const { store, another } = subject();
    if (another === undefined) return skip("this store cannot be opened twice");
    const profile = await storeProfile(store);
    const { organizationId } = profile;
    const other = await another();
    const [listening, stopped] = [listen(), listen()];
    stopped.stop();

    const number = await storeNumber(other, profile);
    await other.updateProfile(organizationId, profile.id, (current) => ({ ...current, name: "Changed" }));
    const key = aKey(organizationId);
    await other.insertApiKey(key);
    await vi.waitFor(() => expect(listening.told).toHaveLength(3), { timeout: SECOND, interval: 5 });
    expect(listening.told).toEqual([
      { kind: "phone_number", organizationId, id: number.id },
      { kind: "messaging_profile", organizationId, id: profile.id },
      { kind: "api_key", organizationId, id: key.id },
    ]);
    expect((await store.getProfile(organizationId, profile.id))?.name).toBe("Changed");
    expect(stopped.told).toEqual([]);

    // The same again: one look is not enough.
    await other.revokeApiKey(key.id, NOON);
    await vi.waitFor(() => expect(listening.told).toHaveLength(4), { timeout: SECOND, interval: 5 });
    expect(listening.told.at(-1)).toEqual({ kind: "api_key", organizationId, id: key.id });
  });

  it("passes on an earlier change of another process before its own", async ({ skip }) => {
    const { store, another } = subject();
    if (another === undefined) return skip("this store cannot be opened twice");
    const profile = await storeProfile(store);
    const other = await another();
    const { told } = listen();
    const theirs = await storeNumber(other, profile);
    const mine = await storeNumber(store, profile);
    await vi.waitFor(() => expect(told).toHaveLength(2), { timeout: SECOND, interval: 5 });
    expect(told.map(({ id }) => id)).toEqual([theirs.id, mine.id]);
  });

  it("two processes that change one number in turn lose nothing", async ({ skip }) => {
    const { store, another } = subject();
    if (another === undefined) return skip("this store cannot be opened twice");
    const profile = await storeProfile(store);
    const number = await storeNumber(store, profile);
    const other = await another();
    const add = (tag: string) => (current: PhoneNumber) => ({ ...current, tags: [...current.tags, tag] });
    const tags = Array.from({ length: 20 }, (_, index) => `tag-${index}`);
    await Promise.all(
      tags.map((tag, index) =>
        (index % 2 === 0 ? store : other).updateNumber(profile.organizationId, number.id, add(tag)),
      ),
    );
    const { tags: kept } = (await store.getNumber(profile.organizationId, number.id))?.number ?? { tags: [] };
    expect([...kept].toSorted()).toEqual(tags.toSorted());
  });
}
