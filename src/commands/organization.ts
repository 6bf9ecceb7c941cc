import { randomBytes } from "node:crypto";
import type { Ids } from "../domain/ids.ts";
import { apiKeyId, createApiKey, hashOfToken } from "../doors/api-key.ts";
import type { ApiKey, Organization, Store } from "../store/store.ts";

/** The organization that a new database starts with. */
const DEFAULT_ORGANIZATION = "default";

/** Finds an organization by name, or makes it. */
export async function ensureOrganization(store: Store, name: string, at: number, ids: Ids): Promise<Organization> {
  const known = (await store.listOrganizations()).find((organization) => organization.name === name);
  if (known !== undefined) return known;
  const organization = { id: ids(at), name, createdAt: at };
  await store.insertOrganization(organization);
  return organization;
}

/**
 * The default organization, made if need be, with the operator's key in it if one is given: all scopes, and installing it twice
 * changes nothing. A key that was revoked stays revoked.
 */
export async function installKey(store: Store, token: string | undefined, at: number, ids: Ids): Promise<Organization> {
  const organization = await ensureOrganization(store, DEFAULT_ORGANIZATION, at, ids);
  if (token === undefined) return organization;
  if (apiKeyId(token) === "")
    throw new Error("NUMBERPOOL_API_KEY has the shape of our keys, but its checksum is wrong.");
  const hash = hashOfToken(token);
  const known = (await store.listApiKeys()).some((key) => hash.equals(key.secretHash));
  if (!known) await store.insertApiKey(keyOf(token, organization, "installed", at, ids));
  return organization;
}

/** Makes a key with all scopes, and gives the token that is never shown again. */
export async function makeKey(store: Store, organization: Organization, name: string, at: number): Promise<string> {
  const { token } = createApiKey(randomBytes);
  await store.insertApiKey(keyOf(token, organization, name, at, () => ""));
  return token;
}

function keyOf(token: string, organization: Organization, name: string, at: number, ids: Ids): ApiKey {
  return {
    id: apiKeyId(token) ?? ids(at),
    organizationId: organization.id,
    name,
    secretHash: hashOfToken(token),
    scopes: ["send", "read", "admin"],
    createdAt: at,
    revokedAt: undefined,
  };
}
