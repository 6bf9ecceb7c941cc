import fc from "fast-check";
import { expect, it } from "vitest";
import type { ApiKey } from "../../../src/store/organizations.ts";
import { anOrganization, idsOf, NOON, newId } from "./records.ts";
import type { Subject } from "./subject.ts";

const SCOPES = ["send", "read", "admin"] as const;

/** Organizations and API keys. */
export function organizations(subject: Subject): void {
  const aKey = async (given: Partial<ApiKey> = {}): Promise<ApiKey> => {
    const organization = anOrganization();
    await subject().store.insertOrganization(organization);
    return {
      id: newId(),
      organizationId: organization.id,
      name: "Till 4",
      secretHash: new Uint8Array(32).fill(7),
      scopes: SCOPES,
      createdAt: NOON,
      revokedAt: undefined,
      ...given,
    };
  };

  it("lists none in a new store", async () => {
    const { store } = subject();
    expect(await store.listOrganizations()).toEqual([]);
    expect(await store.listApiKeys()).toEqual([]);
  });

  it("lists every organization as it was inserted", async () => {
    const { store } = subject();
    const given = [anOrganization(), { ...anOrganization(), name: "Bäckerei 🥐 % _ '" }];
    for (const organization of given) await store.insertOrganization(organization);
    expect(byId(await store.listOrganizations())).toEqual(byId(given));
  });

  it("refuses an organization that exists, and keeps the first", async () => {
    const { store } = subject();
    const organization = anOrganization();
    await store.insertOrganization(organization);
    await expect(store.insertOrganization({ ...organization, name: "Another name" })).rejects.toThrow();
    expect(await store.listOrganizations()).toEqual([organization]);
  });

  it("lists every key as it was inserted, byte for byte", async () => {
    const { store } = subject();
    const base = await aKey();
    const keys: ApiKey[] = [];
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        fc.subarray([...SCOPES], { minLength: 1 }),
        fc.option(fc.integer({ min: NOON, max: NOON * 2 }), { nil: undefined }),
        async (secretHash, scopes, revokedAt) => {
          const key = { ...base, id: newId(), secretHash, scopes, revokedAt };
          keys.push(key);
          await store.insertApiKey(key);
        },
      ),
      { numRuns: 30 },
    );
    expect(byId((await store.listApiKeys()).map(plain))).toEqual(byId(keys));
  });

  it("a key without scopes has none when it is read", async () => {
    const { store } = subject();
    await store.insertApiKey(await aKey({ scopes: [] }));
    expect((await store.listApiKeys()).map(({ scopes }) => scopes)).toEqual([[]]);
  });

  it("refuses a key that exists, and keeps the first", async () => {
    const { store } = subject();
    const key = await aKey();
    await store.insertApiKey(key);
    await expect(store.insertApiKey({ ...key, name: "Another name" })).rejects.toThrow();
    expect((await store.listApiKeys()).map(plain)).toEqual([key]);
  });

  it("revokes one key and leaves the others", async () => {
    const { store } = subject();
    const key = await aKey();
    const other = { ...key, id: newId() };
    for (const each of [key, other]) await store.insertApiKey(each);
    expect(await store.revokeApiKey(key.id, NOON + 5)).toBe(true);
    expect(byId((await store.listApiKeys()).map(plain))).toEqual(byId([{ ...key, revokedAt: NOON + 5 }, other]));
  });

  it("a key that is revoked twice stays revoked since the first time", async () => {
    const { store } = subject();
    const key = await aKey();
    await store.insertApiKey(key);
    expect(await store.revokeApiKey(key.id, NOON + 5)).toBe(true);
    expect(await store.revokeApiKey(key.id, NOON + 9)).toBe(true);
    expect((await store.listApiKeys()).map(({ revokedAt }) => revokedAt)).toEqual([NOON + 5]);
  });

  it("gives false when the key to revoke does not exist", async () => {
    const { store } = subject();
    const key = await aKey();
    await store.insertApiKey(key);
    expect(await store.revokeApiKey(newId(), NOON)).toBe(false);
    expect(idsOf((await store.listApiKeys()).filter(({ revokedAt }) => revokedAt === undefined))).toEqual([key.id]);
  });
}

/** A key whose bytes are a plain array, whatever buffer the driver gives. */
function plain(key: ApiKey): ApiKey {
  return { ...key, secretHash: new Uint8Array(key.secretHash) };
}

function byId<Row extends { readonly id: string }>(rows: readonly Row[]): Row[] {
  return rows.toSorted((a, b) => (a.id < b.id ? -1 : 1));
}
