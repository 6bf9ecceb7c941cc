import { optional, type Row } from "../codecs/row.ts";
import type { ApiKey, OrganizationStore } from "../organizations.ts";
import type { Configuration } from "./configuration-changes.ts";
import type { Connection } from "./open.ts";

/** Prepares the statements about organizations and API keys. */
export function prepareOrganizations(
  db: Connection,
  { read, configure, recordChange }: Configuration,
): OrganizationStore {
  const insert = db.prepare("INSERT INTO organizations (id, name, created_at) VALUES (?, ?, ?)");
  const selectAll = db.prepare("SELECT id, name, created_at FROM organizations ORDER BY created_at, id");
  const insertKey = db.prepare(
    `INSERT INTO api_keys (id, organization_id, name, secret_hash, scopes, created_at, revoked_at)
     VALUES (?, ?, ?, ?, ?, ?, ?)`,
  );
  const selectKeys = db.prepare("SELECT * FROM api_keys ORDER BY created_at, id");
  const revokeKey = db.prepare(
    "UPDATE api_keys SET revoked_at = coalesce(revoked_at, ?) WHERE id = ? RETURNING organization_id",
  );

  return {
    insertOrganization: ({ id, name, createdAt }) =>
      configure(() => {
        insert.run(id, name, createdAt);
      }),
    listOrganizations: () =>
      read(() =>
        (selectAll.all() as Row[]).map((row) => ({
          id: row.id as string,
          name: row.name as string,
          createdAt: row.created_at as number,
        })),
      ),
    insertApiKey: ({ id, organizationId, name, secretHash, scopes, createdAt, revokedAt }) =>
      configure(() => {
        insertKey.run(id, organizationId, name, secretHash, scopes.join(" "), createdAt, revokedAt);
        recordChange("api_key", organizationId, id);
      }),
    listApiKeys: () => read(() => (selectKeys.all() as Row[]).map(keyFrom)),
    revokeApiKey: (id, at) =>
      configure(() => {
        const row = revokeKey.get(at, id) as Row | undefined;
        if (row !== undefined) recordChange("api_key", row.organization_id as string, id);
        return row !== undefined;
      }),
  };
}

function keyFrom(row: Row): ApiKey {
  return {
    id: row.id as string,
    organizationId: row.organization_id as string,
    name: row.name as string,
    secretHash: row.secret_hash as Uint8Array,
    scopes: (row.scopes as string).split(" ").filter((scope) => scope !== "") as unknown as ApiKey["scopes"],
    createdAt: row.created_at as number,
    revokedAt: optional(row.revoked_at),
  };
}
