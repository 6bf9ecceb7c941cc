import { MESSAGE_COLUMNS, messageFrom, type Row } from "../rows.ts";
import type { DueMessages, ScheduledFacts, ScheduledRead, ScheduledWrites } from "../schedule-records.ts";
import { writeDecided } from "./acceptance.ts";
import { type NewEvent, noteEvents } from "./events.ts";
import { rewriteMessages } from "./messages.ts";
import { FACT_COLUMNS, factsFrom } from "./recipients.ts";
import { columnsOf, givenRows, listsOf } from "./row-lists.ts";
import type { Session } from "./session.ts";
import { statement } from "./statement.ts";

const READ_TYPES = { organization_id: "text", id: "text" } as const;
const RETRY_TYPES = { organization_id: "text", id: "text", next_submit_at: "bigint" } as const;

const selectDue = statement<Row>(
  `SELECT organization_id, id, messaging_profile_id, next_submit_at FROM messages WHERE status = 'scheduled'
   ORDER BY next_submit_at LIMIT $1`,
);
// Whoever comes second waits, and then finds those that the first one left.
const lockScheduled = statement<Row>(
  `SELECT ${columnsOf("s", MESSAGE_COLUMNS)}, ${FACT_COLUMNS}
   FROM ${givenRows("given", READ_TYPES)}
     JOIN messages s ON s.organization_id = given.organization_id AND s.id = given.id AND s.status = 'scheduled'
     LEFT JOIN opt_outs o ON o.organization_id = s.organization_id
       AND o.messaging_profile_id = s.messaging_profile_id AND o."to" = s."to"
     LEFT JOIN sticky_mappings m ON m.organization_id = s.organization_id
       AND m.messaging_profile_id = s.messaging_profile_id AND m."to" = s."to"
   ORDER BY s.organization_id, s.id FOR UPDATE OF s`,
);
const setNextSubmit = statement(
  `UPDATE messages m SET next_submit_at = given.next_submit_at FROM ${givenRows("given", RETRY_TYPES)}
   WHERE m.organization_id = given.organization_id AND m.id = given.id`,
);

/** Scheduled messages that are due, and when the next one will be. */
export async function listDueMessages(session: Session, now: number, most: number): Promise<DueMessages> {
  const rows = await session.all(selectDue, most + 1);
  const due = rows.filter((row) => (row.next_submit_at as number) <= now).slice(0, most);
  const messages = due.map((row) => ({
    organizationId: row.organization_id as string,
    id: row.id as string,
    messagingProfileId: row.messaging_profile_id as string,
  }));
  return { messages, nextAt: rows[due.length]?.next_submit_at as number | undefined };
}

/** Decides messages that are still scheduled: one flight to the database for what they are, and one for what they become. */
export async function releaseScheduled(
  session: Session,
  reads: readonly ScheduledRead[],
  decide: (facts: readonly ScheduledFacts[]) => ScheduledWrites,
): Promise<void> {
  const given = listsOf(
    READ_TYPES,
    reads.map(({ organizationId, id }) => [organizationId, id]),
  );
  const facts = new Map<string, ScheduledFacts>();
  for (const row of reads.length === 0 ? [] : await session.all(lockScheduled, ...given)) {
    const message = messageFrom(row);
    facts.set(`${message.organizationId} ${message.id}`, { message, recipient: factsFrom(row, message) });
  }
  const asked = reads.flatMap(({ organizationId, id }) => facts.get(`${organizationId} ${id}`) ?? []);
  const { messages, mappings, usage } = decide(asked);

  const later = messages.filter(({ message }) => message.status === "scheduled");
  const decided = messages.filter(({ message }) => message.status !== "scheduled");
  if (later.length > 0) {
    const rows = later.map(({ message, retryAt }) => [message.organizationId, message.id, retryAt]);
    void session.run(setNextSubmit, ...listsOf(RETRY_TYPES, rows));
  }
  rewriteMessages(
    session,
    decided.map(({ message }) => message),
  );
  noteEvents(
    session,
    decided.map(({ message: { organizationId, id, status, error }, at }): NewEvent => {
      const kind = status === "queued" ? "decided" : (status as "expired" | "sending_failed");
      const none = { carrierMessageId: undefined, carrierCode: undefined };
      return { organizationId, event: { messageId: id, kind, status, at, error, ...none } };
    }),
  );
  writeDecided(session, { mappings, usage });
}
