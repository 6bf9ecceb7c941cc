import type { IdempotencyKey, IdempotencyRecord } from "../../domain/idempotency.ts";
import type { Row } from "../codecs/row.ts";
import { byText, givenRows, listsOf } from "./row-lists.ts";
import type { Session } from "./session.ts";
import { statement } from "./statement.ts";

const KEY_TYPES = { organization_id: "text", method: "text", key: "text" } as const;
const RECORD_TYPES = { ...KEY_TYPES, request_hash: "bytea", response: "bytea", created_at: "bigint" } as const;

const columns = Object.keys(RECORD_TYPES).join(", ");
const isGiven = "k.organization_id = given.organization_id AND k.method = given.method AND k.key = given.key";

const hold = statement<Row>(
  `INSERT INTO idempotency_keys (${columns}) SELECT organization_id, method, key, '', '', 0
   FROM ${givenRows("given", KEY_TYPES)} ON CONFLICT DO NOTHING RETURNING organization_id, method, key`,
);
const select = statement<Row>(
  `SELECT k.organization_id, k.method, k.key, k.request_hash, k.response, k.created_at
   FROM ${givenRows("given", KEY_TYPES)} JOIN idempotency_keys k ON ${isGiven} WHERE k.request_hash <> ''`,
);
// Replaces the placeholder that locks the key. An existing record fails the transaction, because
// the column is NOT NULL.
const put = statement(
  `INSERT INTO idempotency_keys AS k (${columns}) SELECT ${columns} FROM ${givenRows("given", RECORD_TYPES)}
   ON CONFLICT (organization_id, method, key) DO UPDATE SET
     request_hash = CASE WHEN k.request_hash = '' THEN excluded.request_hash END,
     response = excluded.response, created_at = excluded.created_at`,
);
const releaseKeys = statement(`DELETE FROM idempotency_keys k USING ${givenRows("given", KEY_TYPES)} WHERE ${isGiven}`);

/** Locked keys: the records of the used ones, and how to release the others. */
export type HeldKeys = {
  /** In the order of the keys. */
  readonly records: readonly (IdempotencyRecord | undefined)[];
  /** Releases the locked keys for which no record was written. */
  readonly release: (session: Session, written: readonly IdempotencyRecord[]) => void;
};

/** Writes records; a record replaces the placeholder that locks its key. */
export function putKeys(session: Session, records: readonly IdempotencyRecord[]): void {
  if (records.length > 0) void session.run(put, ...listsOf(RECORD_TYPES, records.map(recordValues)));
}

/**
 * Locks keys: inserts each without a response, so that an equal key in another transaction waits
 * until this one ends, and then reads its response.
 */
export async function holdKeys(session: Session, keys: readonly IdempotencyKey[]): Promise<HeldKeys> {
  const asked = [...new Map(keys.map((key) => [keyText(key), key])).values()].sort(byText(keyText));
  const lists = listsOf(KEY_TYPES, asked.map(keyValues));
  const [held, found] =
    asked.length === 0 ? [[], []] : await Promise.all([session.all(hold, ...lists), session.all(select, ...lists)]);
  const own = new Map(held.map((row) => [keyText(keyFrom(row)), keyFrom(row)]));
  const records = new Map(found.map((row) => [keyText(keyFrom(row)), recordFrom(row)]));
  return {
    records: keys.map((key) => records.get(keyText(key))),
    release: (writing, written) => {
      const idle = new Map(own);
      for (const record of written) idle.delete(keyText(record));
      if (idle.size > 0) void writing.run(releaseKeys, ...listsOf(KEY_TYPES, [...idle.values()].map(keyValues)));
    },
  };
}

function keyText({ organizationId, method, key }: IdempotencyKey): string {
  return `${organizationId} ${method} ${key}`;
}

function keyValues({ organizationId, method, key }: IdempotencyKey): unknown[] {
  return [organizationId, method, key];
}

function recordValues(record: IdempotencyRecord): unknown[] {
  return [...keyValues(record), record.requestHash, record.response, record.createdAt];
}

function keyFrom(row: Row): IdempotencyKey {
  return { organizationId: row.organization_id as string, method: row.method as string, key: row.key as string };
}

function recordFrom(row: Row): IdempotencyRecord {
  return {
    ...keyFrom(row),
    requestHash: row.request_hash as Uint8Array,
    response: row.response as Uint8Array,
    createdAt: row.created_at as number,
  };
}
