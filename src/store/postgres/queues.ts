import type { Row } from "../codecs/row.ts";
import type { QueuedNumber } from "../queues.ts";
import type { Session } from "./session.ts";
import { statement } from "./statement.ts";

// Jumps from number to number through the index of queued messages: its cost is the numbers, not the messages. One that is gone
// is due at once, for what it left in its queue.
const selectQueues = statement<Row>(
  `WITH RECURSIVE queue (phone_number_id) AS (
     SELECT min(phone_number_id) FROM messages WHERE status = 'queued' AND phone_number_id > $1
     UNION ALL
     SELECT (SELECT min(phone_number_id) FROM messages WHERE status = 'queued' AND phone_number_id > queue.phone_number_id)
     FROM queue WHERE queue.phone_number_id IS NOT NULL
   )
   SELECT queue.phone_number_id, coalesce(n.due_at, 0) AS due_at
   FROM (SELECT phone_number_id FROM queue WHERE phone_number_id IS NOT NULL LIMIT $2) queue
     LEFT JOIN phone_numbers n ON n.id = queue.phone_number_id
   ORDER BY queue.phone_number_id`,
);
const measure = statement<Row>(
  "SELECT count(*) AS messages, min(id) AS oldest_id FROM messages WHERE status = 'queued'",
);
/** A page of the numbers that have messages queued. */
export async function listQueues(session: Session, limit: number, after = ""): Promise<QueuedNumber[]> {
  const rows = await session.all(selectQueues, after, limit);
  return rows.map((row) => ({ phoneNumberId: row.phone_number_id as string, dueAt: row.due_at as number }));
}

/** How many messages are queued, and which of them came first. */
export async function measureQueue(session: Session) {
  const row = await session.get(measure);
  return {
    messages: row?.messages as number,
    oldestId: (row?.oldest_id as string | null) ?? undefined,
  };
}
