import { randomBytes } from "node:crypto";
import { createIds } from "../domain/ids.ts";
import { LIMITS } from "../domain/limits.ts";
import type { ApiKey } from "../store/organization-records.ts";
import { answer, type Command, JSON_OPTION } from "./command.ts";
import { ensureOrganization, makeKey, SCOPES } from "./organization.ts";
import { withStore } from "./with-store.ts";

/** `numberpool key create`: makes an API key, and its organization and the database if need be. */
export const keyCreate: Command = {
  name: "key create",
  summary: "Makes an API key and prints its token, which is never shown again.",
  options: [
    { name: "organization", value: "NAME", isRequired: true, description: "Whose key it is; made if need be." },
    { name: "name", value: "TEXT", description: "What the key is for, to tell it by." },
    { name: "scopes", value: "LIST", description: `What it may do. Default: ${SCOPES.join(",")}.` },
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
      const { id, token } = await makeKey(store, organization, { name, scopes }, at);
      const told = { id, token, organization_id: organization.id, organization: organization.name, name, scopes };
      answer(call, `${token}\nid: ${id}`, told);
    });
  },
};

function scopesFrom(list: string): ApiKey["scopes"] {
  const given = list.split(",").map((scope) => scope.trim());
  const unknown = given.filter((scope) => !SCOPES.some((known) => known === scope));
  if (unknown.length > 0) {
    const names = unknown.map((scope) => JSON.stringify(scope)).join(", ");
    throw new Error(`--scopes takes ${SCOPES.join(", ")}, separated by commas, and not ${names}.`);
  }
  return SCOPES.filter((scope) => given.includes(scope));
}

/** A name ends up on terminals, in lists that people read. */
function checkName(name: string, option: string, least: number): void {
  if (name.length < least || name.length > LIMITS.nameCharacters) {
    throw new Error(`${option} must have ${least} to ${LIMITS.nameCharacters} characters.`);
  }
  if (/\p{Cc}/u.test(name)) throw new Error(`${option} must not hold control characters.`);
}
