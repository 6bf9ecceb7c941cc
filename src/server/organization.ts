import type { Ids } from "../domain/ids.ts";
import type { Organization } from "../store/organizations.ts";
import type { Store } from "../store/store.ts";

/** The name of the organization in a new database. */
export const DEFAULT_ORGANIZATION = "default";

/** Finds an organization by name. */
export async function findOrganization(store: Store, name: string): Promise<Organization | undefined> {
  return (await store.listOrganizations()).find((organization) => organization.name === name);
}

/** The error for an organization that does not exist. */
export function unknownOrganization(name: string): Error {
  return new Error(
    `No organization is named ${JSON.stringify(name)}; \`numberpool key create --organization NAME\` creates one.`,
  );
}

/** Finds an organization by name, or creates it. */
export async function ensureOrganization(store: Store, name: string, at: number, ids: Ids): Promise<Organization> {
  const known = await findOrganization(store, name);
  if (known !== undefined) return known;
  const organization = { id: ids(at), name, createdAt: at };
  try {
    await store.insertOrganization(organization);
    return organization;
  } catch (error) {
    // Another process may have created it meanwhile.
    const created = await findOrganization(store, name);
    if (created === undefined) throw error;
    return created;
  }
}
