import { numberFrom, numberValues } from "../codecs/number.ts";
import { PROFILE_COLUMNS, profileFrom, profileValues } from "../codecs/profile.ts";
import type { Row } from "../codecs/row.ts";
import type { ProfileStore } from "../profiles.ts";
import type { Configuration } from "./configuration-changes.ts";
import { conditions, counted, marks } from "./lists.ts";
import { UPDATE_NUMBER } from "./numbers.ts";
import type { Connection } from "./open.ts";

/** Selects a profile by its organization and id. */
export const SELECT_PROFILE =
  "SELECT * FROM messaging_profiles WHERE organization_id = ? AND id = ? AND deleted_at IS NULL";

/** Prepares the statements about profiles. */
export function prepareProfiles(db: Connection, configuration: Configuration): ProfileStore {
  const { read, transact, configure, recordChange } = configuration;
  const insert = db.prepare(
    `INSERT INTO messaging_profiles (${PROFILE_COLUMNS.join(", ")}) VALUES (${marks(PROFILE_COLUMNS)})`,
  );
  const select = db.prepare(SELECT_PROFILE);
  const update = db.prepare(
    `UPDATE messaging_profiles SET (${PROFILE_COLUMNS.join(", ")}) = (${marks(PROFILE_COLUMNS)})
     WHERE organization_id = ? AND id = ?`,
  );
  const setDeleted = db.prepare("UPDATE messaging_profiles SET deleted_at = ? WHERE organization_id = ? AND id = ?");
  const unassign = prepareUnassign(db);
  const find = (organizationId: string, id: string) => {
    const row = select.get(organizationId, id) as Row | undefined;
    return row && profileFrom(row);
  };

  return {
    insertProfile: (profile) =>
      configure(() => {
        insert.run(profileValues(profile));
        recordChange("messaging_profile", profile.organizationId, profile.id);
      }),
    getProfile: (organizationId, id) => read(() => find(organizationId, id)),
    listProfiles: (organizationId, query) => {
      const where = conditions([
        ["organization_id = ? AND deleted_at IS NULL", organizationId],
        ["name = ?", query.nameEquals],
        ["instr(lower(name), lower(?)) > 0", query.nameContains],
      ]);
      return read(() => counted(db, "messaging_profiles", where, "sequence DESC", query, profileFrom));
    },
    updateProfile: (organizationId, id, change) =>
      configure(() => {
        const before = find(organizationId, id);
        if (before === undefined) return undefined;
        const profile = change(before);
        if (profile === before) return profile;
        update.run(...profileValues(profile), organizationId, id);
        recordChange("messaging_profile", organizationId, id);
        return profile;
      }),
    deleteProfile: (organizationId, id, at) =>
      configure(() => {
        const profile = find(organizationId, id);
        if (profile === undefined) return undefined;
        setDeleted.run(at, organizationId, id);
        recordChange("messaging_profile", organizationId, id);
        return profile;
      }),
    unassignNumbers: (limit) => transact(() => unassign(limit)),
  };
}

/**
 * Rewrites numbers of the profile that was deleted first, and removes the row of the profile after
 * the last number.
 */
function prepareUnassign(db: Connection) {
  const selectDeleted = db.prepare(
    `SELECT organization_id, id, deleted_at FROM messaging_profiles WHERE deleted_at IS NOT NULL
     ORDER BY deleted_at LIMIT 1`,
  );
  const selectMembers = db.prepare(
    "SELECT * FROM phone_numbers WHERE organization_id = +? AND messaging_profile_id = +? LIMIT +?",
  );
  const updateNumber = db.prepare(UPDATE_NUMBER);
  const remove = db.prepare("DELETE FROM messaging_profiles WHERE organization_id = ? AND id = ?");

  return (limit: number) => {
    const profile = selectDeleted.get() as Row | undefined;
    if (profile === undefined) return { unassigned: 0, isMore: false };
    const { organization_id: organizationId, id, deleted_at: deletedAt } = profile;
    const members = selectMembers.all(organizationId, id, limit) as Row[];
    for (const member of members) {
      const number = numberFrom({ ...member, profile_deleted_at: deletedAt });
      updateNumber.run(...numberValues(number), organizationId, number.id);
    }
    if (members.length < limit) remove.run(organizationId, id);
    return { unassigned: members.length, isMore: true };
  };
}
