import type { IdempotencyKey, IdempotencyRecord, RetryKey } from "../../domain/idempotency.ts";
import type { Message } from "../../domain/message.ts";
import type { AcceptStore } from "../accept.ts";
import type { Row } from "../codecs/row.ts";
import type { ReadMessage } from "./messages.ts";
import type { Connection } from "./open.ts";
import type { ReadRecipient } from "./recipients.ts";
import type { Transactions } from "./transactions.ts";
import type { WriteChanges } from "./write-changes.ts";

/** Prepares the statements that accept messages. */
export function prepareAccept(
  db: Connection,
  { transact }: Transactions,
  readMessage: ReadMessage,
  readRecipient: ReadRecipient,
  write: WriteChanges,
): AcceptStore {
  const readKey = prepareReadKey(db);
  const readRetry = prepareReadRetry(db, readMessage);
  return {
    accept: (reads, decide) =>
      transact(() => {
        const changes = decide({
          recipients: reads.recipients.map((key) => readRecipient(key, key.sticky)),
          keys: reads.keys.map(readKey),
          retries: reads.retries.map(readRetry),
        });
        write(changes);
      }),
  };
}

function prepareReadKey(db: Connection): (key: IdempotencyKey) => IdempotencyRecord | undefined {
  const select = db.prepare("SELECT * FROM idempotency_keys WHERE organization_id = ? AND method = ? AND key = ?");
  return ({ organizationId, method, key }) => {
    const row = select.get(organizationId, method, key) as Row | undefined;
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
}

function prepareReadRetry(db: Connection, readMessage: ReadMessage): (retry: RetryKey) => Message | undefined {
  const select = db.prepare(
    `SELECT organization_id, message_id FROM recent_sends WHERE second = +? AND request_hash = +? ORDER BY message_id DESC`,
  );
  return ({ requestHash, since, until }) => {
    for (let second = secondOf(until); second >= secondOf(since); second -= 1) {
      for (const row of select.all(second, requestHash) as Row[]) {
        const message = readMessage(row.organization_id as string, row.message_id as string);
        if (message !== undefined && message.receivedAt >= since && message.receivedAt <= until) return message;
      }
    }
    return undefined;
  };
}

function secondOf(moment: number): number {
  return Math.floor(moment / 1000);
}
