import { resetCounts } from "../../domain/health.ts";
import type { PhoneNumber } from "../../domain/phone-number-record.ts";
import { healthFrom, NUMBER_COLUMNS, numberFrom, numberValues } from "../codecs/number.ts";
import type { Row } from "../codecs/row.ts";
import type { NumberFound, NumberQuery, NumberStore, NumberWritten } from "../numbers.ts";
import type { Counted } from "../pages.ts";
import { type Configuration, recordChanges } from "./configuration-changes.ts";
import type { Database } from "./database.ts";
import { conditions, counted } from "./lists.ts";
import { changeOf, insertNumber, insertNumbers, knownProfiles, listTaken, NUMBER_TYPES } from "./register-numbers.ts";
import { columnsOf, givenRows, listsOf } from "./row-lists.ts";
import type { Session } from "./session.ts";
import { statement } from "./statement.ts";

/** The columns of a number with its health, as `numberFrom` and `healthFrom` read them. */
export const FOUND_COLUMNS = `${columnsOf("n", NUMBER_COLUMNS)}, h.delivered, h.failed, h.spam, h.inbound, h.as_of,
  h.reset_at, p.deleted_at AS profile_deleted_at`;
/** A number with its health, and with its profile where that was deleted, as an item of FROM. */
export const NUMBERS_WITH_HEALTH = `phone_numbers n LEFT JOIN number_health h ON h.phone_number_id = n.id
  LEFT JOIN messaging_profiles p ON p.organization_id = n.organization_id AND p.id = n.messaging_profile_id
    AND p.deleted_at IS NOT NULL`;

const columns = NUMBER_COLUMNS.join(", ");
const find = `SELECT ${FOUND_COLUMNS} FROM ${NUMBERS_WITH_HEALTH} WHERE n.organization_id = $1 AND`;
const selectById = statement<Row>(`${find} n.id = $2`);
const selectByE164 = statement<Row>(`${find} n.phone_number = $2`);
const lockToChange = [
  statement<Row>(`${selectById.text} FOR NO KEY UPDATE OF n`),
  statement<Row>(`${selectByE164.text} FOR NO KEY UPDATE OF n`),
] as const;
const lockToRemove = [
  statement<Row>(`${selectById.text} FOR UPDATE OF n`),
  statement<Row>(`${selectByE164.text} FOR UPDATE OF n`),
] as const;
// A number that another transaction changes follows in a later step.
const lockOfProfile = statement<Row>(
  `SELECT ${columns} FROM phone_numbers WHERE organization_id = $1 AND messaging_profile_id = $2
   ORDER BY id LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED`,
);
const rewrite = statement(
  `UPDATE phone_numbers n SET (${columns}) = ROW(${columnsOf("given", NUMBER_COLUMNS)})
   FROM ${givenRows("given", NUMBER_TYPES)} WHERE n.organization_id = given.organization_id AND n.id = given.id`,
);
const reset = statement<Row>(
  `UPDATE number_health SET delivered = 0, failed = 0, spam = 0, inbound = 0, as_of = $2, reset_at = $2,
     changed_by = pg_current_xact_id()
   WHERE phone_number_id = $1 RETURNING phone_number_id`,
);
const remove = statement("DELETE FROM phone_numbers WHERE organization_id = $1 AND id = $2");

// Jumps from carrier to carrier: configured carriers cost nothing, however many numbers they have.
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

/** Numbers on a database. */
export function createNumbers(database: Database, { configure }: Configuration): NumberStore {
  const { read } = database;
  return {
    insertNumber: (number, mayBeShared = false) => configure((session) => insertNumber(session, number, mayBeShared)),
    insertNumbers: (numbers, mayBeShared = false) =>
      configure((session) => insertNumbers(session, numbers, mayBeShared)),
    listTaken: (organizationId, phoneNumbers) => listTaken(database, organizationId, phoneNumbers),
    getNumber: (organizationId, id) => getNumber(database, organizationId, id),
    listNumbers: (organizationId, query) => read((session) => listNumbers(session, organizationId, query)),
    updateNumber: (organizationId, id, change) =>
      configure((session) => updateNumber(session, organizationId, id, change)),
    resetHealth: (organizationId, id, at) => configure((session) => resetHealth(session, organizationId, id, at)),
    removeNumber: (organizationId, id) => configure((session) => removeNumber(session, organizationId, id)),
    countUnreachable: (carriers) => read((session) => countUnreachable(session, carriers)),
  };
}

async function getNumber(
  session: Session,
  organizationId: string,
  idOrPhoneNumber: string,
): Promise<NumberFound | undefined> {
  const select = idOrPhoneNumber.startsWith("+") ? selectByE164 : selectById;
  const row = await session.get(select, organizationId, idOrPhoneNumber);
  return row === undefined ? undefined : found(row);
}

/** Needs one snapshot of the database. */
function listNumbers(session: Session, organizationId: string, query: NumberQuery): Promise<Counted<NumberFound>> {
  const where = conditions([
    ["n.organization_id = ?", organizationId],
    ["n.messaging_profile_id = ? AND p.deleted_at IS NULL", query.messagingProfileId],
    ["n.phone_number = ANY (?)", query.phoneNumbers],
    ["position(? IN n.phone_number) > 0", query.phoneNumberContains],
    ["n.line_type = ?", query.lineType],
  ]);
  const order = `n.phone_number ${query.descending ? "DESC" : "ASC"}`;
  return counted(session, FOUND_COLUMNS, NUMBERS_WITH_HEALTH, where, order, query, found);
}

async function updateNumber(
  session: Session,
  organizationId: string,
  idOrPhoneNumber: string,
  change: (number: PhoneNumber) => PhoneNumber,
): Promise<NumberWritten> {
  const lock = lockToChange[idOrPhoneNumber.startsWith("+") ? 1 : 0];
  const row = await session.get(lock, organizationId, idOrPhoneNumber);
  if (row === undefined) return { kind: "unknownNumber" };
  const before = found(row);
  const number = change(before.number);
  if (number === before.number) return { kind: "written", ...before };
  const { messagingProfileId } = number;
  // A number that stays in its profile needs no lock of it: a deleted profile is removed after its
  // numbers.
  if (messagingProfileId !== undefined && messagingProfileId !== before.number.messagingProfileId) {
    const known = await knownProfiles(session, organizationId, [messagingProfileId]);
    if (!known.has(messagingProfileId)) return { kind: "unknownProfile" };
  }
  rewriteNumbers(session, [number]);
  recordChanges(session, [changeOf(number)]);
  return { kind: "written", number, health: before.health };
}

/** A change of configuration, so that every pool reads the number again. */
async function resetHealth(
  session: Session,
  organizationId: string,
  idOrPhoneNumber: string,
  at: number,
): Promise<NumberFound | undefined> {
  const before = await getNumber(session, organizationId, idOrPhoneNumber);
  if (before === undefined) return undefined;
  const { number } = before;
  // It may have been removed since it was read.
  if ((await session.get(reset, number.id, at)) === undefined) return undefined;
  recordChanges(session, [changeOf(number)]);
  return { number, health: resetCounts(at) };
}

async function removeNumber(
  session: Session,
  organizationId: string,
  idOrPhoneNumber: string,
): Promise<NumberFound | undefined> {
  // From here on no claim sends from its queue.
  const lock = lockToRemove[idOrPhoneNumber.startsWith("+") ? 1 : 0];
  const row = await session.get(lock, organizationId, idOrPhoneNumber);
  if (row === undefined) return undefined;
  const { id } = row as { id: string };
  void session.run(remove, organizationId, id);
  recordChanges(session, [{ kind: "phone_number", organizationId, id }]);
  return found(row);
}

/** Locks at most `limit` numbers of a deleted profile, and gives them without the profile. */
export async function lockNumbersOfDeleted(
  session: Session,
  { organizationId, id, deletedAt }: { organizationId: string; id: string; deletedAt: number },
  limit: number,
): Promise<PhoneNumber[]> {
  const rows = await session.all(lockOfProfile, organizationId, id, limit);
  return rows.map((row) => numberFrom({ ...row, profile_deleted_at: deletedAt }));
}

/** Writes the columns of registered numbers; their traffic stays as it is. */
export function rewriteNumbers(session: Session, numbers: readonly PhoneNumber[]): void {
  if (numbers.length > 0) void session.run(rewrite, ...listsOf(NUMBER_TYPES, numbers.map(numberValues)));
}

async function countUnreachable(session: Session, carriers: readonly string[]): Promise<ReadonlyMap<string, number>> {
  const rows = await session.all(selectUnreachable, carriers);
  return new Map(rows.map((row) => [row.carrier as string, row.numbers as number]));
}

function found(row: Row): NumberFound {
  return { number: numberFrom(row), health: healthFrom(row) };
}
