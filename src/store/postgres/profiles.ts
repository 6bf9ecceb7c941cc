import type { MessagingProfile } from "../../domain/messaging-profile.ts";
import type { PhoneNumber } from "../../domain/phone-number-record.ts";
import { PROFILE_COLUMNS, profileFrom, profileValues, type Row } from "../rows.ts";
import type { ConfigurationChange, Counted, ProfileQuery } from "../store.ts";
import { noteChanges } from "./changes.ts";
import { conditions, counted } from "./lists.ts";
import { lockNumbersOfProfile, rewriteNumbers } from "./numbers.ts";
import type { Session } from "./session.ts";
import { statement, type Value } from "./statement.ts";

const columns = PROFILE_COLUMNS.join(", ");
const marks = PROFILE_COLUMNS.map((_, index) => `$${index + 1}`).join(", ");

const insert = statement(`INSERT INTO messaging_profiles (${columns}) VALUES (${marks})`);
const select = statement<Row>(`SELECT ${columns} FROM messaging_profiles WHERE organization_id = $1 AND id = $2`);
const lockToChange = statement<Row>(`${select.text} FOR NO KEY UPDATE`);
const lockToDelete = statement<Row>(`${select.text} FOR UPDATE`);
const update = statement(
  `UPDATE messaging_profiles SET (${columns}) = ROW(${marks}) WHERE organization_id = $1 AND id = $2`,
);
const remove = statement("DELETE FROM messaging_profiles WHERE organization_id = $1 AND id = $2");

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
    ["organization_id = ?", organizationId],
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
  const profile = change(profileFrom(row));
  void session.run(update, ...(profileValues(profile) as Value[]));
  noteChanges(session, [changeOf(profile)]);
  return profile;
}

/** Deletes a profile and unassigns its numbers. */
export async function deleteProfile(
  session: Session,
  organizationId: string,
  id: string,
  unassign: (number: PhoneNumber) => PhoneNumber,
): Promise<MessagingProfile | undefined> {
  // Nobody can assign a number to it any more, and nobody is about to.
  const row = await session.get(lockToDelete, organizationId, id);
  if (row === undefined) return undefined;
  const profile = profileFrom(row);
  const numbers = (await lockNumbersOfProfile(session, organizationId, id)).map(unassign);
  rewriteNumbers(session, numbers);
  void session.run(remove, organizationId, id);
  const unassigned = numbers.map((number) => ({ kind: "phone_number" as const, organizationId, id: number.id }));
  noteChanges(session, [...unassigned, changeOf(profile)]);
  return profile;
}

function changeOf({ organizationId, id }: MessagingProfile): ConfigurationChange {
  return { kind: "messaging_profile", organizationId, id };
}
