import { randomBytes } from "node:crypto";
import { apiKeyId, createApiKey, hashOfToken } from "../domain/api-key.ts";
import type { Ids } from "../domain/ids.ts";
import type { ApiKey, Organization } from "../store/organizations.ts";
import type { Store } from "../store/store.ts";
import { DEFAULT_ORGANIZATION, ensureOrganization } from "./organization.ts";

/** Every scope that a key can have. */
export const SCOPES = ["send", "read", "report", "admin"] as const;

/**
 * Gives the default organization, created if it does not exist, and installs the operator's key in
 * it with all scopes. A key that is already installed stays as it is, revoked or not.
 */
export async function installKey(store: Store, token: string | undefined, at: number, ids: Ids): Promise<Organization> {
  const organization = await ensureOrganization(store, DEFAULT_ORGANIZATION, at, ids);
  if (token === undefined) return organization;
  if (apiKeyId(token) === "")
    throw new Error("NUMBERPOOL_API_KEY has the form of a Numberpool key, but a wrong checksum.");
  const hash = hashOfToken(token);
  const known = (await store.listApiKeys()).some((key) => hash.equals(key.secretHash));
  if (!known) await store.insertApiKey(keyOf(token, organization, { name: "installed", scopes: SCOPES }, at, ids));
  return organization;
}

/** Creates a key. Gives its id and its token, which is not stored and so is never shown again. */
export async function createKey(
  store: Store,
  organization: Organization,
  attributes: Pick<ApiKey, "name" | "scopes">,
  at: number,
): Promise<{ readonly id: string; readonly token: string }> {
  const key = createApiKey(randomBytes);
  await store.insertApiKey(keyOf(key.token, organization, attributes, at, () => key.id));
  return key;
}

function keyOf(
  token: string,
  organization: Organization,
  { name, scopes }: Pick<ApiKey, "name" | "scopes">,
  at: number,
  ids: Ids,
): ApiKey {
  return {
    id: apiKeyId(token) ?? ids(at),
    organizationId: organization.id,
    name,
    secretHash: hashOfToken(token),
    scopes,
    createdAt: at,
    revokedAt: undefined,
  };
}
