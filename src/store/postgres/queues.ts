import type { AppliedReport } from "../../domain/carrier-report.ts";
import { LIMITS } from "../../domain/limits.ts";
import type { QueuedMessage } from "../../domain/message.ts";
import { MAX_CLOCK_SKEW_MS, maxOrphans, maxQueueRows } from "../../domain/plan/claim.ts";
import { type Claim, type ClaimFacts, type ClaimRequest, planClaims } from "../../domain/plan/claims.ts";
import { planExpiry, planRequeue } from "../../domain/plan/endings.ts";
import { claimedMessageFrom, MESSAGE_COLUMNS, messageFrom, queuedMessageFrom } from "../codecs/message.ts";
import { paceFrom } from "../codecs/number.ts";
import type { Row } from "../codecs/row.ts";
import type { QueuedNumber, QueueStore, Requeued } from "../queues.ts";
import type { Database } from "./database.ts";
import { columnsOf, givenRows, listsOf } from "./row-lists.ts";
import type { Session } from "./session.ts";
import { statement } from "./statement.ts";
import { writeChanges } from "./write-changes.ts";

/**
 * Time to the next claim of a number that another process locks, milliseconds: a transaction takes
 * a few.
 */
const OCCUPIED_MS = 20;

const QUEUE_TYPES = { id: "text", max_rows: "integer", until: "float8" } as const;

/** The terms of `maxAheadMs`, milliseconds: one to divide by a rate, one to add. */
const MAX_AHEAD = [1000 * LIMITS.parts, MAX_CLOCK_SKEW_MS] as const;

// Skips a number that another transaction locks; of one that it released, this reads what that
// transaction wrote.
const lockClaimable = statement<Row>(
  `SELECT id, carrier, segments_per_second, state, due_at, daily_segment_limit, used_day, used_segments FROM phone_numbers
   WHERE id = ANY ($1)
     AND (due_at <= $2 OR state = 'paused' OR $5 OR due_at > $2 + $3::float8 / segments_per_second + $4)
   FOR NO KEY UPDATE SKIP LOCKED`,
);
const selectNumbers = statement<Row>("SELECT id, carrier, due_at FROM phone_numbers WHERE id = ANY ($1)");
// Skips a message that is being cancelled; the others stay queued until the commit.
const lockQueued = statement<Row>(
  `SELECT ${columnsOf("queued", MESSAGE_COLUMNS)}, o."to" IS NOT NULL AS is_opted_out FROM ${givenRows("given", QUEUE_TYPES)} CROSS JOIN LATERAL (
     SELECT ${columnsOf("m", MESSAGE_COLUMNS)} FROM messages m
     WHERE m.phone_number_id = given.id AND m.status = 'queued' AND coalesce(m.next_submit_at, 0) <= given.until
     ORDER BY m.queued_at, m.id LIMIT given.max_rows FOR NO KEY UPDATE SKIP LOCKED
   ) queued LEFT JOIN opt_outs o ON o.organization_id = queued.organization_id
     AND o.messaging_profile_id = queued.messaging_profile_id AND o."to" = queued."to"
   ORDER BY queued.queued_at, queued.id`,
);
const selectDeferred = statement<Row>(
  `SELECT phone_number_id, min(next_submit_at) AS next_submit_at FROM messages
   WHERE phone_number_id = ANY ($1) AND status = 'queued' AND next_submit_at > $2 GROUP BY phone_number_id`,
);
const lockClaimed = statement<Row>(
  `SELECT organization_id, id, phone_number_id, parts, submitted_at FROM messages
   WHERE status = 'sending' AND owner = $1 AND id <> ALL ($2) ORDER BY organization_id, id FOR NO KEY UPDATE`,
);
const lockExpired = statement<Row>(
  `SELECT ${columnsOf("m", MESSAGE_COLUMNS)} FROM messages m
   WHERE m.status IN ('queued', 'scheduled') AND m.valid_until <= $1 ORDER BY m.valid_until LIMIT $2
   FOR UPDATE SKIP LOCKED`,
);
// Jumps from number to number through the index of queued messages: its cost grows with numbers,
// not with messages. A number that was removed is due at once, for the messages left in its queue.
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

/** Queues on a database. */
export function createQueues(database: Database): QueueStore {
  const { transact } = database;
  return {
    measureQueue: () => measureQueue(database),
    listQueues: (limit, after) => listQueues(database, limit, after),
    claim: (request) => transact((session) => claim(session, request)),
    requeue: async (owner, underWay, now): Promise<Requeued> => {
      // Asked first: a transaction that commits after this look was not settled at it.
      const isSettled = await database.isSettled();
      const phoneNumberIds = await transact((session) => requeue(session, owner, underWay, now));
      return { phoneNumberIds, isSettled };
    },
    expireMessages: (now, limit) => transact((session) => expireMessages(session, now, limit)),
  };
}

async function listQueues(session: Session, limit: number, after = ""): Promise<QueuedNumber[]> {
  const rows = await session.all(selectQueues, after, limit);
  return rows.map((row) => ({ phoneNumberId: row.phone_number_id as string, dueAt: row.due_at as number }));
}

async function measureQueue(session: Session) {
  const row = await session.get(measure);
  return {
    messages: row?.messages as number,
    oldestId: (row?.oldest_id as string | null) ?? undefined,
  };
}

/**
 * Three round trips to the database. A claim reads the pace of a number under an exclusive lock of
 * its row.
 */
async function claim(session: Session, request: ClaimRequest): Promise<Claim[]> {
  const { claims, changes } = planClaims(request, await readFacts(session, request));
  void writeChanges(session, changes);
  return claims;
}

async function readFacts(
  session: Session,
  { now, phoneNumberIds, budgets, isDeliveryHeld = false }: ClaimRequest,
): Promise<ClaimFacts> {
  const [lockedRows, knownRows] = await Promise.all([
    session.all(lockClaimable, phoneNumberIds, now, ...MAX_AHEAD, isDeliveryHeld),
    session.all(selectNumbers, phoneNumberIds),
  ]);
  const paces = new Map(lockedRows.map((row) => [row.id as string, paceFrom(row, isDeliveryHeld)]));
  const known = new Map(
    knownRows.map((row) => [row.id as string, { carrier: row.carrier as string, dueAt: row.due_at as number }]),
  );
  const limitOfGone = maxOrphans(phoneNumberIds.filter((id) => !known.has(id)).length);
  const wanted = phoneNumberIds.flatMap((id) => {
    const pace = paces.get(id);
    // The messages of a removed number end, deferred ones too.
    if (pace === undefined) return known.has(id) ? [] : [[id, limitOfGone, Number.POSITIVE_INFINITY]];
    return [[id, maxQueueRows(pace, budgets.get(pace.carrier) ?? Number.POSITIVE_INFINITY), now]];
  });
  const [rows, deferredRows] = await Promise.all([
    wanted.length === 0 ? [] : session.all(lockQueued, ...listsOf(QUEUE_TYPES, wanted)),
    paces.size === 0 ? [] : session.all(selectDeferred, [...paces.keys()], now),
  ]);
  const queues = new Map<string, QueuedMessage[]>();
  const optedOut = new Set<QueuedMessage>();
  for (const row of rows) {
    const message = queuedMessageFrom(row);
    if (row.is_opted_out === true) optedOut.add(message);
    const queue = queues.get(message.phoneNumberId) ?? [];
    queues.set(message.phoneNumberId, queue);
    queue.push(message);
  }
  const deferred = new Map(deferredRows.map((row) => [row.phone_number_id as string, row.next_submit_at as number]));
  return {
    known,
    paces,
    queues,
    maxOrphans: limitOfGone,
    isOptedOut: (message) => optedOut.has(message),
    nextDeferredAt: (id) => deferred.get(id),
    occupiedRetryAt: now + OCCUPIED_MS,
  };
}

async function expireMessages(session: Session, now: number, limit: number): Promise<AppliedReport[]> {
  const { applied, changes } = planExpiry((await session.all(lockExpired, now, limit)).map(messageFrom), now);
  void writeChanges(session, changes);
  return applied;
}

/** Gives the numbers of the queues to which messages returned, once for each message. */
async function requeue(session: Session, owner: string, underWay: readonly string[], now: number): Promise<string[]> {
  const rows = await session.all(lockClaimed, owner, underWay);
  const messages = rows.map(claimedMessageFrom);
  void writeChanges(session, planRequeue(messages, now));
  return messages.map(({ phoneNumberId }) => phoneNumberId);
}
