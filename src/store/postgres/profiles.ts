import type { MessagingProfile } from "../../domain/messaging-profile.ts";
import { PROFILE_COLUMNS, profileFrom, profileValues } from "../codecs/profile.ts";
import type { Row } from "../codecs/row.ts";
import type { ConfigurationChange } from "../configuration-changes.ts";
import type { Counted } from "../pages.ts";
import type { ProfileQuery, ProfileStore } from "../profiles.ts";
import { type Configuration, recordChanges } from "./configuration-changes.ts";
import type { Database } from "./database.ts";
import { conditions, counted } from "./lists.ts";
import { lockNumbersOfDeleted, rewriteNumbers } from "./numbers.ts";
import type { Session } from "./session.ts";
import { statement, type Value } from "./statement.ts";

const columns = PROFILE_COLUMNS.join(", ");
const marks = PROFILE_COLUMNS.map((_, index) => `$${index + 1}`).join(", ");

const insert = statement(`INSERT INTO messaging_profiles (${columns}) VALUES (${marks})`);
const select = statement<Row>(
  `SELECT ${columns} FROM messaging_profiles WHERE organization_id = $1 AND id = $2 AND deleted_at IS NULL`,
);
const lockToChange = statement<Row>(`${select.text} FOR NO KEY UPDATE`);
const lockToDelete = statement<Row>(`${select.text} FOR UPDATE`);
const update = statement(
  `UPDATE messaging_profiles SET (${columns}) = ROW(${marks}) WHERE organization_id = $1 AND id = $2`,
);
const setDeleted = statement("UPDATE messaging_profiles SET deleted_at = $3 WHERE organization_id = $1 AND id = $2");
const lockDeleted = statement<Row>(
  `SELECT organization_id, id, deleted_at FROM messaging_profiles WHERE deleted_at IS NOT NULL ORDER BY deleted_at LIMIT 1
   FOR UPDATE SKIP LOCKED`,
);
const remove = statement(
  `DELETE FROM messaging_profiles p WHERE p.organization_id = $1 AND p.id = $2 AND NOT EXISTS (
     SELECT FROM phone_numbers n WHERE n.organization_id = p.organization_id AND n.messaging_profile_id = p.id)`,
);

/** Profiles on a database. */
export function createProfiles(database: Database, { configure }: Configuration): ProfileStore {
  return {
    insertProfile: (profile) => configure((session) => insertProfile(session, profile)),
    getProfile: (organizationId, id) => getProfile(database, organizationId, id),
    listProfiles: (organizationId, query) => database.read((session) => listProfiles(session, organizationId, query)),
    updateProfile: (organizationId, id, change) =>
      configure((session) => updateProfile(session, organizationId, id, change)),
    deleteProfile: (organizationId, id, at) => configure((session) => deleteProfile(session, organizationId, id, at)),
    unassignNumbers: (limit) => database.transact((session) => unassignNumbers(session, limit)),
  };
}

async function insertProfile(session: Session, profile: MessagingProfile): Promise<void> {
  void session.run(insert, ...(profileValues(profile) as Value[]));
  recordChanges(session, [changeOf(profile)]);
}

/** Reads a profile; undefined when it does not exist. */
export async function getProfile(
  session: Session,
  organizationId: string,
  id: string,
): Promise<MessagingProfile | undefined> {
  const row = await session.get(select, organizationId, id);
  return row === undefined ? undefined : profileFrom(row);
}

/** Needs one snapshot of the database. */
function listProfiles(
  session: Session,
  organizationId: string,
  query: ProfileQuery,
): Promise<Counted<MessagingProfile>> {
  const where = conditions([
    ["organization_id = ? AND deleted_at IS NULL", organizationId],
    ["name = ?", query.nameEquals],
    // In the collation "C" only ASCII letters have two cases.
    ['position(lower(?::text COLLATE "C") IN lower(name)) > 0', query.nameContains],
  ]);
  return counted(session, columns, "messaging_profiles", where, "sequence DESC", query, profileFrom);
}

async function updateProfile(
  session: Session,
  organizationId: string,
  id: string,
  change: (profile: MessagingProfile) => MessagingProfile,
): Promise<MessagingProfile | undefined> {
  const row = await session.get(lockToChange, organizationId, id);
  if (row === undefined) return undefined;
  const before = profileFrom(row);
  const profile = change(before);
  if (profile === before) return profile;
  void session.run(update, ...(profileValues(profile) as Value[]));
  recordChanges(session, [changeOf(profile)]);
  return profile;
}

async function deleteProfile(
  session: Session,
  organizationId: string,
  id: string,
  at: number,
): Promise<MessagingProfile | undefined> {
  // The lock waits for transactions that assign a number to the profile, and later ones miss it.
  const row = await session.get(lockToDelete, organizationId, id);
  if (row === undefined) return undefined;
  const profile = profileFrom(row);
  void session.run(setDeleted, organizationId, id, at);
  recordChanges(session, [changeOf(profile)]);
  return profile;
}

/** Removes the row of the profile after its last number. */
async function unassignNumbers(session: Session, limit: number) {
  const row = await session.get(lockDeleted);
  if (row === undefined) return { unassigned: 0, isMore: false };
  const [organizationId, id, deletedAt] = [row.organization_id as string, row.id as string, row.deleted_at as number];
  const numbers = await lockNumbersOfDeleted(session, { organizationId, id, deletedAt }, limit);
  rewriteNumbers(session, numbers);
  if (numbers.length < limit) void session.run(remove, organizationId, id);
  return { unassigned: numbers.length, isMore: numbers.length > 0 };
}

function changeOf({ organizationId, id }: MessagingProfile): ConfigurationChange {
  return { kind: "messaging_profile", organizationId, id };
}
