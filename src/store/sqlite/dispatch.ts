import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import { addOutcome, HALF_LIFE, type HealthChange, type HealthCounts } from "../../domain/health.ts";
import { apply, type Progress, type Report } from "../../domain/lifecycle.ts";
import type { Message } from "../../domain/message.ts";
import { mostReleased, release } from "../../domain/pace.ts";
import type { AppliedReport, CarrierReport, Claim, ClaimRequest, QueuedNumber } from "../store.ts";
import type { Connection } from "./open.ts";
import { healthFrom, messageFrom, type Row } from "./rows.ts";

const NOTHING: AppliedReport = {
  messageId: undefined,
  messagingProfileId: undefined,
  phoneNumberId: undefined,
  status: undefined,
  health: undefined,
  reported: 0,
};
const EVENT_OF = {
  accepted: "submitted",
  refused: "submitted",
  deferred: "submitted",
  unanswered: "unanswered",
  delivered: "receipt",
  failed: "receipt",
} as const;

const REMOVED = {
  kind: "refused",
  error: { reason: ErrorReason.INVALID_FROM, detail: "The number was removed while the message was being sent." },
  carrierCode: "",
} as const;

/** The statements of sending and of what carriers report. Each function runs inside a transaction of the caller. */
export function prepareDispatch(db: Connection) {
  // Jumps from number to number through the index of queued messages: its cost is the numbers, not the messages.
  const selectQueues = db.prepare(
    `WITH RECURSIVE queue (phone_number_id) AS (
       SELECT min(phone_number_id) FROM messages WHERE status = 'queued'
       UNION ALL
       SELECT (SELECT min(phone_number_id) FROM messages WHERE status = 'queued' AND phone_number_id > queue.phone_number_id)
       FROM queue WHERE queue.phone_number_id IS NOT NULL
     )
     SELECT queue.phone_number_id, n.due_at FROM queue JOIN phone_numbers n ON n.id = queue.phone_number_id LIMIT ?`,
  );
  const measureQueue = db.prepare(
    "SELECT count(*) AS messages, min(id) AS oldest_id FROM messages WHERE status = 'queued'",
  );
  const selectPace = db.prepare("SELECT due_at, messages_per_second, state FROM phone_numbers WHERE id = ?");
  // +?, because with bare parameters the statement is planned anew whenever one has another value.
  const selectQueued = db.prepare(
    `SELECT * FROM messages WHERE phone_number_id = +? AND status = 'queued' AND coalesce(next_submit_at, 0) <= +?
     ORDER BY id LIMIT +?`,
  );
  const selectNextDeferred = db
    .prepare("SELECT min(next_submit_at) FROM messages WHERE phone_number_id = +? AND status = 'queued'")
    .pluck();
  const markSending = db.prepare(
    "UPDATE messages SET status = 'sending', owner = ?, submits = submits + 1 WHERE organization_id = ? AND id = ?",
  );
  const setDue = db.prepare(
    `UPDATE phone_numbers SET due_at = @dueAt, sent_lately_as_of = @now,
       sent_lately = sent_lately * pow(0.5, max(0, @now - sent_lately_as_of) / ${HALF_LIFE}.0) + @messages
     WHERE id = @phoneNumberId`,
  );

  const selectOwned = db.prepare("SELECT * FROM messages WHERE status = 'sending' AND owner = ?");
  const selectSending = db.prepare("SELECT * FROM messages WHERE status = 'sending'");
  const selectById = db.prepare("SELECT * FROM messages WHERE id = ? AND organization_id = ?");
  const selectByCarrierId = db.prepare("SELECT * FROM messages WHERE carrier_message_id = ? AND carrier = ?");
  const updateProgress = db.prepare(
    `UPDATE messages SET status = ?, sent_at = ?, completed_at = ?, error_reason = ?, error_detail = ?
     WHERE organization_id = ? AND id = ?`,
  );
  const setNextSubmit = db.prepare("UPDATE messages SET next_submit_at = ? WHERE organization_id = ? AND id = ?");
  const setCarrierId = db.prepare("UPDATE messages SET carrier_message_id = ? WHERE organization_id = ? AND id = ?");
  const noteEvent = db.prepare(
    `INSERT INTO message_events (organization_id, message_id, type, status, occurred_at, carrier_message_id, carrier_code,
       error_reason, detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  const selectHealth = db.prepare("SELECT * FROM number_health WHERE phone_number_id = ?");
  const putHealth = db.prepare(
    `INSERT INTO number_health (phone_number_id, delivered, failed, spam, inbound, as_of) VALUES (?, ?, ?, ?, ?, ?)
     ON CONFLICT DO UPDATE SET delivered = excluded.delivered, failed = excluded.failed, spam = excluded.spam,
       inbound = excluded.inbound, as_of = excluded.as_of`,
  );
  const knowsNumber = db.prepare("SELECT 1 FROM phone_numbers WHERE id = ?").pluck();

  const addHealth = (phoneNumberId: string, change: HealthChange, at: number): HealthCounts | undefined => {
    if (knowsNumber.get(phoneNumberId) === undefined) return undefined;
    const row = selectHealth.get(phoneNumberId) as Row | undefined;
    const health = addOutcome(healthFrom(row ?? {}), change, at);
    putHealth.run(phoneNumberId, health.delivered, health.failed, health.spam, health.inbound, health.asOf);
    return health;
  };

  const applyTo = (message: Message, given: Report, carrierMessageId: string | undefined): AppliedReport => {
    // Its queue is gone with its number: there is nothing to come back to.
    const isStranded = given.kind === "deferred" && knowsNumber.get(message.phoneNumberId) === undefined;
    const report = isStranded ? { ...REMOVED, at: given.at } : given;
    const { organizationId, id } = message;
    const progress: Progress = message;
    const effect = apply(progress, report);
    const after = effect.progress ?? progress;
    if (effect.progress !== undefined) {
      const { status, sentAt, completedAt, error } = effect.progress;
      updateProgress.run(status, sentAt, completedAt, error?.reason, error?.detail, organizationId, id);
    }
    if (report.kind === "deferred") setNextSubmit.run(report.retryAt, organizationId, id);
    if (report.kind === "accepted") setCarrierId.run(report.carrierMessageId, organizationId, id);
    noteEvent.run(
      organizationId,
      id,
      EVENT_OF[report.kind],
      after.status,
      report.at,
      report.kind === "accepted" ? report.carrierMessageId : carrierMessageId,
      "carrierCode" in report ? report.carrierCode : undefined,
      "error" in report ? report.error.reason : undefined,
      "error" in report ? report.error.detail : undefined,
    );
    const { messagingProfileId, phoneNumberId } = message;
    const health = effect.health === undefined ? undefined : addHealth(phoneNumberId, effect.health, report.at);
    return {
      messageId: id,
      messagingProfileId,
      phoneNumberId,
      status: after.status,
      health,
      reported: effect.reported,
    };
  };

  const expire = (message: Message, at: number): AppliedReport => {
    const { organizationId, id, messagingProfileId, phoneNumberId } = message;
    const reason = ErrorReason.EXPIRED_IN_QUEUE;
    const detail = "The message was still in its queue at valid_until.";
    updateProgress.run("expired", null, at, reason, detail, organizationId, id);
    noteEvent.run(organizationId, id, "expired", "expired", at, null, null, reason, detail);
    return { messageId: id, messagingProfileId, phoneNumberId, status: "expired", health: undefined, reported: 1 };
  };

  const claimOne = (phoneNumberId: string, now: number, owner: string): Omit<Claim, "phoneNumberId"> => {
    const row = selectPace.get(phoneNumberId) as Row | undefined;
    if (row === undefined) return { messages: [], expired: [], dueAt: undefined, freeAt: Number.POSITIVE_INFINITY };
    const isPaused = row.state === "paused";
    const dueAt = row.due_at as number;
    const rate = row.messages_per_second as number;
    if (!isPaused && dueAt > now) return { messages: [], expired: [], dueAt, freeAt: dueAt };
    // One more than can be released, to know whether anything is left.
    const queue = (selectQueued.all(phoneNumberId, now, mostReleased(rate) + 1) as Row[]).map(messageFrom);
    const expired = queue.filter((message) => message.validUntil <= now).map((message) => expire(message, now));
    const waiting = expired.length === 0 ? queue : queue.filter((message) => message.validUntil > now);
    if (isPaused) {
      // It sends nothing, but what waits for too long expires.
      const next = expired.length > 0 ? now : waiting[0]?.validUntil;
      return { messages: [], expired, dueAt: next, freeAt: Number.POSITIVE_INFINITY };
    }
    const segments = waiting.map((message) => message.parts);
    const released = release(segments, dueAt, now, rate);
    const messages = waiting.slice(0, released.count);
    for (const message of messages) markSending.run(owner, message.organizationId, message.id);
    if (messages.length > 0) setDue.run({ phoneNumberId, dueAt: released.dueAt, now, messages: messages.length });
    const freeAt = messages.length > 0 ? released.dueAt : dueAt;
    // Behind late messages there may be more than were looked at.
    if (queue.length > messages.length) return { messages, expired, dueAt: freeAt, freeAt };
    const deferred = selectNextDeferred.get(phoneNumberId) as number | null;
    return { messages, expired, dueAt: deferred === null ? undefined : Math.max(deferred, freeAt), freeAt };
  };

  return {
    measureQueue: () => {
      const row = measureQueue.get() as { messages: number; oldest_id: string | null };
      return { messages: row.messages, oldestId: row.oldest_id ?? undefined };
    },
    listQueues: (most: number): QueuedNumber[] =>
      (selectQueues.all(most) as Row[]).map((row) => ({
        phoneNumberId: row.phone_number_id as string,
        dueAt: row.due_at as number,
      })),

    claim: ({ now, owner, phoneNumberIds }: ClaimRequest): Claim[] =>
      phoneNumberIds.map((phoneNumberId) => ({ phoneNumberId, ...claimOne(phoneNumberId, now, owner) })),

    applyReports: (reports: readonly CarrierReport[]): AppliedReport[] =>
      reports.map(({ target, report }) => {
        const row = (
          "messageId" in target
            ? selectById.get(target.messageId, target.organizationId)
            : selectByCarrierId.get(target.carrierMessageId, target.carrier)
        ) as Row | undefined;
        if (row === undefined) return NOTHING;
        return applyTo(messageFrom(row), report, "carrierMessageId" in target ? target.carrierMessageId : undefined);
      }),

    settleOwner: (owners: "all" | readonly string[], at: number): number => {
      const rows = owners === "all" ? selectSending.all() : owners.flatMap((owner) => selectOwned.all(owner));
      for (const row of rows as Row[]) applyTo(messageFrom(row), { kind: "unanswered", at }, undefined);
      return rows.length;
    },
  };
}
