import type { RetryKey } from "../../domain/idempotency.ts";
import type { Message } from "../../domain/message.ts";
import type { AcceptFacts, AcceptReads, AcceptStore, AcceptWrites } from "../accept.ts";
import { MESSAGE_COLUMNS, messageFrom } from "../codecs/message.ts";
import type { Row } from "../codecs/row.ts";
import { holdAttempts } from "./attempts.ts";
import type { Database } from "./database.ts";
import { holdKeys } from "./idempotency.ts";
import { readRecipients } from "./recipients.ts";
import { columnsOf, givenRows, listsOf } from "./row-lists.ts";
import type { Session } from "./session.ts";
import { statement } from "./statement.ts";
import { decideWithTrials } from "./trials.ts";
import { writeChanges } from "./write-changes.ts";

const RETRY_TYPES = { request_hash: "bytea", since: "bigint", until: "bigint", place: "integer" } as const;

// Second by second, in the order of the index.
const selectRetries = statement<Row>(
  `SELECT given.place, ${columnsOf("found", MESSAGE_COLUMNS)} FROM ${givenRows("given", RETRY_TYPES)} CROSS JOIN LATERAL (
     SELECT ${columnsOf("m", MESSAGE_COLUMNS)} FROM generate_series(given.since / 1000, given.until / 1000) AS seconds (second)
       JOIN recent_sends r ON r.second = seconds.second AND r.request_hash = given.request_hash
       JOIN messages m ON m.organization_id = r.organization_id AND m.id = r.message_id
     WHERE m.received_at BETWEEN given.since AND given.until
     ORDER BY r.second DESC, r.message_id DESC LIMIT 1
   ) found`,
);

/** Accepting messages on a database. */
export function createAccept({ transact }: Database): AcceptStore {
  return { accept: (reads, decide) => transact((session) => accept(session, reads, decide)) };
}

/** One round trip to the database reads the facts, and one writes the changes. */
async function accept(
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
  void writeChanges(session, writes);
  keys.release(session, writes.keys ?? []);
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
