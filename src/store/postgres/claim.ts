import type { AppliedReport } from "../../domain/carrier-report.ts";
import type { Progress } from "../../domain/lifecycle.ts";
import { LIMITS } from "../../domain/limits.ts";
import type { QueuedMessage } from "../../domain/message.ts";
import {
  CLOCKS_DIFFER,
  type ClaimPlan,
  dayOfClaim,
  mostLeftBehind,
  mostLookedAt,
  type Pace,
  planClaim,
} from "../../domain/plan/claim.ts";
import {
  EXPIRED_IN_QUEUE,
  expiredWhile,
  OPTED_OUT_MEANWHILE,
  planEnd,
  REMOVED_MEANWHILE,
} from "../../domain/plan/report.ts";
import type { Claim, ClaimRequest } from "../delivery-records.ts";
import { MESSAGE_COLUMNS, messageFrom, optional, queuedMessageFrom, type Row } from "../rows.ts";
import { decayed } from "./decay.ts";
import { type NewEvent, noteAll, noteEvents } from "./events.ts";
import { setProgress } from "./messages.ts";
import { columnsOf, givenRows, listsOf } from "./row-lists.ts";
import type { Session } from "./session.ts";
import { statement } from "./statement.ts";

/** When to come back to a number that another process is at, milliseconds: what others do takes a few. */
const OCCUPIED = 20;

const QUEUE_TYPES = { id: "text", most: "integer", until: "float8" } as const;
const NAMED_TYPES = { organization_id: "text", id: "text" } as const;
const SENDING_TYPES = { ...NAMED_TYPES, carrier: "text" } as const;
const DUE_TYPES = { id: "text", due_at: "float8", messages: "integer", day: "integer", segments: "bigint" } as const;

/** Milliseconds, to be divided by a rate and added: what `mostAhead` says, in SQL. */
const MAX_AHEAD = [1000 * LIMITS.parts, CLOCKS_DIFFER] as const;

// A number that another transaction holds is passed over. Where one was quicker, what it wrote is what is looked at here.
const lockClaimable = statement<Row>(
  `SELECT id, carrier, segments_per_second, state, due_at, daily_segment_limit, used_day, used_segments FROM phone_numbers
   WHERE id = ANY ($1)
     AND (due_at <= $2 OR state = 'paused' OR $5 OR due_at > $2 + $3::float8 / segments_per_second + $4)
   FOR NO KEY UPDATE SKIP LOCKED`,
);
const selectNumbers = statement<Row>("SELECT id, carrier, due_at FROM phone_numbers WHERE id = ANY ($1)");
const selectQueued = statement<Row>(
  `SELECT ${columnsOf("queued", MESSAGE_COLUMNS)}, o."to" IS NOT NULL AS is_opted_out FROM ${givenRows("given", QUEUE_TYPES)} CROSS JOIN LATERAL (
     SELECT ${columnsOf("m", MESSAGE_COLUMNS)} FROM messages m
     WHERE m.phone_number_id = given.id AND m.status = 'queued' AND coalesce(m.next_submit_at, 0) <= given.until
     ORDER BY m.queued_at, m.id LIMIT given.most
   ) queued LEFT JOIN opt_outs o ON o.organization_id = queued.organization_id
     AND o.messaging_profile_id = queued.messaging_profile_id AND o."to" = queued."to"
   ORDER BY queued.queued_at, queued.id`,
);
const lockStillQueued = statement<Row>(
  `SELECT m.id FROM messages m JOIN ${givenRows("given", NAMED_TYPES)}
     ON m.organization_id = given.organization_id AND m.id = given.id
   WHERE m.status = 'queued' ORDER BY m.organization_id, m.id FOR UPDATE OF m`,
);
// What another transaction holds is looked at by the next step.
const lockExpired = statement<Row>(
  `SELECT ${columnsOf("m", MESSAGE_COLUMNS)} FROM messages m
   WHERE m.status IN ('queued', 'scheduled') AND m.valid_until <= $1 ORDER BY m.valid_until LIMIT $2
   FOR UPDATE SKIP LOCKED`,
);
// Only cancelling or expiry can come between the look at the queue and this: what was cancelled stays so.
const markSending = statement<Row>(
  `WITH marked AS (
     UPDATE messages m SET status = 'sending', owner = $4, carrier = given.carrier, submits = m.submits + 1, submitted_at = $5
     FROM ${givenRows("given", SENDING_TYPES)}
     WHERE m.organization_id = given.organization_id AND m.id = given.id AND m.status = 'queued'
     RETURNING m.organization_id, m.id
   ), noted AS (${noteAll("marked", "sending", "$5")})
   SELECT id FROM marked`,
);
const putBack = statement<Row>(
  `WITH back AS (
     UPDATE messages SET status = 'queued', submits = submits - 1
     WHERE status = 'sending' AND owner = $1 AND id <> ALL ($2) RETURNING organization_id, id, phone_number_id
   ), noted AS (${noteAll("back", "requeued", "$3")})
   SELECT phone_number_id FROM back`,
);
const setDue = statement(
  `UPDATE phone_numbers n SET due_at = given.due_at, used_day = given.day,
     used_segments = CASE WHEN n.used_day = given.day THEN n.used_segments ELSE 0 END + given.segments,
     sent_lately_as_of = $6::float8,
     sent_lately = ${decayed("n.sent_lately", "$6::float8 - n.sent_lately_as_of")} + given.messages
   FROM ${givenRows("given", DUE_TYPES)} WHERE n.id = given.id`,
);
const selectDeferred = statement<Row>(
  `SELECT phone_number_id, min(next_submit_at) AS next_submit_at FROM messages
   WHERE phone_number_id = ANY ($1) AND status = 'queued' GROUP BY phone_number_id`,
);

/** What was read of the numbers of a claim. */
type Numbers = {
  /** Those that are locked. */
  readonly paces: ReadonlyMap<string, Pace>;
  /** All that are there, as they were just after that. */
  readonly known: ReadonlyMap<string, { readonly carrier: string; readonly dueAt: number }>;
  /** The beginnings of the queues of those that are locked, and of those that are gone. */
  readonly queues: ReadonlyMap<string, readonly QueuedMessage[]>;
  /** How many messages were read of each that is gone. */
  readonly mostLeftBehind: number;
  /** Those in them whose recipients opted out. */
  readonly optedOut: ReadonlySet<QueuedMessage>;
};

/**
 * Claims numbers, in three round trips to the database; gives the claims when the transaction has been committed. The truth about a
 * number's pace is its row, read under a lock that only this process has then.
 */
export async function claim(session: Session, request: ClaimRequest): Promise<() => Promise<Claim[]>> {
  const { now, owner, phoneNumberIds } = request;
  const numbers = await readNumbers(session, request);
  const plans = planAll(request, numbers);
  const ended = await endMessages(session, plans, numbers, now);

  const sending: unknown[][] = [];
  const due: unknown[][] = [];
  for (const [id, { send, setDueAt }] of plans) {
    const pace = numbers.paces.get(id) as Pace;
    for (const message of send) sending.push([message.organizationId, message.id, pace.carrier]);
    if (setDueAt === undefined) continue;
    const segments = send.reduce((sum, { parts }) => sum + parts, 0);
    due.push([id, setDueAt, send.length, dayOfClaim(pace, now), segments]);
  }
  const marked = sending.length === 0 ? [] : session.all(markSending, ...listsOf(SENDING_TYPES, sending), owner, now);
  if (due.length > 0) void session.run(setDue, ...listsOf(DUE_TYPES, due), now);
  const emptied = [...plans].filter(([, { next }]) => next === "whenDeferred").map(([id]) => id);
  const deferred = emptied.length === 0 ? [] : session.all(selectDeferred, emptied);

  return async () => {
    const taken = new Set((await marked).map((row) => row.id as string));
    const retries = new Map((await deferred).map((row) => [row.phone_number_id as string, row.next_submit_at]));
    return phoneNumberIds.map((phoneNumberId): Claim => {
      const known = numbers.known.get(phoneNumberId);
      const pace = numbers.paces.get(phoneNumberId);
      const plan = plans.get(phoneNumberId);
      const expired = ended.get(phoneNumberId) ?? [];
      const nothing = { phoneNumberId, messages: [], expired, isHeld: false };
      if (known === undefined) {
        const isMore = numbers.queues.get(phoneNumberId)?.length === numbers.mostLeftBehind;
        const dueAt = isMore ? now : undefined;
        return { ...nothing, carrier: undefined, dueAt, freeAt: Number.POSITIVE_INFINITY };
      }
      if (pace === undefined || plan === undefined) {
        const dueAt = known.dueAt > now ? known.dueAt : now + OCCUPIED;
        return { ...nothing, carrier: known.carrier, dueAt, freeAt: dueAt };
      }
      const { carrier } = pace;
      const { send, freeAt, isHeld } = plan;
      const messages = send
        .filter(({ id }) => taken.has(id))
        .map((message) => ({ ...message, carrier, submits: message.submits + 1 }));
      const retryAt = retries.get(phoneNumberId) as number | null | undefined;
      const whenDeferred = retryAt == null ? undefined : Math.max(retryAt, pace.isPaused ? now : freeAt);
      const dueAt = plan.next === "whenDeferred" ? whenDeferred : plan.next;
      return { phoneNumberId, carrier, messages, expired, dueAt, freeAt, isHeld };
    });
  };
}

async function readNumbers(
  session: Session,
  { now, phoneNumberIds, budgets, isDeliveryHeld = false }: ClaimRequest,
): Promise<Numbers> {
  const [lockedRows, knownRows] = await Promise.all([
    session.all(lockClaimable, phoneNumberIds, now, ...MAX_AHEAD, isDeliveryHeld),
    session.all(selectNumbers, phoneNumberIds),
  ]);
  const paces = new Map(lockedRows.map((row) => [row.id as string, paceFrom(row, isDeliveryHeld)]));
  const known = new Map(
    knownRows.map((row) => [row.id as string, { carrier: row.carrier as string, dueAt: row.due_at as number }]),
  );
  const most = mostLeftBehind(phoneNumberIds.filter((id) => !known.has(id)).length);
  const wanted = phoneNumberIds.flatMap((id) => {
    const pace = paces.get(id);
    // What a number that is gone put off ends, too.
    if (pace === undefined) return known.has(id) ? [] : [[id, most, Number.POSITIVE_INFINITY]];
    return [[id, mostLookedAt(pace, budgets.get(pace.carrier) ?? Number.POSITIVE_INFINITY), now]];
  });
  const queues = new Map<string, QueuedMessage[]>();
  const optedOut = new Set<QueuedMessage>();
  const rows = wanted.length === 0 ? [] : await session.all(selectQueued, ...listsOf(QUEUE_TYPES, wanted));
  for (const row of rows) {
    const message = queuedMessageFrom(row);
    if (row.is_opted_out === true) optedOut.add(message);
    const queue = queues.get(message.phoneNumberId) ?? [];
    queues.set(message.phoneNumberId, queue);
    queue.push(message);
  }
  return { paces, known, queues, mostLeftBehind: most, optedOut };
}

/** Expires what still waits though its time ran out, the earliest first. */
export async function expireMessages(session: Session, now: number, most: number): Promise<AppliedReport[]> {
  const messages = (await session.all(lockExpired, now, most)).map(messageFrom);
  const ends = messages.map((message) => planEnd(message, "expired", now, expiredWhile(message)));
  setProgress(
    session,
    messages.map((message, index) => [message, (ends[index] as (typeof ends)[number]).progress] as const),
  );
  noteEvents(
    session,
    messages.map(({ organizationId }, index) => ({
      organizationId,
      event: (ends[index] as (typeof ends)[number]).event,
    })),
  );
  return ends.map(({ applied }) => applied);
}

/** Puts back what a claim took whose answer was lost; gives the numbers in whose queues it is again. */
export async function requeue(
  session: Session,
  owner: string,
  underWay: readonly string[],
  now: number,
): Promise<string[]> {
  const rows = await session.all(putBack, owner, underWay, now);
  return rows.map((row) => row.phone_number_id as string);
}

/** Plans the claims of those that are locked, in the order in which they were asked for. */
function planAll(
  { now, phoneNumberIds, budgets }: ClaimRequest,
  { paces, queues, optedOut }: Numbers,
): Map<string, ClaimPlan> {
  const left = new Map(budgets);
  const plans = new Map<string, ClaimPlan>();
  for (const id of phoneNumberIds) {
    const pace = paces.get(id);
    if (pace === undefined) continue;
    const budget = left.get(pace.carrier) ?? Number.POSITIVE_INFINITY;
    // Numbers before it may have used up what its carrier takes: then less is looked at than was read.
    const queue = (queues.get(id) ?? []).slice(0, mostLookedAt(pace, budget));
    const plan = planClaim(pace, queue, now, budget, (message) => optedOut.has(message));
    left.set(pace.carrier, budget - plan.send.length);
    plans.set(id, plan);
  }
  return plans;
}

/** Ends what waited for too long or must not be sent any more, and what a number that is gone left behind, by number. */
async function endMessages(
  session: Session,
  plans: ReadonlyMap<string, ClaimPlan>,
  { paces, queues, optedOut }: Numbers,
  now: number,
): Promise<ReadonlyMap<string, AppliedReport[]>> {
  const ended = new Map<string, AppliedReport[]>();
  const expired = [...plans.values()].flatMap((plan) => [...plan.expire, ...plan.optedOut]);
  const leftBehind = [...queues].flatMap(([id, queue]) => (paces.has(id) ? [] : queue));
  const ending = [...expired, ...leftBehind];
  if (ending.length === 0) return ended;
  const named = ending.map(({ organizationId, id }) => [organizationId, id]);
  const rows = await session.all(lockStillQueued, ...listsOf(NAMED_TYPES, named));
  const isStillQueued = new Set(rows.map((row) => row.id as string));
  const progress: [QueuedMessage, Progress][] = [];
  const events: NewEvent[] = [];
  for (const message of ending) {
    if (!isStillQueued.has(message.id)) continue;
    const { organizationId, phoneNumberId } = message;
    const isLate = paces.has(phoneNumberId) && message.validUntil <= now;
    const why = optedOut.has(message) ? OPTED_OUT_MEANWHILE : REMOVED_MEANWHILE;
    const end = isLate
      ? planEnd(message, "expired", now, EXPIRED_IN_QUEUE)
      : planEnd(message, "sending_failed", now, why);
    progress.push([message, end.progress]);
    events.push({ organizationId, event: end.event });
    ended.set(phoneNumberId, [...(ended.get(phoneNumberId) ?? []), end.applied]);
  }
  setProgress(session, progress);
  noteEvents(session, events);
  return ended;
}

function paceFrom(row: Row, isDeliveryHeld: boolean): Pace {
  return {
    carrier: row.carrier as string,
    segmentsPerSecond: row.segments_per_second as number,
    isPaused: isDeliveryHeld || row.state === "paused",
    dueAt: row.due_at as number,
    dailySegmentLimit: optional(row.daily_segment_limit),
    usedDay: row.used_day as number,
    usedSegments: row.used_segments as number,
  };
}
