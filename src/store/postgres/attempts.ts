import { type AcceptReads, hashTextOf } from "../accept.ts";
import type { Row } from "../codecs/row.ts";
import { givenRows } from "./row-lists.ts";
import type { Session } from "./session.ts";
import { statement } from "./statement.ts";

const HOLD_TYPES = { key: "bigint", alone: "boolean" } as const;

// The server keeps these locks until the commit has ended, also while it waits for a standby, and
// also after this process stopped waiting.
const hold = statement<Row>(
  `SELECT CASE WHEN given.alone THEN pg_try_advisory_xact_lock(given.key) ELSE pg_try_advisory_xact_lock_shared(given.key) END AS held
   FROM ${givenRows("given", HOLD_TYPES)}`,
);

/**
 * Locks the hashes of first attempts shared and those of retries exclusively, without waiting;
 * gives the hashes that other transactions lock. A read after it sees what the first attempt of a
 * locked retry committed.
 */
export async function holdAttempts(
  session: Session,
  { firstAttempts = [], retries }: AcceptReads,
): Promise<ReadonlySet<string> | undefined> {
  if (firstAttempts.length === 0 && retries.length === 0) return undefined;
  const asked = new Map(firstAttempts.map((hash) => [hashTextOf(hash), { hash, alone: false }]));
  for (const { requestHash } of retries) asked.set(hashTextOf(requestHash), { hash: requestHash, alone: true });
  const attempts = [...asked.values()];
  const rows = await session.all(
    hold,
    attempts.map(({ hash }) => String(lockKey(hash))),
    attempts.map(({ alone }) => alone),
  );
  return new Set([...asked.keys()].filter((_, place) => rows[place]?.held !== true));
}

function lockKey(hash: Uint8Array): bigint {
  return Buffer.from(hash.buffer, hash.byteOffset, hash.byteLength).readBigInt64BE();
}
