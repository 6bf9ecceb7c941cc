import type { Row } from "../codecs/row.ts";
import type { Trials } from "../trials.ts";
import type { Session } from "./session.ts";
import { statement } from "./statement.ts";

// In the order of ids, and without waiting: the transaction that locks a number picks it or claims
// from it.
const hold = statement<Row>(
  "SELECT id FROM phone_numbers WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED",
);
// A separate statement, because the one that locks does not see what was committed while it ran.
const selectBusy = statement<Row>(
  `SELECT n.id FROM unnest($1::text[]) AS n (id) WHERE
     EXISTS (SELECT FROM messages m WHERE m.phone_number_id = n.id AND m.status = 'queued')
     OR EXISTS (SELECT FROM messages m WHERE m.phone_number_id = n.id AND m.status = 'sending')
     OR EXISTS (SELECT FROM messages m WHERE m.phone_number_id = n.id AND m.status = 'sent')`,
);

/**
 * The most runs of a decision whose numbers on trial are occupied; each run excludes those that
 * earlier runs found.
 */
const MAX_RUNS = 10;

/** Decides until every picked number on trial is free and locked for the transaction. */
export async function decideWithTrials<Writes extends Trials>(
  session: Session,
  decide: (occupied: readonly string[]) => Writes,
): Promise<Writes> {
  const held = new Set<string>();
  let occupied: readonly string[] = [];
  for (let run = 1; ; run += 1) {
    const writes = decide(occupied);
    const picked = [...new Set(writes.trials)].filter((id) => !held.has(id));
    if (picked.length === 0 || run === MAX_RUNS) return writes;
    occupied = await occupiedOf(session, picked);
    if (occupied.length === 0) return writes;
    for (const id of picked) held.add(id);
  }
}

/**
 * Locks numbers, and gives those that another transaction locks or that have an unreported message.
 */
async function occupiedOf(session: Session, ids: readonly string[]): Promise<string[]> {
  const [locked, busy] = await Promise.all([session.all(hold, ids), session.all(selectBusy, ids)]);
  const free = new Set(locked.map((row) => row.id as string));
  for (const row of busy) free.delete(row.id as string);
  return ids.filter((id) => !free.has(id));
}
