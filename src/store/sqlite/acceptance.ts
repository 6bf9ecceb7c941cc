import type { Message } from "../../domain/message.ts";
import type {
  AcceptFacts,
  AcceptReads,
  AcceptWrites,
  IdempotencyKey,
  IdempotencyRecord,
  RetryKey,
  StickyMapping,
} from "../store.ts";
import type { Connection } from "./open.ts";
import { MESSAGE_COLUMNS, messageFrom, messageValues, type Row } from "./rows.ts";

/** The statements of accepting messages. Each function runs inside a transaction of the caller. */
export function prepareAcceptance(db: Connection) {
  const selectOptOut = db
    .prepare('SELECT 1 FROM opt_outs WHERE organization_id = ? AND messaging_profile_id = ? AND "to" = ?')
    .pluck();
  const selectMapping = db.prepare(
    'SELECT * FROM sticky_mappings WHERE organization_id = ? AND messaging_profile_id = ? AND "to" = ?',
  );
  const selectKey = db.prepare("SELECT * FROM idempotency_keys WHERE organization_id = ? AND method = ? AND key = ?");
  const selectRecent = db.prepare(
    "SELECT organization_id, max(message_id) AS message_id FROM recent_sends WHERE second = ? AND request_hash = ?",
  );
  const selectMessage = db.prepare("SELECT * FROM messages WHERE organization_id = ? AND id = ?");
  const insertMessage = db.prepare(
    `INSERT INTO messages (${MESSAGE_COLUMNS.join(", ")}) VALUES (${MESSAGE_COLUMNS.map(() => "?").join(", ")})`,
  );
  const putMapping = db.prepare(
    `INSERT INTO sticky_mappings (organization_id, messaging_profile_id, "to", phone_number_id, profile_generation,
       number_generation, last_message_at) VALUES (?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT DO UPDATE SET phone_number_id = excluded.phone_number_id, profile_generation = excluded.profile_generation,
       number_generation = excluded.number_generation, last_message_at = excluded.last_message_at`,
  );
  const insertKey = db.prepare(
    "INSERT INTO idempotency_keys (organization_id, method, key, request_hash, response, created_at) VALUES (?, ?, ?, ?, ?, ?)",
  );
  const insertRecent = db.prepare(
    "INSERT INTO recent_sends (second, request_hash, organization_id, message_id) VALUES (?, ?, ?, ?)",
  );
  const addUsage = db.prepare(
    `UPDATE phone_numbers SET used_segments = iif(used_day = @day, used_segments, 0) + @segments, used_day = @day
     WHERE id = @phoneNumberId`,
  );

  const getMessage = (organizationId: string, id: string): Message | undefined => {
    const row = selectMessage.get(organizationId, id) as Row | undefined;
    return row === undefined ? undefined : messageFrom(row);
  };

  const recipientFacts = ({ organizationId, messagingProfileId, to, sticky }: AcceptReads["recipients"][number]) => {
    const row = sticky ? (selectMapping.get(organizationId, messagingProfileId, to) as Row | undefined) : undefined;
    return {
      optedOut: selectOptOut.get(organizationId, messagingProfileId, to) !== undefined,
      mapping: row === undefined ? undefined : mappingFrom(row),
    };
  };

  const keyFacts = ({ organizationId, method, key }: IdempotencyKey): IdempotencyRecord | undefined => {
    const row = selectKey.get(organizationId, method, key) as Row | undefined;
    if (row === undefined) return undefined;
    return {
      organizationId,
      method,
      key,
      requestHash: row.request_hash as Uint8Array,
      response: row.response as Uint8Array,
      createdAt: row.created_at as number,
    };
  };

  const retryFacts = ({ requestHash, since, until }: RetryKey): Message | undefined => {
    for (let second = secondOf(until); second >= secondOf(since); second -= 1) {
      const row = selectRecent.get(second, requestHash) as {
        organization_id: string | null;
        message_id: string | null;
      };
      if (row.organization_id === null || row.message_id === null) continue;
      const message = getMessage(row.organization_id, row.message_id);
      if (message !== undefined && message.receivedAt >= since) return message;
    }
    return undefined;
  };

  return {
    getMessage,
    readFacts: (reads: AcceptReads): AcceptFacts => ({
      recipients: reads.recipients.map(recipientFacts),
      keys: reads.keys.map(keyFacts),
      retries: reads.retries.map(retryFacts),
    }),
    write: (writes: AcceptWrites) => {
      for (const message of writes.messages) insertMessage.run(messageValues(message));
      for (const m of writes.mappings) {
        const { organizationId, messagingProfileId, to, phoneNumberId } = m;
        putMapping.run(
          organizationId,
          messagingProfileId,
          to,
          phoneNumberId,
          m.profileGeneration,
          m.numberGeneration,
          m.lastMessageAt,
        );
      }
      for (const k of writes.keys) {
        insertKey.run(k.organizationId, k.method, k.key, k.requestHash, k.response, k.createdAt);
      }
      for (const r of writes.recentSends) {
        insertRecent.run(secondOf(r.at), r.requestHash, r.organizationId, r.messageId);
      }
      for (const used of writes.usage) addUsage.run(used);
    },
  };
}

function mappingFrom(row: Row): StickyMapping {
  return {
    organizationId: row.organization_id as string,
    messagingProfileId: row.messaging_profile_id as string,
    to: row.to as string,
    phoneNumberId: row.phone_number_id as string,
    profileGeneration: row.profile_generation as number,
    numberGeneration: row.number_generation as number,
    lastMessageAt: row.last_message_at as number,
  };
}

function secondOf(moment: number): number {
  return Math.floor(moment / 1000);
}
