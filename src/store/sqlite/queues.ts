import type { QueuedMessage } from "../../domain/message.ts";
import { isClaimable, maxOrphans, maxQueueRows, type Pace } from "../../domain/plan/claim.ts";
import { type ClaimFacts, type ClaimRequest, planClaims } from "../../domain/plan/claims.ts";
import { planExpiry, planRequeue } from "../../domain/plan/endings.ts";
import { claimedMessageFrom, messageFrom, queuedMessageFrom } from "../codecs/message.ts";
import { paceFrom } from "../codecs/number.ts";
import type { Row } from "../codecs/row.ts";
import type { QueueStore } from "../queues.ts";
import type { Connection } from "./open.ts";
import type { ReadRecipient } from "./recipients.ts";
import type { Transactions } from "./transactions.ts";
import type { WriteChanges } from "./write-changes.ts";

// Jumps from number to number through the index of queued messages: its cost grows with numbers,
// not with messages. A number that was removed is due at once, for the messages left in its queue.
const SELECT_QUEUES = `WITH RECURSIVE queue (phone_number_id) AS (
    SELECT min(phone_number_id) FROM messages WHERE status = 'queued' AND phone_number_id > +?
    UNION ALL
    SELECT (SELECT min(phone_number_id) FROM messages WHERE status = 'queued' AND phone_number_id > queue.phone_number_id)
    FROM queue WHERE queue.phone_number_id IS NOT NULL
  )
  SELECT queue.phone_number_id, coalesce(n.due_at, 0) AS due_at
  FROM queue LEFT JOIN phone_numbers n ON n.id = queue.phone_number_id
  WHERE queue.phone_number_id IS NOT NULL LIMIT +?`;

/** Prepares the statements about queues. */
export function prepareQueues(
  db: Connection,
  { read, transact }: Transactions,
  readRecipient: ReadRecipient,
  write: WriteChanges,
): QueueStore {
  const measure = db.prepare("SELECT count(*) AS messages, min(id) AS oldest_id FROM messages WHERE status = 'queued'");
  const selectQueues = db.prepare(SELECT_QUEUES);
  const selectExpired = db.prepare(
    `SELECT * FROM messages WHERE status IN ('queued', 'scheduled') AND valid_until <= +? ORDER BY valid_until LIMIT +?`,
  );
  const selectClaimed = db.prepare(
    `SELECT organization_id, id, phone_number_id, parts, submitted_at FROM messages
     WHERE status = 'sending' AND owner = ? AND id NOT IN (SELECT value FROM json_each(?))`,
  );
  const readFacts = prepareClaimFacts(db, readRecipient);

  return {
    measureQueue: () =>
      read(() => {
        const row = measure.get() as { messages: number; oldest_id: string | null };
        return { messages: row.messages, oldestId: row.oldest_id ?? undefined };
      }),
    listQueues: (limit, after = "") =>
      read(() =>
        (selectQueues.all(after, limit) as Row[]).map((row) => ({
          phoneNumberId: row.phone_number_id as string,
          dueAt: row.due_at as number,
        })),
      ),
    claim: (request) =>
      transact(() => {
        const { claims, changes } = planClaims(request, readFacts(request));
        write(changes);
        return claims;
      }),
    requeue: (owner, underWay, now) =>
      transact(() => {
        const rows = selectClaimed.all(owner, JSON.stringify(underWay)) as Row[];
        const messages = rows.map(claimedMessageFrom);
        write(planRequeue(messages, now));
        return { phoneNumberIds: messages.map(({ phoneNumberId }) => phoneNumberId), isSettled: true };
      }),
    expireMessages: (now, limit) =>
      transact(() => {
        const { applied, changes } = planExpiry((selectExpired.all(now, limit) as Row[]).map(messageFrom), now);
        write(changes);
        return applied;
      }),
  };
}

function prepareClaimFacts(db: Connection, readRecipient: ReadRecipient): (request: ClaimRequest) => ClaimFacts {
  const selectPace = db.prepare(
    `SELECT due_at, segments_per_second, state, carrier, daily_segment_limit, used_day, used_segments
     FROM phone_numbers WHERE id = ?`,
  );
  // +?: with bare parameters SQLite plans the statement again whenever one has another value.
  const selectQueued = db.prepare(
    `SELECT * FROM messages WHERE phone_number_id = +? AND status = 'queued' AND coalesce(next_submit_at, 0) <= +?
     ORDER BY queued_at, id LIMIT +?`,
  );
  const selectLeftBehind = db.prepare(
    `SELECT * FROM messages WHERE phone_number_id = +? AND status = 'queued' ORDER BY queued_at, id LIMIT +?`,
  );
  const selectNextDeferred = db
    .prepare(
      "SELECT min(next_submit_at) FROM messages WHERE phone_number_id = +? AND status = 'queued' AND next_submit_at > +?",
    )
    .pluck();

  return ({ now, phoneNumberIds, budgets, isDeliveryHeld = false }) => {
    const rows = phoneNumberIds.map((id) => [id, selectPace.get(id) as Row | undefined] as const);
    const facts = {
      known: new Map<string, { carrier: string; dueAt: number }>(),
      paces: new Map<string, Pace>(),
      queues: new Map<string, QueuedMessage[]>(),
      maxOrphans: maxOrphans(rows.filter(([, row]) => row === undefined).length),
      isOptedOut: (message: QueuedMessage) => readRecipient(message, false).optedOut,
      nextDeferredAt: (id: string) => (selectNextDeferred.get(id, now) as number | null) ?? undefined,
      occupiedRetryAt: now,
    };
    for (const [id, row] of rows) {
      if (row === undefined) {
        facts.queues.set(id, (selectLeftBehind.all(id, facts.maxOrphans) as Row[]).map(queuedMessageFrom));
        continue;
      }
      const pace = paceFrom(row, isDeliveryHeld);
      facts.known.set(id, pace);
      if (!isClaimable(pace, now)) continue;
      facts.paces.set(id, pace);
      const limit = maxQueueRows(pace, budgets.get(pace.carrier) ?? Number.POSITIVE_INFINITY);
      facts.queues.set(id, (selectQueued.all(id, now, limit) as Row[]).map(queuedMessageFrom));
    }
    return facts;
  };
}
