import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import type { Progress } from "../../domain/lifecycle.ts";
import type { QueuedMessage } from "../../domain/message.ts";
import type { AppliedReport, Claim, ClaimRequest, QueuedNumber } from "../delivery-records.ts";
import { type ClaimPlan, mostLookedAt, type Pace, planClaim } from "../plan-claim.ts";
import { EXPIRED_IN_QUEUE, planEnd } from "../plan-report.ts";
import { MESSAGE_COLUMNS, queuedMessageFrom, type Row } from "../rows.ts";
import { decayed } from "./decay.ts";
import { type NewEvent, noteEvents } from "./events.ts";
import { setProgress } from "./messages.ts";
import { columnsOf, givenRows, listsOf } from "./row-lists.ts";
import type { Session } from "./session.ts";
import { statement } from "./statement.ts";

/** When to come back to a number that another process is at, milliseconds: what others do takes a few. */
const OCCUPIED = 20;
/** Messages of a number that is gone, in one claim. */
const MOST_LEFT_BEHIND = 100;
/** What a message says that came into a queue while its number was being removed. */
const NUMBER_GONE = {
  reason: ErrorReason.INVALID_FROM,
  detail: "The number was removed while the message was queued.",
} as const;

const QUEUE_TYPES = { id: "text", most: "integer" } as const;
const SENDING_TYPES = { organization_id: "text", id: "text", carrier: "text" } as const;
const DUE_TYPES = { id: "text", due_at: "float8", messages: "integer" } as const;

// Jumps from number to number through the index of queued messages: its cost is the numbers, not the messages. One that is gone is
// due at once, for what came into its queue meanwhile.
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
// A number that another transaction holds is passed over. Where one was quicker, what it wrote is what is looked at here.
const lockClaimable = statement<Row>(
  `SELECT id, carrier, messages_per_second, state, due_at FROM phone_numbers
   WHERE id = ANY ($1) AND (due_at <= $2 OR state = 'paused') FOR NO KEY UPDATE SKIP LOCKED`,
);
const selectNumbers = statement<Row>("SELECT id, carrier, due_at FROM phone_numbers WHERE id = ANY ($1)");
// What somebody is about to cancel is passed over.
const lockQueued = statement<Row>(
  `SELECT queued.* FROM ${givenRows("given", QUEUE_TYPES)} CROSS JOIN LATERAL (
     SELECT ${columnsOf("m", MESSAGE_COLUMNS)} FROM messages m
     WHERE m.phone_number_id = given.id AND m.status = 'queued' AND coalesce(m.next_submit_at, 0) <= $3
     ORDER BY m.id LIMIT given.most FOR UPDATE SKIP LOCKED
   ) queued ORDER BY queued.id`,
);
const markSending = statement(
  `UPDATE messages m SET status = 'sending', owner = $4, carrier = given.carrier, submits = m.submits + 1
   FROM ${givenRows("given", SENDING_TYPES)} WHERE m.organization_id = given.organization_id AND m.id = given.id`,
);
const setDue = statement(
  `UPDATE phone_numbers n SET due_at = given.due_at, sent_lately_as_of = $4::float8,
     sent_lately = ${decayed("n.sent_lately", "$4::float8 - n.sent_lately_as_of")} + given.messages
   FROM ${givenRows("given", DUE_TYPES)} WHERE n.id = given.id`,
);
const selectDeferred = statement<Row>(
  `SELECT phone_number_id, min(next_submit_at) AS next_submit_at FROM messages
   WHERE phone_number_id = ANY ($1) AND status = 'queued' GROUP BY phone_number_id`,
);

/** A page of the numbers that have messages queued. */
export async function listQueues(session: Session, most: number, after = ""): Promise<QueuedNumber[]> {
  const rows = await session.all(selectQueues, after, most);
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

/**
 * Claims numbers, in three flights to the database; gives the claims when the transaction has been committed. The truth about a
 * number's pace is its row, read under a lock.
 */
export async function claim(session: Session, request: ClaimRequest): Promise<() => Promise<Claim[]>> {
  const { now, owner, phoneNumberIds, budgets } = request;
  const [locked, known] = await Promise.all([
    session.all(lockClaimable, phoneNumberIds, now),
    session.all(selectNumbers, phoneNumberIds),
  ]);
  const paces = new Map(locked.map((row) => [row.id as string, paceFrom(row)]));
  const numbers = new Map(known.map((row) => [row.id as string, row]));
  const queues = await lockQueues(session, request, paces, (id) => !numbers.has(id));

  const left = new Map(budgets);
  const plans = new Map<string, ClaimPlan>();
  for (const id of phoneNumberIds) {
    const pace = paces.get(id);
    if (pace === undefined) continue;
    const budget = left.get(pace.carrier) ?? Number.POSITIVE_INFINITY;
    // Its carrier's budget may have been used up by the numbers before it: no more is looked at than on its own.
    const queue = (queues.get(id) ?? []).slice(0, mostLookedAt(pace, budget));
    const plan = planClaim(pace, queue, now, budget);
    left.set(pace.carrier, budget - plan.send.length);
    plans.set(id, plan);
  }

  const ends = new Map<string, AppliedReport[]>();
  const progress: [QueuedMessage, Progress][] = [];
  const events: NewEvent[] = [];
  const end = (message: QueuedMessage, kind: "expired" | "sending_failed", error: Progress["error"]) => {
    const ended = planEnd(message, kind, now, error);
    progress.push([message, ended.progress]);
    events.push({ organizationId: message.organizationId, event: ended.event });
    ends.set(message.phoneNumberId, [...(ends.get(message.phoneNumberId) ?? []), ended.applied]);
  };
  const sending: unknown[][] = [];
  const due: unknown[][] = [];
  for (const [id, { send, expire, setDueAt }] of plans) {
    const carrier = paces.get(id)?.carrier;
    for (const message of send) sending.push([message.organizationId, message.id, carrier]);
    for (const message of expire) end(message, "expired", EXPIRED_IN_QUEUE);
    if (setDueAt !== undefined) due.push([id, setDueAt, send.length]);
  }
  for (const [id, queue] of queues) {
    if (!plans.has(id)) for (const message of queue) end(message, "sending_failed", NUMBER_GONE);
  }
  if (sending.length > 0) void session.run(markSending, ...listsOf(SENDING_TYPES, sending), owner);
  if (due.length > 0) void session.run(setDue, ...listsOf(DUE_TYPES, due), now);
  setProgress(session, progress);
  noteEvents(session, events);
  const emptied = [...plans].filter(([, { next }]) => next === "whenDeferred").map(([id]) => id);
  const deferred = emptied.length === 0 ? [] : session.all(selectDeferred, emptied);

  const claimOf = (id: string, whenDeferred: ReadonlyMap<string, number | null>): Claim => {
    const number = numbers.get(id);
    const plan = plans.get(id);
    const expired = ends.get(id) ?? [];
    if (number === undefined) {
      const isMore = expired.length === MOST_LEFT_BEHIND;
      const nothing = { phoneNumberId: id, carrier: undefined, messages: [], isHeld: false };
      return { ...nothing, expired, dueAt: isMore ? now : undefined, freeAt: Number.POSITIVE_INFINITY };
    }
    const pace = paces.get(id);
    const carrier = pace?.carrier ?? (number.carrier as string);
    if (plan === undefined || pace === undefined) {
      const dueAt = number.due_at as number;
      const at = dueAt > now ? dueAt : now + OCCUPIED;
      return { phoneNumberId: id, carrier, messages: [], expired, isHeld: false, dueAt: at, freeAt: at };
    }
    const messages = plan.send.map((message) => ({ ...message, carrier, submits: message.submits + 1 }));
    const { freeAt, isHeld } = plan;
    let dueAt: number | undefined;
    if (plan.next !== "whenDeferred") dueAt = plan.next;
    else {
      const at = whenDeferred.get(id);
      if (at !== null && at !== undefined) dueAt = Math.max(at, pace.isPaused ? now : freeAt);
    }
    return { phoneNumberId: id, carrier, messages, expired, dueAt, freeAt, isHeld };
  };
  return async () => {
    const rows = await deferred;
    const whenDeferred = new Map(
      rows.map((row) => [row.phone_number_id as string, row.next_submit_at as number | null]),
    );
    return phoneNumberIds.map((id) => claimOf(id, whenDeferred));
  };
}

/** The beginnings of queues, oldest first, by number: of those that are claimed, and of those that are gone. */
async function lockQueues(
  session: Session,
  { now, phoneNumberIds, budgets }: ClaimRequest,
  paces: ReadonlyMap<string, Pace>,
  isGone: (id: string) => boolean,
): Promise<Map<string, QueuedMessage[]>> {
  const queues = new Map<string, QueuedMessage[]>();
  const wanted = phoneNumberIds.flatMap((id) => {
    const pace = paces.get(id);
    if (pace !== undefined) {
      return [[id, mostLookedAt(pace, budgets.get(pace.carrier) ?? Number.POSITIVE_INFINITY)]];
    }
    return isGone(id) ? [[id, MOST_LEFT_BEHIND]] : [];
  });
  if (wanted.length === 0) return queues;
  for (const row of await session.all(lockQueued, ...listsOf(QUEUE_TYPES, wanted), now)) {
    const message = queuedMessageFrom(row);
    const queue = queues.get(message.phoneNumberId) ?? [];
    queues.set(message.phoneNumberId, queue);
    queue.push(message);
  }
  return queues;
}

function paceFrom(row: Row): Pace {
  return {
    carrier: row.carrier as string,
    messagesPerSecond: row.messages_per_second as number,
    isPaused: row.state === "paused",
    dueAt: row.due_at as number,
  };
}
