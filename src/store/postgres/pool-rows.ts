import { MAX_UNREPORTED_COUNTED, unreportedCount } from "../../domain/phone-number-record.ts";
import { assignedHealth, healthFrom, numberFrom } from "../codecs/number.ts";
import type { Row } from "../codecs/row.ts";
import type { Continued } from "../pages.ts";
import type { AssignedHealth, PoolRow, PoolRowStore, PoolRows } from "../pool-rows.ts";
import type { Database } from "./database.ts";
import { decayed } from "./decay.ts";
import { FOUND_COLUMNS, NUMBERS_WITH_HEALTH } from "./numbers.ts";
import { getProfile } from "./profiles.ts";
import type { Session } from "./session.ts";
import { statement } from "./statement.ts";

/** Bounded: the messages that a number sent and that await receipts grow with its history. */
const counted = (status: "sending" | "sent") =>
  `(SELECT count(*) FROM (SELECT FROM messages s WHERE s.phone_number_id = n.id AND s.status = '${status}'
     LIMIT ${MAX_UNREPORTED_COUNTED + 1}) counted)`;
// The index contains the segments of the queue.
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

const selectTraffic = statement<Row>(
  `SELECT id, ${decayed("sent_lately", "$1::float8 - sent_lately_as_of")} AS messages
   FROM phone_numbers WHERE organization_id = $2 AND messaging_profile_id = $3 AND sent_lately > 0`,
);

/** What pools read on a database. */
export function createPoolRows(database: Database): PoolRowStore {
  return {
    loadPool: (organizationId, id) => database.read((session) => loadPool(session, organizationId, id)),
    loadPoolNumber: (id) => loadPoolNumber(database, id),
    listHealth: (limit, after) => listHealth(database, limit, after),
    listTraffic: (organizationId, profileId, now) => listTraffic(database, organizationId, profileId, now),
  };
}

/** Needs one snapshot of the database. */
async function loadPool(session: Session, organizationId: string, profileId: string): Promise<PoolRows | undefined> {
  const [profile, rows] = await Promise.all([
    getProfile(session, organizationId, profileId),
    session.all(selectOfProfile, organizationId, profileId),
  ]);
  return profile === undefined ? undefined : { profile, numbers: rows.map(poolRow) };
}

async function listHealth(session: Session, limit: number, after = ""): Promise<Continued<AssignedHealth>> {
  return assignedHealth(await session.all(selectHealth, after, limit), limit);
}

async function loadPoolNumber(session: Session, id: string): Promise<PoolRow | undefined> {
  const row = await session.get(selectOne, id);
  return row === undefined ? undefined : poolRow(row);
}

async function listTraffic(
  session: Session,
  organizationId: string,
  profileId: string,
  now: number,
): Promise<ReadonlyMap<string, number>> {
  const rows = await session.all(selectTraffic, now, organizationId, profileId);
  return new Map(rows.map((row) => [row.id as string, row.messages as number]));
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
