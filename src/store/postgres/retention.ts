import type { Row } from "../codecs/row.ts";
import type { RetentionLimits, RetentionStore } from "../retention.ts";
import type { Database } from "./database.ts";
import type { Session } from "./session.ts";
import { statement } from "./statement.ts";

// Each skips the rows that another process is about to delete.
const forgetKeys = statement(
  `DELETE FROM idempotency_keys WHERE (organization_id, method, key) IN (
     SELECT organization_id, method, key FROM idempotency_keys WHERE created_at < $1 ORDER BY created_at LIMIT $2
     FOR UPDATE SKIP LOCKED)`,
);
const forgetRecent = statement(
  `DELETE FROM recent_sends WHERE (second, request_hash, message_id) IN (
     SELECT second, request_hash, message_id FROM recent_sends WHERE second < $1 ORDER BY second LIMIT $2
     FOR UPDATE SKIP LOCKED)`,
);
const forgetMappings = statement(
  `DELETE FROM sticky_mappings WHERE (organization_id, messaging_profile_id, "to") IN (
     SELECT organization_id, messaging_profile_id, "to" FROM sticky_mappings WHERE last_message_at < $1
     ORDER BY last_message_at LIMIT $2 FOR UPDATE SKIP LOCKED)`,
);
const forgetReceipts = statement(
  `DELETE FROM unmatched_receipts WHERE sequence IN (
     SELECT sequence FROM unmatched_receipts WHERE received_at < $1 ORDER BY received_at LIMIT $2 FOR UPDATE SKIP LOCKED)`,
);
const selectRange = statement<Row>(
  `SELECT id, status IN ('scheduled', 'queued', 'sending', 'sent') AS is_open FROM messages
   WHERE organization_id = $1 AND id > $2 AND id < $3 ORDER BY id LIMIT $4`,
);
const deleteMessages = statement("DELETE FROM messages WHERE organization_id = $1 AND id = ANY ($2)");
const deleteEvents = statement("DELETE FROM message_events WHERE organization_id = $1 AND message_id = ANY ($2)");

/** Deleting old rows of a database. */
export function createRetention({ transact }: Database): RetentionStore {
  return {
    forget: (before, limit) => transact((session) => forget(session, before, limit)),
    forgetMessages: (request) => transact((session) => forgetMessages(session, request)),
  };
}

async function forget(session: Session, before: RetentionLimits, limit: number): Promise<number> {
  const forgotten = await Promise.all([
    session.run(forgetKeys, before.keys, limit),
    session.run(forgetRecent, Math.floor(before.recentSends / 1000), limit),
    session.run(forgetMappings, before.stickyMappings, limit),
    session.run(forgetReceipts, before.unmatchedReceipts, limit),
  ]);
  return forgotten.reduce((sum, count) => sum + count, 0);
}

async function forgetMessages(
  session: Session,
  { organizationId, before, after, limit }: Parameters<RetentionStore["forgetMessages"]>[0],
): ReturnType<RetentionStore["forgetMessages"]> {
  const rows = await session.all(selectRange, organizationId, after ?? "", before, limit);
  const ended = rows.filter((row) => row.is_open === false).map((row) => row.id as string);
  if (ended.length > 0) {
    void session.run(deleteEvents, organizationId, ended);
    void session.run(deleteMessages, organizationId, ended);
  }
  return { forgotten: ended.length, next: rows.length === limit ? (rows.at(-1)?.id as string | undefined) : undefined };
}
