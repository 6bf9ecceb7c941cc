import { optional, type Row } from "../codecs/row.ts";
import type { ApiKey, Organization } from "../organizations.ts";
import { noteChanges } from "./configuration-changes.ts";
import type { Session } from "./session.ts";
import { statement } from "./statement.ts";

const insert = statement("INSERT INTO organizations (id, name, created_at) VALUES ($1, $2, $3)");
const selectAll = statement<Row>("SELECT id, name, created_at FROM organizations ORDER BY created_at, id");
const insertKey = statement(
  `INSERT INTO api_keys (id, organization_id, name, secret_hash, scopes, created_at, revoked_at)
   VALUES ($1, $2, $3, $4, $5, $6, $7)`,
);
const selectKeys = statement<Row>(
  `SELECT id, organization_id, name, secret_hash, scopes, created_at, revoked_at FROM api_keys ORDER BY created_at, id`,
);
const revokeKey = statement<Row>(
  "UPDATE api_keys SET revoked_at = coalesce(revoked_at, $1) WHERE id = $2 RETURNING organization_id",
);

/** Keeps a new organization. */
export async function insertOrganization(session: Session, { id, name, createdAt }: Organization): Promise<void> {
  await session.run(insert, id, name, createdAt);
}

/** All organizations, the oldest first. */
export async function listOrganizations(session: Session): Promise<Organization[]> {
  return (await session.all(selectAll)).map((row) => ({
    id: row.id as string,
    name: row.name as string,
    createdAt: row.created_at as number,
  }));
}

/** Keeps a new API key. */
export async function insertApiKey(session: Session, key: ApiKey): Promise<void> {
  const { id, organizationId, name, secretHash, scopes, createdAt, revokedAt } = key;
  void session.run(insertKey, id, organizationId, name, secretHash, scopes.join(" "), createdAt, revokedAt);
  noteChanges(session, [{ kind: "api_key", organizationId, id }]);
}

/** All API keys, revoked ones too. */
export async function listApiKeys(session: Session): Promise<ApiKey[]> {
  return (await session.all(selectKeys)).map((row) => ({
    id: row.id as string,
    organizationId: row.organization_id as string,
    name: row.name as string,
    secretHash: row.secret_hash as Uint8Array,
    scopes: (row.scopes as string).split(" ").filter((scope) => scope !== "") as unknown as ApiKey["scopes"],
    createdAt: row.created_at as number,
    revokedAt: optional(row.revoked_at),
  }));
}

/** Revokes a key, unless it is revoked already; false when there is none. */
export async function revokeApiKey(session: Session, id: string, at: number): Promise<boolean> {
  const row = await session.get(revokeKey, at, id);
  if (row === undefined) return false;
  noteChanges(session, [{ kind: "api_key", organizationId: row.organization_id as string, id }]);
  return true;
}
