import type { Row } from "../codecs/row.ts";
import type { Trials } from "../trials.ts";
import type { Session } from "./session.ts";
import { statement } from "./statement.ts";

// In the order of ids, and without waiting: who holds one is about to pick it, or is claiming from it.
const hold = statement<Row>(
  "SELECT id FROM phone_numbers WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED",
);
// A statement of its own, because the one that locks does not see what was committed while it ran.
const selectBusy = statement<Row>(
  `SELECT n.id FROM unnest($1::text[]) AS n (id) WHERE
     EXISTS (SELECT FROM messages m WHERE m.phone_number_id = n.id AND m.status = 'queued')
     OR EXISTS (SELECT FROM messages m WHERE m.phone_number_id = n.id AND m.status = 'sending')
     OR EXISTS (SELECT FROM messages m WHERE m.phone_number_id = n.id AND m.status = 'sent')`,
);

/** Decisions that are run again because numbers on trial were occupied; each leaves out what the ones before found. */
const MAX_RUNS = 10;

/** Decides until every number on trial that was picked is free, and is held for the transaction. */
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

/** Holds numbers, and gives those that are held elsewhere or have an unreported message. */
async function occupiedOf(session: Session, ids: readonly string[]): Promise<string[]> {
  const [locked, busy] = await Promise.all([session.all(hold, ids), session.all(selectBusy, ids)]);
  const free = new Set(locked.map((row) => row.id as string));
  for (const row of busy) free.delete(row.id as string);
  return ids.filter((id) => !free.has(id));
}
