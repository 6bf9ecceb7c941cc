import type { RecentSend, RetryKey } from "../../domain/idempotency.ts";
import type { Message } from "../../domain/message.ts";
import { MESSAGE_COLUMNS, messageFrom, type Row } from "../rows.ts";
import type { AcceptFacts, AcceptReads, AcceptWrites } from "../store.ts";
import { holdAttempts } from "./attempts.ts";
import { holdKeys } from "./idempotency.ts";
import { insertMessages } from "./messages.ts";
import { putMappings, readRecipients } from "./recipients.ts";
import { columnsOf, givenRows, listsOf } from "./row-lists.ts";
import type { Session } from "./session.ts";
import { statement } from "./statement.ts";
import { decideWithTrials } from "./trials.ts";

const RETRY_TYPES = { request_hash: "bytea", since: "bigint", until: "bigint", place: "integer" } as const;
const RECENT_TYPES = { second: "bigint", request_hash: "bytea", organization_id: "text", message_id: "text" } as const;

// Second by second, because that is how the rows lie.
const selectRetries = statement<Row>(
  `SELECT given.place, ${columnsOf("found", MESSAGE_COLUMNS)} FROM ${givenRows("given", RETRY_TYPES)} CROSS JOIN LATERAL (
     SELECT ${columnsOf("m", MESSAGE_COLUMNS)} FROM generate_series(given.since / 1000, given.until / 1000) AS seconds (second)
       JOIN recent_sends r ON r.second = seconds.second AND r.request_hash = given.request_hash
       JOIN messages m ON m.organization_id = r.organization_id AND m.id = r.message_id
     WHERE m.received_at BETWEEN given.since AND given.until
     ORDER BY r.second DESC, r.message_id DESC LIMIT 1
   ) found`,
);
const insertRecent = statement(
  `INSERT INTO recent_sends (second, request_hash, organization_id, message_id)
   SELECT second, request_hash, organization_id, message_id FROM ${givenRows("given", RECENT_TYPES)}`,
);
/** Accepts a group of sends: one round trip to the database and back for what it must know, and one for what it writes. */
export async function accept(
  session: Session,
  reads: AcceptReads,
  decide: (facts: AcceptFacts) => AcceptWrites,
): Promise<void> {
  const [inFlight, keys, recipients, retries] = await Promise.all([
    holdAttempts(session, reads),
    holdKeys(session, reads.keys),
    readRecipients(session, reads.recipients),
    readRetries(session, reads.retries),
  ]);
  const facts = { inFlight, keys: keys.records, recipients, retries };
  const writes = await decideWithTrials(session, (occupied) =>
    decide(occupied.length === 0 ? facts : { ...facts, occupied }),
  );
  insertMessages(session, writes.messages);
  keys.write(session, writes.keys);
  insertRecentSends(session, writes.recentSends);
  putMappings(session, writes.mappings);
}

async function readRetries(session: Session, retries: readonly RetryKey[]): Promise<(Message | undefined)[]> {
  const found: (Message | undefined)[] = retries.map(() => undefined);
  if (retries.length === 0) return found;
  const rows = retries.map(({ requestHash, since, until }, place) => [requestHash, since, until, place]);
  for (const row of await session.all(selectRetries, ...listsOf(RETRY_TYPES, rows))) {
    found[row.place as number] = messageFrom(row);
  }
  return found;
}

function insertRecentSends(session: Session, recentSends: readonly RecentSend[]): void {
  if (recentSends.length === 0) return;
  const rows = recentSends.map(({ at, requestHash, organizationId, messageId }) => {
    return [Math.floor(at / 1000), requestHash, organizationId, messageId];
  });
  void session.run(insertRecent, ...listsOf(RECENT_TYPES, rows));
}
