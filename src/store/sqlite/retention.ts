import type { RetentionStore } from "../retention.ts";
import type { Connection } from "./open.ts";
import type { Transactions } from "./transactions.ts";

/** Prepares the statements that delete old rows. */
export function prepareRetention(db: Connection, { transact }: Transactions): RetentionStore {
  const forgetKeys = db.prepare(
    `DELETE FROM idempotency_keys WHERE (organization_id, method, key) IN
       (SELECT organization_id, method, key FROM idempotency_keys WHERE created_at < ? ORDER BY created_at LIMIT ?)`,
  );
  const forgetRecent = db.prepare(
    `DELETE FROM recent_sends WHERE (second, request_hash, message_id) IN
       (SELECT second, request_hash, message_id FROM recent_sends WHERE second < ? ORDER BY second LIMIT ?)`,
  );
  const forgetMappings = db.prepare(
    `DELETE FROM sticky_mappings WHERE (organization_id, messaging_profile_id, "to") IN
       (SELECT organization_id, messaging_profile_id, "to" FROM sticky_mappings WHERE last_message_at < ?
        ORDER BY last_message_at LIMIT ?)`,
  );
  const forgetReceipts = db.prepare(
    `DELETE FROM unmatched_receipts WHERE sequence IN
       (SELECT sequence FROM unmatched_receipts WHERE received_at < ? ORDER BY received_at LIMIT ?)`,
  );
  const forgetMessages = prepareForgetMessages(db);

  return {
    forget: (before, limit) =>
      transact(
        () =>
          forgetKeys.run(before.keys, limit).changes +
          forgetRecent.run(Math.floor(before.recentSends / 1000), limit).changes +
          forgetMappings.run(before.stickyMappings, limit).changes +
          forgetReceipts.run(before.unmatchedReceipts, limit).changes,
      ),
    forgetMessages: ({ organizationId, before, after, limit }) =>
      transact(() => forgetMessages(organizationId, before, after, limit)),
  };
}

function prepareForgetMessages(db: Connection) {
  const selectRange = db.prepare(
    `SELECT id, status IN ('scheduled', 'queued', 'sending', 'sent') AS is_open FROM messages
     WHERE organization_id = ? AND id > +? AND id < +? ORDER BY id LIMIT +?`,
  );
  const deleteMessage = db.prepare("DELETE FROM messages WHERE organization_id = ? AND id = ?");
  const deleteEvents = db.prepare("DELETE FROM message_events WHERE organization_id = ? AND message_id = ?");
  const countForgotten = db.prepare("UPDATE forgotten_messages SET count = count + ?");

  return (organizationId: string, before: string, after: string | undefined, limit: number) => {
    const rows = selectRange.all(organizationId, after ?? "", before, limit) as { id: string; is_open: number }[];
    const ended = rows.filter((row) => row.is_open === 0);
    for (const { id } of ended) {
      deleteEvents.run(organizationId, id);
      deleteMessage.run(organizationId, id);
    }
    if (ended.length > 0) countForgotten.run(ended.length);
    return { forgotten: ended.length, next: rows.length === limit ? rows.at(-1)?.id : undefined };
  };
}
