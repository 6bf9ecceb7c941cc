import { randomBytes } from "node:crypto";
import type { Ids } from "../domain/ids.ts";
import type { ApiKey, Organization } from "../store/organization-records.ts";
import type { Store } from "../store/store.ts";
import { apiKeyId, createApiKey, hashOfToken } from "../transport/api-key.ts";

/** The organization that a new database starts with. */
export const DEFAULT_ORGANIZATION = "default";

/** The organization of a name; undefined when there is none. */
export async function findOrganization(store: Store, name: string): Promise<Organization | undefined> {
  return (await store.listOrganizations()).find((organization) => organization.name === name);
}

/** What to say when there is no organization of a name. */
export function unknownOrganization(name: string): Error {
  return new Error(
    `There is no organization ${JSON.stringify(name)}; \`numberpool key create --organization NAME\` makes one.`,
  );
}

/** Every scope that a key can have. */
export const SCOPES = ["send", "read", "admin"] as const;

/** Finds an organization by name, or makes it. */
export async function ensureOrganization(store: Store, name: string, at: number, ids: Ids): Promise<Organization> {
  const known = await findOrganization(store, name);
  if (known !== undefined) return known;
  const organization = { id: ids(at), name, createdAt: at };
  try {
    await store.insertOrganization(organization);
    return organization;
  } catch (error) {
    // Another process may have been faster.
    const made = await findOrganization(store, name);
    if (made === undefined) throw error;
    return made;
  }
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
  if (!known) await store.insertApiKey(keyOf(token, organization, { name: "installed", scopes: SCOPES }, at, ids));
  return organization;
}

/** Makes a key, and gives its id and the token that is never shown again. */
export async function makeKey(
  store: Store,
  organization: Organization,
  given: Pick<ApiKey, "name" | "scopes">,
  at: number,
): Promise<{ readonly id: string; readonly token: string }> {
  const made = createApiKey(randomBytes);
  await store.insertApiKey(keyOf(made.token, organization, given, at, () => made.id));
  return made;
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
