import { answer, type Command, JSON_OPTION } from "../command.ts";
import { withExistingStore } from "../with-store.ts";

/** `numberpool key revoke`: revokes a key; a running server refuses it within a second. */
export const keyRevoke: Command = {
  name: "key revoke",
  summary: "Revokes an API key permanently; a running server refuses it within a second.",
  argument: "ID",
  options: [JSON_OPTION],
  run: async (call) => {
    const id = call.argument;
    await withExistingStore(call.config, async (store) => {
      // The error does not repeat the id: it may be a token, by mistake.
      const before = (await store.listApiKeys()).find((key) => key.id === id);
      if (before === undefined || !(await store.revokeApiKey(id, Date.now()))) {
        throw new Error("No API key has this id; `numberpool key list` shows the ids.");
      }
      const revokedAt = (await store.listApiKeys()).find((key) => key.id === id)?.revokedAt ?? 0;
      const when = new Date(revokedAt).toISOString();
      const was = before.revokedAt === undefined ? "is revoked" : `has been revoked since ${when}`;
      answer(call, `The key ${id} ${was}.`, { id, revoked_at: when });
    });
  },
};
