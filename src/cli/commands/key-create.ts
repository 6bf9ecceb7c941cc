import { randomBytes } from "node:crypto";
import { createIds } from "../../domain/ids.ts";
import { LIMITS } from "../../domain/limits.ts";
import { createKey, SCOPES } from "../../server/api-keys.ts";
import { ensureOrganization } from "../../server/organization.ts";
import type { ApiKey } from "../../store/organizations.ts";
import { answer, type Command, JSON_OPTION } from "../command.ts";
import { withStore } from "../with-store.ts";

/**
 * `numberpool key create`: creates an API key; its organization and the database are created if
 * they do not exist.
 */
export const keyCreate: Command = {
  name: "key create",
  summary: "Creates an API key and prints its token, which is never shown again.",
  options: [
    {
      name: "organization",
      value: "NAME",
      isRequired: true,
      description: "The key's owner; created if it does not exist.",
    },
    { name: "name", value: "TEXT", description: "A label that says what the key is for." },
    {
      name: "scopes",
      value: "LIST",
      description: `The key's scopes, separated by commas. Default: ${SCOPES.join(",")}.`,
    },
    JSON_OPTION,
  ],
  run: async (call) => {
    const { organization: organizationName = "", name = "", scopes: list } = call.values;
    checkName(organizationName, "--organization", 1);
    checkName(name, "--name", 0);
    const scopes = list === undefined ? SCOPES : scopesFrom(list);
    await withStore(call.config, async (store) => {
      const at = Date.now();
      const organization = await ensureOrganization(store, organizationName, at, createIds(randomBytes));
      const { id, token } = await createKey(store, organization, { name, scopes }, at);
      const json = { id, token, organization_id: organization.id, organization: organization.name, name, scopes };
      answer(call, `${token}\nid: ${id}`, json);
    });
  },
};

function scopesFrom(list: string): ApiKey["scopes"] {
  const named = list.split(",").map((scope) => scope.trim());
  const unknown = named.filter((scope) => !SCOPES.some((known) => known === scope));
  if (unknown.length > 0) {
    const names = unknown.map((scope) => JSON.stringify(scope)).join(", ");
    throw new Error(`--scopes takes ${SCOPES.join(", ")}, separated by commas, not ${names}.`);
  }
  return SCOPES.filter((scope) => named.includes(scope));
}

/** Refuses control characters, since terminals show names. */
function checkName(name: string, option: string, minLength: number): void {
  if (name.length < minLength || name.length > LIMITS.nameCharacters) {
    throw new Error(`${option} must have ${minLength} to ${LIMITS.nameCharacters} characters.`);
  }
  if (/\p{Cc}/u.test(name)) throw new Error(`${option} must not contain control characters.`);
}
