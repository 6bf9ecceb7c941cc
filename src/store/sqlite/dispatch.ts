import type { AppliedReport } from "../../domain/carrier-report.ts";
import { HALF_LIFE_MS } from "../../domain/health.ts";
import type { Message } from "../../domain/message.ts";
import { ownEvent } from "../../domain/message-event.ts";
import {
  dayOfClaim,
  isClaimable,
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
import type { Claim, ClaimRequest, QueuedNumber } from "../delivery-records.ts";
import { messageFrom, optional, queuedMessageFrom, type Row } from "../rows.ts";
import type { prepareMessages } from "./messages.ts";
import type { Connection } from "./open.ts";
import type { prepareRecipients } from "./recipients.ts";

/** The statements of queues and claims. Each function runs inside a transaction of the caller. */
export function prepareDispatch(
  db: Connection,
  messages: ReturnType<typeof prepareMessages>,
  recipients: ReturnType<typeof prepareRecipients>,
) {
  // Jumps from number to number through the index of queued messages: its cost is the numbers, not the messages. One that is gone
  // is due at once, for what it left in its queue.
  const selectQueues = db.prepare(
    `WITH RECURSIVE queue (phone_number_id) AS (
       SELECT min(phone_number_id) FROM messages WHERE status = 'queued' AND phone_number_id > +?
       UNION ALL
       SELECT (SELECT min(phone_number_id) FROM messages WHERE status = 'queued' AND phone_number_id > queue.phone_number_id)
       FROM queue WHERE queue.phone_number_id IS NOT NULL
     )
     SELECT queue.phone_number_id, coalesce(n.due_at, 0) AS due_at
     FROM queue LEFT JOIN phone_numbers n ON n.id = queue.phone_number_id
     WHERE queue.phone_number_id IS NOT NULL LIMIT +?`,
  );
  const measureQueue = db.prepare(
    "SELECT count(*) AS messages, min(id) AS oldest_id FROM messages WHERE status = 'queued'",
  );
  const selectPace = db.prepare(
    `SELECT due_at, segments_per_second, state, carrier, daily_segment_limit, used_day, used_segments
     FROM phone_numbers WHERE id = ?`,
  );
  // +?, because with bare parameters the statement is planned anew whenever one has another value.
  const selectQueued = db.prepare(
    `SELECT * FROM messages WHERE phone_number_id = +? AND status = 'queued' AND coalesce(next_submit_at, 0) <= +?
     ORDER BY queued_at, id LIMIT +?`,
  );
  const selectLeftBehind = db.prepare(
    `SELECT * FROM messages WHERE phone_number_id = +? AND status = 'queued' ORDER BY queued_at, id LIMIT +?`,
  );
  const selectNextDeferred = db
    .prepare("SELECT min(next_submit_at) FROM messages WHERE phone_number_id = +? AND status = 'queued'")
    .pluck();
  const selectExpired = db.prepare(
    `SELECT * FROM messages WHERE status IN ('queued', 'scheduled') AND valid_until <= +? ORDER BY valid_until LIMIT +?`,
  );
  const markSending = db.prepare(
    `UPDATE messages SET status = 'sending', owner = ?, carrier = ?, submits = submits + 1, submitted_at = ?
     WHERE organization_id = ? AND id = ?`,
  );
  const setDue = db.prepare(
    `UPDATE phone_numbers SET due_at = @dueAt, sent_lately_as_of = @now,
       used_segments = iif(used_day = @day, used_segments, 0) + @segments, used_day = @day,
       sent_lately = sent_lately * pow(0.5, max(0, @now - sent_lately_as_of) / ${HALF_LIFE_MS}.0) + @messages
     WHERE id = @phoneNumberId`,
  );

  const requeue = db.prepare(
    `UPDATE messages SET status = 'queued', submits = submits - 1
     WHERE status = 'sending' AND owner = ? AND id NOT IN (SELECT value FROM json_each(?))
     RETURNING organization_id, id, phone_number_id`,
  );

  const claimOne = (
    phoneNumberId: string,
    row: Row,
    { now, owner, isDeliveryHeld = false }: ClaimRequest,
    budgets: Map<string, number>,
  ): Claim => {
    const nothing = { phoneNumberId, carrier: row.carrier as string, messages: [], expired: [] };
    const pace: Pace = {
      carrier: row.carrier as string,
      segmentsPerSecond: row.segments_per_second as number,
      isPaused: isDeliveryHeld || row.state === "paused",
      dueAt: row.due_at as number,
      dailySegmentLimit: optional(row.daily_segment_limit),
      usedDay: row.used_day as number,
      usedSegments: row.used_segments as number,
    };
    if (!isClaimable(pace, now)) return { ...nothing, isHeld: false, dueAt: pace.dueAt, freeAt: pace.dueAt };
    const budget = budgets.get(pace.carrier) ?? Number.POSITIVE_INFINITY;
    const queue = (selectQueued.all(phoneNumberId, now, mostLookedAt(pace, budget)) as Row[]).map(queuedMessageFrom);
    const plan = planClaim(pace, queue, now, budget, (message) => recipients.read(message, false).optedOut);
    budgets.set(pace.carrier, budget - plan.send.length);
    const expired = [
      ...plan.expire.map((message) => end(message, "expired", now, EXPIRED_IN_QUEUE)),
      ...plan.optedOut.map((message) => end(message, "sending_failed", now, OPTED_OUT_MEANWHILE)),
    ];
    for (const message of plan.send) {
      markSending.run(owner, pace.carrier, now, message.organizationId, message.id);
      messages.noteEvent(message.organizationId, ownEvent(message, "sending", now));
    }
    if (plan.setDueAt !== undefined) {
      const segments = plan.send.reduce((sum, { parts }) => sum + parts, 0);
      const day = dayOfClaim(pace, now);
      setDue.run({ phoneNumberId, dueAt: plan.setDueAt, now, messages: plan.send.length, day, segments });
    }
    const next =
      plan.next === "whenDeferred" ? whenDeferred(phoneNumberId, pace.isPaused ? now : plan.freeAt) : plan.next;
    const { carrier } = pace;
    const sent = plan.send.map((message) => ({ ...message, carrier, submits: message.submits + 1 }));
    return { phoneNumberId, carrier, messages: sent, expired, dueAt: next, freeAt: plan.freeAt, isHeld: plan.isHeld };
  };

  /** Ends up to `most` messages of a number that was removed, also those that were put off. */
  const claimGone = (phoneNumberId: string, now: number, most: number): Claim => {
    const left = (selectLeftBehind.all(phoneNumberId, most) as Row[]).map(queuedMessageFrom);
    const expired = left.map((message) => end(message, "sending_failed", now, REMOVED_MEANWHILE));
    const dueAt = left.length === most ? now : undefined;
    const nothing = { phoneNumberId, carrier: undefined, messages: [], isHeld: false };
    return { ...nothing, expired, dueAt, freeAt: Number.POSITIVE_INFINITY };
  };

  const end = (
    message: Message,
    kind: "expired" | "sending_failed",
    now: number,
    error: Message["error"],
  ): AppliedReport => {
    const ended = planEnd(message, kind, now, error);
    messages.setProgress(message, ended.progress);
    messages.noteEvent(message.organizationId, ended.event);
    return ended.applied;
  };

  const whenDeferred = (phoneNumberId: string, freeAt: number): number | undefined => {
    const deferred = selectNextDeferred.get(phoneNumberId) as number | null;
    return deferred === null ? undefined : Math.max(deferred, freeAt);
  };

  return {
    measureQueue: () => {
      const row = measureQueue.get() as { messages: number; oldest_id: string | null };
      return { messages: row.messages, oldestId: row.oldest_id ?? undefined };
    },
    listQueues: (most: number, after = ""): QueuedNumber[] =>
      (selectQueues.all(after, most) as Row[]).map((row) => ({
        phoneNumberId: row.phone_number_id as string,
        dueAt: row.due_at as number,
      })),

    expire: (now: number, most: number): AppliedReport[] =>
      (selectExpired.all(now, most) as Row[]).map((row) => {
        const message = messageFrom(row);
        return end(message, "expired", now, expiredWhile(message));
      }),
    requeue: (owner: string, underWay: readonly string[], now: number): string[] =>
      (requeue.all(owner, JSON.stringify(underWay)) as Row[]).map((row) => {
        messages.noteEvent(row.organization_id as string, ownEvent({ id: row.id as string }, "requeued", now));
        return row.phone_number_id as string;
      }),
    claim: (request: ClaimRequest): Claim[] => {
      const left = new Map(request.budgets);
      const rows = request.phoneNumberIds.map((id) => [id, selectPace.get(id) as Row | undefined] as const);
      const most = mostLeftBehind(rows.filter(([, row]) => row === undefined).length);
      return rows.map(([id, row]) =>
        row === undefined ? claimGone(id, request.now, most) : claimOne(id, row, request, left),
      );
    },
  };
}
