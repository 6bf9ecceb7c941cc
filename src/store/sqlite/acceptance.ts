import type { IdempotencyKey, IdempotencyRecord, RetryKey } from "../../domain/idempotency.ts";
import type { Message } from "../../domain/message.ts";
import type { AcceptFacts, AcceptReads } from "../accept.ts";
import type { Row } from "../codecs/row.ts";
import type { prepareMessages } from "./messages.ts";
import type { Connection } from "./open.ts";
import type { prepareRecipients } from "./recipients.ts";

/** The statements of accepting messages. Each function runs inside a transaction of the caller. */
export function prepareAcceptance(
  db: Connection,
  messages: ReturnType<typeof prepareMessages>,
  recipients: ReturnType<typeof prepareRecipients>,
) {
  const selectKey = db.prepare("SELECT * FROM idempotency_keys WHERE organization_id = ? AND method = ? AND key = ?");
  const selectRecent = db.prepare(
    `SELECT organization_id, message_id FROM recent_sends WHERE second = +? AND request_hash = +? ORDER BY message_id DESC`,
  );
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
      for (const row of selectRecent.all(second, requestHash) as Row[]) {
        const message = messages.get(row.organization_id as string, row.message_id as string);
        if (message !== undefined && message.receivedAt >= since && message.receivedAt <= until) return message;
      }
    }
    return undefined;
  };

  return {
    readFacts: (reads: AcceptReads): AcceptFacts => ({
      recipients: reads.recipients.map((key) => recipients.read(key, key.sticky)),
      keys: reads.keys.map(keyFacts),
      retries: reads.retries.map(retryFacts),
    }),
  };
}

function secondOf(moment: number): number {
  return Math.floor(moment / 1000);
}
