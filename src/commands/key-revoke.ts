import { answer, type Command, JSON_OPTION } from "./command.ts";
import { withKnownStore } from "./with-store.ts";

/** `numberpool key revoke`: from now on the key is refused; by a running server within a second. */
export const keyRevoke: Command = {
  name: "key revoke",
  summary: "Revokes an API key for good; a running server refuses it within a second.",
  argument: "ID",
  options: [JSON_OPTION],
  run: async (call) => {
    const id = call.argument;
    await withKnownStore(call.config, async (store) => {
      // The id is not repeated: it may be a token, by mistake.
      const before = (await store.listApiKeys()).find((key) => key.id === id);
      if (before === undefined || !(await store.revokeApiKey(id, Date.now()))) {
        throw new Error("There is no API key with this id; `numberpool key list` shows them.");
      }
      const revokedAt = (await store.listApiKeys()).find((key) => key.id === id)?.revokedAt ?? 0;
      const when = new Date(revokedAt).toISOString();
      const was = before.revokedAt === undefined ? "is revoked" : `has been revoked since ${when}`;
      answer(call, `The key ${id} ${was}.`, { id, revoked_at: when });
    });
  },
};
