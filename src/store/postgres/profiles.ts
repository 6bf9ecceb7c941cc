import type { MessagingProfile } from "../../domain/messaging-profile.ts";
import { PROFILE_COLUMNS, profileFrom, profileValues } from "../codecs/profile.ts";
import type { Row } from "../codecs/row.ts";
import type { ConfigurationChange } from "../configuration-changes.ts";
import type { Counted } from "../pages.ts";
import type { ProfileQuery } from "../profiles.ts";
import { noteChanges } from "./configuration-changes.ts";
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

/** Keeps a new profile. */
export async function insertProfile(session: Session, profile: MessagingProfile): Promise<void> {
  void session.run(insert, ...(profileValues(profile) as Value[]));
  noteChanges(session, [changeOf(profile)]);
}

/** One profile by its id. */
export async function getProfile(
  session: Session,
  organizationId: string,
  id: string,
): Promise<MessagingProfile | undefined> {
  const row = await session.get(select, organizationId, id);
  return row === undefined ? undefined : profileFrom(row);
}

/** A page of profiles, newest first; wants one state of the database. */
export function listProfiles(
  session: Session,
  organizationId: string,
  query: ProfileQuery,
): Promise<Counted<MessagingProfile>> {
  const where = conditions([
    ["organization_id = ? AND deleted_at IS NULL", organizationId],
    ["name = ?", query.nameEquals],
    // With the plain order of bytes, only ASCII letters have two cases.
    ['position(lower(?::text COLLATE "C") IN lower(name)) > 0', query.nameContains],
  ]);
  return counted(session, columns, "messaging_profiles", where, "sequence DESC", query, profileFrom);
}

/** Changes a profile that nobody else changes meanwhile. */
export async function updateProfile(
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
  noteChanges(session, [changeOf(profile)]);
  return profile;
}

/** Deletes a profile, to whoever reads it or its numbers. */
export async function deleteProfile(
  session: Session,
  organizationId: string,
  id: string,
  at: number,
): Promise<MessagingProfile | undefined> {
  // Nobody can assign a number to it any more, and nobody is about to.
  const row = await session.get(lockToDelete, organizationId, id);
  if (row === undefined) return undefined;
  const profile = profileFrom(row);
  void session.run(setDeleted, organizationId, id, at);
  noteChanges(session, [changeOf(profile)]);
  return profile;
}

/** Rewrites up to `limit` numbers of a profile that was deleted, and removes the profile's row after the last. */
export async function unassignNumbers(session: Session, limit: number) {
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
