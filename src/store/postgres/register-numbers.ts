import type { PhoneNumber } from "../../domain/phone-number-record.ts";
import { healthFrom, NUMBER_COLUMNS, numberValues } from "../codecs/number.ts";
import type { Row } from "../codecs/row.ts";
import type { ConfigurationChange } from "../configuration-changes.ts";
import type { NumberWritten } from "../numbers.ts";
import { recordChanges } from "./configuration-changes.ts";
import { givenRows, listsOf } from "./row-lists.ts";
import type { Session } from "./session.ts";
import { statement, type Value } from "./statement.ts";

/** The types of the columns of a number. */
export const NUMBER_TYPES: Readonly<Record<(typeof NUMBER_COLUMNS)[number], string>> = {
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

const columns = NUMBER_COLUMNS.join(", ");
// A profile stays until the numbers that are being assigned to it are written.
const lockProfiles = statement<Row>(
  `SELECT organization_id, id FROM messaging_profiles WHERE organization_id = $1 AND id = ANY ($2) AND deleted_at IS NULL
   ORDER BY id FOR KEY SHARE`,
);
/**
 * The lock that registrations take in turn, so that each sees the ones before it: the bytes of
 * "number".
 */
const LOCK = 0x6e75_6d62_6572;
// The first lock of its transaction, so that it forms no cycle with locks of profiles and of
// changes.
const takeTurns = statement(`SELECT pg_advisory_xact_lock(${LOCK})`);
const selectTaken = statement<{ phone_number: string }>(
  "SELECT DISTINCT phone_number FROM phone_numbers WHERE organization_id <> $1 AND phone_number = ANY ($2)",
);
const selectOwn = statement<{ phone_number: string }>(
  "SELECT phone_number FROM phone_numbers WHERE organization_id = $1 AND phone_number = ANY ($2)",
);
const insert = statement<{ id: string }>(
  `WITH added AS (
     INSERT INTO phone_numbers (${columns}) SELECT ${columns} FROM ${givenRows("given", NUMBER_TYPES)}
     ON CONFLICT (organization_id, phone_number) DO NOTHING RETURNING id
   ), health AS (
     INSERT INTO number_health (phone_number_id, delivered, failed, spam, inbound, as_of, changed_by)
     SELECT id, 0, 0, 0, 0, 0, '0' FROM added
   )
   SELECT id FROM added`,
);

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

/** Registers numbers of one organization and gives the outcome of each, in order. */
export async function insertNumbers(
  session: Session,
  numbers: readonly PhoneNumber[],
  mayBeShared: boolean,
): Promise<NumberWritten["kind"][]> {
  const taken = new Set(mayBeShared ? [] : await takenInTurn(session, numbers));
  const profileIds = new Set(numbers.flatMap(({ messagingProfileId }) => messagingProfileId ?? []));
  const known = await knownProfiles(session, numbers[0]?.organizationId ?? "", [...profileIds]);
  const refusalOf = ({ messagingProfileId, phoneNumber }: PhoneNumber) => {
    if (messagingProfileId !== undefined && !known.has(messagingProfileId)) return "unknownProfile";
    return taken.has(phoneNumber) ? "taken" : undefined;
  };
  const fitting = numbers.filter((number) => refusalOf(number) === undefined);
  const rows =
    fitting.length === 0 ? [] : await session.all(insert, ...listsOf(NUMBER_TYPES, fitting.map(numberValues)));
  const written = new Set(rows.map(({ id }) => id));
  recordChanges(session, fitting.filter(({ id }) => written.has(id)).map(changeOf));
  return numbers.map((number) => refusalOf(number) ?? (written.has(number.id) ? "written" : "exists"));
}

/** Those of these phone numbers that other organizations registered. */
export async function listTaken(
  session: Session,
  organizationId: string,
  phoneNumbers: readonly string[],
): Promise<string[]> {
  const rows = await session.all(selectTaken, organizationId, phoneNumbers as Value);
  return rows.map((row) => row.phone_number);
}

/**
 * Those of these phone numbers that other organizations registered and this one did not. No other
 * transaction registers a number until this one ends.
 */
async function takenInTurn(session: Session, numbers: readonly PhoneNumber[]): Promise<string[]> {
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

/** Locks these profiles for the transaction, and gives the ids of those that exist. */
export async function knownProfiles(
  session: Session,
  organizationId: string,
  ids: readonly string[],
): Promise<ReadonlySet<string>> {
  if (ids.length === 0) return new Set();
  const rows = await session.all(lockProfiles, organizationId, ids as Value);
  return new Set(rows.map((row) => row.id as string));
}

/** The change of configuration of a number. */
export function changeOf({ organizationId, id }: PhoneNumber): ConfigurationChange {
  return { kind: "phone_number", organizationId, id };
}
