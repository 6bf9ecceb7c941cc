import type { Row } from "../codecs/row.ts";
import type { Store } from "../store.ts";
import type { Session } from "./session.ts";
import { statement } from "./statement.ts";

// Rows that another process is about to forget are passed over.
const forgetKeys = statement(
  `DELETE FROM idempotency_keys WHERE (organization_id, method, key) IN (
     SELECT organization_id, method, key FROM idempotency_keys WHERE created_at < $1 ORDER BY created_at LIMIT $2
     FOR UPDATE SKIP LOCKED)`,
);
const forgetRecent = statement(
  `DELETE FROM recent_sends WHERE (second, request_hash, message_id) IN (
     SELECT second, request_hash, message_id FROM recent_sends WHERE second < $1 ORDER BY second LIMIT $2
     FOR UPDATE SKIP LOCKED)`,
);
const forgetMappings = statement(
  `DELETE FROM sticky_mappings WHERE (organization_id, messaging_profile_id, "to") IN (
     SELECT organization_id, messaging_profile_id, "to" FROM sticky_mappings WHERE last_message_at < $1
     ORDER BY last_message_at LIMIT $2 FOR UPDATE SKIP LOCKED)`,
);
const forgetReceipts = statement(
  `DELETE FROM unmatched_receipts WHERE sequence IN (
     SELECT sequence FROM unmatched_receipts WHERE received_at < $1 ORDER BY received_at LIMIT $2 FOR UPDATE SKIP LOCKED)`,
);
const selectHold = statement<Row>("SELECT min(held_since) AS held_since FROM delivery_holds");
const deleteHolds = statement("DELETE FROM delivery_holds");
const selectClock = statement<Row>("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now");
const writeProbe = statement("UPDATE write_probes SET count = count + 1");

/** Forgets what is older than the moments given, at most so many of each kind. */
export async function forget(session: Session, before: Parameters<Store["forget"]>[0], limit: number): Promise<number> {
  const forgotten = await Promise.all([
    session.run(forgetKeys, before.keys, limit),
    session.run(forgetRecent, Math.floor(before.recentSends / 1000), limit),
    session.run(forgetMappings, before.stickyMappings, limit),
    session.run(forgetReceipts, before.unmatchedReceipts, limit),
  ]);
  return forgotten.reduce((sum, count) => sum + count, 0);
}

/** Since when delivery is held; undefined: it is not. */
export async function readDeliveryHold(session: Session): Promise<number | undefined> {
  const row = await session.get(selectHold);
  return (row?.held_since as number | null | undefined) ?? undefined;
}

/** The server's time of day, milliseconds since 1970. */
export async function readClock(session: Session): Promise<number> {
  return (await session.get(selectClock))?.now as number;
}

/** Ends the hold of delivery. */
export async function endDeliveryHold(session: Session): Promise<void> {
  await session.run(deleteHolds);
}

/** Writes something that has to get to the disk. */
export async function probe(session: Session): Promise<void> {
  await session.run(writeProbe);
}
