import { MAX_UNREPORTED_COUNTED, unreportedCount } from "../../domain/phone-number-record.ts";
import { assignedHealth, healthFrom, numberFrom } from "../codecs/number.ts";
import type { Row } from "../codecs/row.ts";
import type { Continued } from "../pages.ts";
import type { AssignedHealth, PoolRow, PoolRows } from "../pool-rows.ts";
import { FOUND_COLUMNS, NUMBERS_WITH_HEALTH } from "./numbers.ts";
import { getProfile } from "./profiles.ts";
import type { Session } from "./session.ts";
import { statement } from "./statement.ts";

/** Bounded: what a number sent and awaits receipts for grows with its history. */
const counted = (status: "sending" | "sent") =>
  `(SELECT count(*) FROM (SELECT FROM messages s WHERE s.phone_number_id = n.id AND s.status = '${status}'
     LIMIT ${MAX_UNREPORTED_COUNTED + 1}) counted)`;
// The queue's segments stand in the index.
const select = `SELECT ${FOUND_COLUMNS}, n.sequence, n.due_at, n.used_day, n.used_segments, q.segments, q.messages,
    ${counted("sending")} AS sending, ${counted("sent")} AS sent
  FROM ${NUMBERS_WITH_HEALTH} CROSS JOIN LATERAL (
    SELECT coalesce(sum(m.parts), 0) AS segments, count(*) AS messages FROM messages m
    WHERE m.phone_number_id = n.id AND m.status = 'queued'
  ) q`;
const selectOfProfile = statement<Row>(
  `${select} WHERE n.organization_id = $1 AND n.messaging_profile_id = $2 ORDER BY n.sequence`,
);
const selectOne = statement<Row>(`${select} WHERE n.id = $1`);

const selectHealth = statement<Row>(
  `SELECT h.*, n.organization_id, n.messaging_profile_id
   FROM (SELECT * FROM number_health WHERE phone_number_id > $1 ORDER BY phone_number_id LIMIT $2) h
     LEFT JOIN phone_numbers n ON n.id = h.phone_number_id ORDER BY h.phone_number_id`,
);

// Jumps from carrier to carrier: what is configured costs nothing, however many numbers it has.
const selectUnreachable = statement<Row>(
  `WITH RECURSIVE carriers (carrier) AS (
     SELECT min(carrier) FROM phone_numbers
     UNION ALL
     SELECT (SELECT min(carrier) FROM phone_numbers WHERE carrier > carriers.carrier)
     FROM carriers WHERE carriers.carrier IS NOT NULL
   )
   SELECT c.carrier, (SELECT count(*) FROM phone_numbers n WHERE n.carrier = c.carrier) AS numbers
   FROM carriers c WHERE c.carrier <> ALL ($1)`,
);

/** Numbers that are reached through none of these carriers, by carrier. */
export async function countUnreachable(
  session: Session,
  carriers: readonly string[],
): Promise<ReadonlyMap<string, number>> {
  const rows = await session.all(selectUnreachable, carriers);
  return new Map(rows.map((row) => [row.carrier as string, row.numbers as number]));
}

/** What a pool is built from; wants one state of the database. */
export async function loadPool(
  session: Session,
  organizationId: string,
  profileId: string,
): Promise<PoolRows | undefined> {
  const [profile, rows] = await Promise.all([
    getProfile(session, organizationId, profileId),
    session.all(selectOfProfile, organizationId, profileId),
  ]);
  return profile === undefined ? undefined : { profile, numbers: rows.map(poolRow) };
}

/** A step over the health of numbers that are assigned, by id. */
export async function listHealth(session: Session, limit: number, after = ""): Promise<Continued<AssignedHealth>> {
  return assignedHealth(await session.all(selectHealth, after, limit), limit);
}

/** One number with its traffic. */
export async function loadPoolNumber(session: Session, id: string): Promise<PoolRow | undefined> {
  const row = await session.get(selectOne, id);
  return row === undefined ? undefined : poolRow(row);
}

function poolRow(row: Row): PoolRow {
  const traffic = {
    health: healthFrom(row),
    sequence: row.sequence as number,
    dueAt: row.due_at as number,
    queuedSegments: row.segments as number,
    unreported: unreportedCount((row.messages as number) + (row.sending as number) + (row.sent as number)),
    usedToday: row.used_segments as number,
    usedDay: row.used_day as number,
  };
  return { number: numberFrom(row), traffic };
}
