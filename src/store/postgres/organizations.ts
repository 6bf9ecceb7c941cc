import { optional, type Row } from "../codecs/row.ts";
import type { ApiKey, Organization, OrganizationStore } from "../organizations.ts";
import { type Configuration, recordChanges } from "./configuration-changes.ts";
import type { Database } from "./database.ts";
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

/** Organizations and API keys on a database. */
export function createOrganizations(database: Database, { configure }: Configuration): OrganizationStore {
  return {
    insertOrganization: ({ id, name, createdAt }) =>
      database.transact(async (session) => {
        await session.run(insert, id, name, createdAt);
      }),
    listOrganizations: async () => (await database.all(selectAll)).map(organizationFrom),
    insertApiKey: (key) => configure((session) => insertApiKey(session, key)),
    listApiKeys: async () => (await database.all(selectKeys)).map(keyFrom),
    revokeApiKey: (id, at) => configure((session) => revokeApiKey(session, id, at)),
  };
}

async function insertApiKey(session: Session, key: ApiKey): Promise<void> {
  const { id, organizationId, name, secretHash, scopes, createdAt, revokedAt } = key;
  void session.run(insertKey, id, organizationId, name, secretHash, scopes.join(" "), createdAt, revokedAt);
  recordChanges(session, [{ kind: "api_key", organizationId, id }]);
}

async function revokeApiKey(session: Session, id: string, at: number): Promise<boolean> {
  const row = await session.get(revokeKey, at, id);
  if (row === undefined) return false;
  recordChanges(session, [{ kind: "api_key", organizationId: row.organization_id as string, id }]);
  return true;
}

function organizationFrom(row: Row): Organization {
  return { id: row.id as string, name: row.name as string, createdAt: row.created_at as number };
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
