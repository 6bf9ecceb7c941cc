import { unknownOrganization } from "../../server/organization.ts";
import { answer, type Command, JSON_OPTION } from "../command.ts";
import { table } from "../table.ts";
import { withExistingStore } from "../with-store.ts";

/**
 * `numberpool key list`: lists every API key, revoked ones included, oldest first, without secrets.
 */
export const keyList: Command = {
  name: "key list",
  summary: "Lists the API keys: id, organization, name, scopes, times of creation and revocation; no secrets.",
  options: [
    { name: "organization", value: "NAME", description: "Lists only the keys of this organization." },
    JSON_OPTION,
  ],
  run: async (call) => {
    const { organization: only } = call.values;
    await withExistingStore(call.config, async (store) => {
      const names = new Map((await store.listOrganizations()).map(({ id, name }) => [id, name]));
      if (only !== undefined && ![...names.values()].includes(only)) throw unknownOrganization(only);
      const keys = (await store.listApiKeys())
        .map((key) => ({
          id: key.id,
          organization_id: key.organizationId,
          organization: names.get(key.organizationId) ?? "",
          name: key.name,
          scopes: key.scopes,
          created_at: new Date(key.createdAt).toISOString(),
          revoked_at: key.revokedAt === undefined ? null : new Date(key.revokedAt).toISOString(),
        }))
        .filter(({ organization }) => only === undefined || organization === only);
      const rows = keys.map((key) => [
        key.id,
        key.organization,
        key.name,
        key.scopes.join(","),
        key.created_at,
        key.revoked_at ?? "",
      ]);
      answer(call, table(["ID", "ORGANIZATION", "NAME", "SCOPES", "CREATED", "REVOKED"], rows), keys);
    });
  },
};
