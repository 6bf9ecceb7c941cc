import { resetCounts } from "../../domain/health.ts";
import type { PhoneNumber } from "../../domain/phone-number-record.ts";
import { healthFrom, NUMBER_COLUMNS, numberFrom, numberValues } from "../codecs/number.ts";
import type { Row } from "../codecs/row.ts";
import type { ConfigurationChange } from "../configuration-changes.ts";
import type { NumberFound, NumberQuery, NumberWritten } from "../numbers.ts";
import type { Counted } from "../pages.ts";
import { noteChanges } from "./configuration-changes.ts";
import { conditions, counted } from "./lists.ts";
import { columnsOf, givenRows, listsOf } from "./row-lists.ts";
import type { Session } from "./session.ts";
import { statement, type Value } from "./statement.ts";

const TYPES: Readonly<Record<(typeof NUMBER_COLUMNS)[number], string>> = {
  organization_id: "text",
  id: "text",
  phone_number: "text",
  messaging_profile_id: "text",
  carrier: "text",
  line_type: "text",
  segments_per_second: "float8",
  daily_segment_limit: "integer",
  state: "text",
  country_code: "text",
  tags: "text",
  generation: "integer",
  created_at: "bigint",
  updated_at: "bigint",
};

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
// Those that are being changed come in a later step.
const lockOfProfile = statement<Row>(
  `SELECT ${columns} FROM phone_numbers WHERE organization_id = $1 AND messaging_profile_id = $2
   ORDER BY id LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED`,
);
// A profile that numbers are about to be assigned to cannot go before they are.
const lockProfiles = statement<Row>(
  `SELECT organization_id, id FROM messaging_profiles WHERE organization_id = $1 AND id = ANY ($2) AND deleted_at IS NULL
   ORDER BY id FOR KEY SHARE`,
);
/** What registrations hold in turn, so that each sees the ones before it: the bytes of "number", which nobody else takes. */
const LOCK = 0x6e75_6d62_6572;
// Taken before anything else, so that it closes no circle with locks of profiles and of changes.
const takeTurns = statement(`SELECT pg_advisory_xact_lock(${LOCK})`);
const selectTaken = statement<{ phone_number: string }>(
  "SELECT DISTINCT phone_number FROM phone_numbers WHERE organization_id <> $1 AND phone_number = ANY ($2)",
);
const selectOwn = statement<{ phone_number: string }>(
  "SELECT phone_number FROM phone_numbers WHERE organization_id = $1 AND phone_number = ANY ($2)",
);
const insert = statement<{ id: string }>(
  `WITH added AS (
     INSERT INTO phone_numbers (${columns}) SELECT ${columns} FROM ${givenRows("given", TYPES)}
     ON CONFLICT (organization_id, phone_number) DO NOTHING RETURNING id
   ), health AS (
     INSERT INTO number_health (phone_number_id, delivered, failed, spam, inbound, as_of, changed_by)
     SELECT id, 0, 0, 0, 0, 0, '0' FROM added
   )
   SELECT id FROM added`,
);
const rewrite = statement(
  `UPDATE phone_numbers n SET (${columns}) = ROW(${columnsOf("given", NUMBER_COLUMNS)})
   FROM ${givenRows("given", TYPES)} WHERE n.organization_id = given.organization_id AND n.id = given.id`,
);
const reset = statement<Row>(
  `UPDATE number_health SET delivered = 0, failed = 0, spam = 0, inbound = 0, as_of = $2, reset_at = $2,
     changed_by = pg_current_xact_id()
   WHERE phone_number_id = $1 RETURNING phone_number_id`,
);
const remove = statement("DELETE FROM phone_numbers WHERE organization_id = $1 AND id = $2");

/** Registers a number. */
export async function insertNumber(
  session: Session,
  number: PhoneNumber,
  mayBeShared: boolean,
): Promise<NumberWritten> {
  const [kind] = await insertNumbers(session, [number], mayBeShared);
  if (kind !== "written") return { kind: kind as "exists" | "taken" | "unknownProfile" };
  return { kind, number, health: healthFrom({}) };
}

/** Registers numbers of one organization, those that can be, in this order. */
export async function insertNumbers(
  session: Session,
  numbers: readonly PhoneNumber[],
  mayBeShared: boolean,
): Promise<NumberWritten["kind"][]> {
  const taken = new Set(mayBeShared ? [] : await takenAlone(session, numbers));
  const profileIds = new Set(numbers.flatMap(({ messagingProfileId }) => messagingProfileId ?? []));
  const known = await knownProfiles(session, numbers[0]?.organizationId ?? "", [...profileIds]);
  const refusalOf = ({ messagingProfileId, phoneNumber }: PhoneNumber) => {
    if (messagingProfileId !== undefined && !known.has(messagingProfileId)) return "unknownProfile";
    return taken.has(phoneNumber) ? "taken" : undefined;
  };
  const fitting = numbers.filter((number) => refusalOf(number) === undefined);
  const rows = fitting.length === 0 ? [] : await session.all(insert, ...listsOf(TYPES, fitting.map(numberValues)));
  const written = new Set(rows.map(({ id }) => id));
  noteChanges(session, fitting.filter(({ id }) => written.has(id)).map(changeOf));
  return numbers.map((number) => refusalOf(number) ?? (written.has(number.id) ? "written" : "exists"));
}

/** Which of these phone numbers other organizations registered. */
export async function listTaken(
  session: Session,
  organizationId: string,
  phoneNumbers: readonly string[],
): Promise<string[]> {
  const rows = await session.all(selectTaken, organizationId, phoneNumbers as Value);
  return rows.map((row) => row.phone_number);
}

/** Phone numbers that other organizations have and this one does not; nobody else registers any until this transaction ends. */
async function takenAlone(session: Session, numbers: readonly PhoneNumber[]): Promise<string[]> {
  const organizationId = numbers[0]?.organizationId;
  if (organizationId === undefined) return [];
  const phoneNumbers = numbers.map(({ phoneNumber }) => phoneNumber);
  await session.run(takeTurns);
  const [taken, own] = await Promise.all([
    listTaken(session, organizationId, phoneNumbers),
    session.all(selectOwn, organizationId, phoneNumbers),
  ]);
  const isOwn = new Set(own.map((row) => row.phone_number));
  return taken.filter((phoneNumber) => !isOwn.has(phoneNumber));
}

/** One number by its id or +E.164. */
export async function getNumber(
  session: Session,
  organizationId: string,
  idOrPhoneNumber: string,
): Promise<NumberFound | undefined> {
  const select = idOrPhoneNumber.startsWith("+") ? selectByE164 : selectById;
  const row = await session.get(select, organizationId, idOrPhoneNumber);
  return row === undefined ? undefined : found(row);
}

/** A page of numbers by +E.164; wants one state of the database. */
export function listNumbers(
  session: Session,
  organizationId: string,
  query: NumberQuery,
): Promise<Counted<NumberFound>> {
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

/** Changes a number that nobody else changes meanwhile. */
export async function updateNumber(
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
  // Where it stays in its profile, nothing is waited for: a profile that is deleted goes after its numbers.
  if (messagingProfileId !== undefined && messagingProfileId !== before.number.messagingProfileId) {
    const known = await knownProfiles(session, organizationId, [messagingProfileId]);
    if (!known.has(messagingProfileId)) return { kind: "unknownProfile" };
  }
  rewriteNumbers(session, [number]);
  noteChanges(session, [changeOf(number)]);
  return { kind: "written", number, health: before.health };
}

/** Forgets what outcomes said about a number: it is a change of configuration, so that every pool reads the number again. */
export async function resetHealth(
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
  noteChanges(session, [changeOf(number)]);
  return { number, health: resetCounts(at) };
}

/** Removes a number. Claims end what it still has queued. */
export async function removeNumber(
  session: Session,
  organizationId: string,
  idOrPhoneNumber: string,
): Promise<NumberFound | undefined> {
  // No claim sends anything from its queue from here on.
  const lock = lockToRemove[idOrPhoneNumber.startsWith("+") ? 1 : 0];
  const row = await session.get(lock, organizationId, idOrPhoneNumber);
  if (row === undefined) return undefined;
  const { id } = row as { id: string };
  void session.run(remove, organizationId, id);
  noteChanges(session, [{ kind: "phone_number", organizationId, id }]);
  return found(row);
}

/** Locks up to `limit` numbers of a profile that was deleted; gives them as they are without it. */
export async function lockNumbersOfDeleted(
  session: Session,
  { organizationId, id, deletedAt }: { organizationId: string; id: string; deletedAt: number },
  limit: number,
): Promise<PhoneNumber[]> {
  const rows = await session.all(lockOfProfile, organizationId, id, limit);
  return rows.map((row) => numberFrom({ ...row, profile_deleted_at: deletedAt }));
}

/** Writes the records of numbers that are there; their traffic stays as it is. */
export function rewriteNumbers(session: Session, numbers: readonly PhoneNumber[]): void {
  if (numbers.length > 0) void session.run(rewrite, ...listsOf(TYPES, numbers.map(numberValues)));
}

async function knownProfiles(
  session: Session,
  organizationId: string,
  ids: readonly string[],
): Promise<ReadonlySet<string>> {
  if (ids.length === 0) return new Set();
  const rows = await session.all(lockProfiles, organizationId, ids as Value);
  return new Set(rows.map((row) => row.id as string));
}

function changeOf({ organizationId, id }: PhoneNumber): ConfigurationChange {
  return { kind: "phone_number", organizationId, id };
}

function found(row: Row): NumberFound {
  return { number: numberFrom(row), health: healthFrom(row) };
}
