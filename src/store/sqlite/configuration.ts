import { resetCounts } from "../../domain/health.ts";
import type { MessagingProfile } from "../../domain/messaging-profile.ts";
import { MAX_UNREPORTED_COUNTED, type PhoneNumber, unreportedCount } from "../../domain/phone-number-record.ts";
import type { SequencedChange } from "../change-feed.ts";
import { assignedHealth, healthFrom, NUMBER_COLUMNS, numberFrom, numberValues } from "../codecs/number.ts";
import { PROFILE_COLUMNS, profileFrom, profileValues } from "../codecs/profile.ts";
import { optional, type Row } from "../codecs/row.ts";
import type { ConfigurationChange } from "../configuration-changes.ts";
import type { NumberFound, NumberQuery, NumberWritten } from "../numbers.ts";
import type { ApiKey, Organization } from "../organizations.ts";
import type { Continued, Counted } from "../pages.ts";
import type { AssignedHealth, PoolRow, PoolRows } from "../pool-rows.ts";
import type { ProfileQuery } from "../profiles.ts";
import { conditions, counted } from "./lists.ts";
import type { Connection } from "./open.ts";

/** Numbers with their health, and with the moment when their profile was deleted. */
const NUMBERS_WITH_HEALTH = `phone_numbers n LEFT JOIN number_health h ON h.phone_number_id = n.id
  LEFT JOIN (
    SELECT organization_id AS deleted_organization_id, id AS deleted_profile_id, deleted_at AS profile_deleted_at
    FROM messaging_profiles WHERE deleted_at IS NOT NULL
  ) p ON p.deleted_organization_id = n.organization_id AND p.deleted_profile_id = n.messaging_profile_id`;

/** The statements about organizations, keys, profiles and numbers. Each function runs inside a transaction of the caller. */
export function prepareConfiguration(db: Connection) {
  const noteChange = db.prepare("INSERT INTO configuration_changes (kind, organization_id, id) VALUES (?, ?, ?)");
  const changesAfter = db.prepare(
    "SELECT change_sequence, kind, organization_id, id FROM configuration_changes WHERE change_sequence > ? ORDER BY change_sequence LIMIT ?",
  );
  const lastChange = db.prepare("SELECT coalesce(max(change_sequence), 0) FROM configuration_changes").pluck();

  const insertOrganization = db.prepare("INSERT INTO organizations (id, name, created_at) VALUES (?, ?, ?)");
  const selectOrganizations = db.prepare("SELECT id, name, created_at FROM organizations ORDER BY created_at, id");
  const insertKey = db.prepare(
    "INSERT INTO api_keys (id, organization_id, name, secret_hash, scopes, created_at, revoked_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
  );
  const selectKeys = db.prepare("SELECT * FROM api_keys ORDER BY created_at, id");
  const revokeKey = db.prepare(
    "UPDATE api_keys SET revoked_at = coalesce(revoked_at, ?) WHERE id = ? RETURNING organization_id",
  );

  const insertProfile = db.prepare(
    `INSERT INTO messaging_profiles (${PROFILE_COLUMNS.join(", ")}) VALUES (${marks(PROFILE_COLUMNS)})`,
  );
  const selectProfile = db.prepare(
    "SELECT * FROM messaging_profiles WHERE organization_id = ? AND id = ? AND deleted_at IS NULL",
  );
  const updateProfile = db.prepare(
    `UPDATE messaging_profiles SET (${PROFILE_COLUMNS.join(", ")}) = (${marks(PROFILE_COLUMNS)})
     WHERE organization_id = ? AND id = ?`,
  );
  const setDeleted = db.prepare("UPDATE messaging_profiles SET deleted_at = ? WHERE organization_id = ? AND id = ?");
  const selectDeleted = db.prepare(
    "SELECT organization_id, id, deleted_at FROM messaging_profiles WHERE deleted_at IS NOT NULL ORDER BY deleted_at LIMIT 1",
  );
  const deleteProfile = db.prepare("DELETE FROM messaging_profiles WHERE organization_id = ? AND id = ?");

  const insertNumber = db.prepare(
    `INSERT INTO phone_numbers (${NUMBER_COLUMNS.join(", ")}) VALUES (${marks(NUMBER_COLUMNS)})
     ON CONFLICT (organization_id, phone_number) DO NOTHING`,
  );
  const selectTaken = db
    .prepare(
      `SELECT DISTINCT phone_number FROM phone_numbers
       WHERE organization_id <> ? AND phone_number IN (SELECT value FROM json_each(?))`,
    )
    .pluck();
  // +?, because a join that compares an indexed column with a bare parameter is planned anew for every value, which costs twenty
  // times as much as its rows.
  const withHealth = `SELECT * FROM ${NUMBERS_WITH_HEALTH}`;
  const selectNumber = db.prepare(`${withHealth} WHERE n.organization_id = +? AND n.id = +?`);
  const selectNumberByE164 = db.prepare(`${withHealth} WHERE n.organization_id = +? AND n.phone_number = +?`);
  const selectNumbersOfProfile = db.prepare(
    `${withHealth} WHERE n.organization_id = +? AND n.messaging_profile_id = +? ORDER BY n.sequence`,
  );
  const selectMembers = db.prepare(
    "SELECT * FROM phone_numbers WHERE organization_id = +? AND messaging_profile_id = +? LIMIT +?",
  );
  const selectHealth = db.prepare(
    `SELECT h.*, n.organization_id, n.messaging_profile_id
     FROM (SELECT * FROM number_health WHERE phone_number_id > +? ORDER BY phone_number_id LIMIT +?) h
       LEFT JOIN phone_numbers n ON n.id = h.phone_number_id ORDER BY h.phone_number_id`,
  );
  const selectNumberById = db.prepare(`${withHealth} WHERE n.id = +?`);
  const updateNumber = db.prepare(
    `UPDATE phone_numbers SET (${NUMBER_COLUMNS.join(", ")}) = (${marks(NUMBER_COLUMNS)})
     WHERE organization_id = ? AND id = ?`,
  );
  const deleteNumber = db.prepare("DELETE FROM phone_numbers WHERE organization_id = ? AND id = ?");
  const resetHealth = db.prepare(
    `INSERT INTO number_health (phone_number_id, delivered, failed, spam, inbound, as_of, reset_at) VALUES (?, 0, 0, 0, 0, ?, ?)
     ON CONFLICT DO UPDATE SET delivered = 0, failed = 0, spam = 0, inbound = 0, as_of = excluded.as_of,
       reset_at = excluded.reset_at`,
  );
  const deleteHealth = db.prepare("DELETE FROM number_health WHERE phone_number_id = ?");
  // The queue's segments stand in the index.
  const selectQueue = db.prepare(
    "SELECT sum(parts) AS segments, count(*) AS messages FROM messages WHERE status = 'queued' AND phone_number_id = ?",
  );
  // Bounded: what a number sent and awaits receipts for grows with its history.
  const countAtMost = (status: "sending" | "sent") =>
    db
      .prepare(
        `SELECT count(*) FROM (SELECT 1 FROM messages WHERE status = '${status}' AND phone_number_id = +?
           LIMIT ${MAX_UNREPORTED_COUNTED + 1})`,
      )
      .pluck();
  const countSending = countAtMost("sending");
  const countSent = countAtMost("sent");

  // Jumps from carrier to carrier: what is configured costs nothing, however many numbers it has.
  const selectUnreachable = db.prepare(
    `WITH RECURSIVE carriers (carrier) AS (
       SELECT min(carrier) FROM phone_numbers
       UNION ALL
       SELECT (SELECT min(carrier) FROM phone_numbers WHERE carrier > carriers.carrier)
       FROM carriers WHERE carriers.carrier IS NOT NULL
     )
     SELECT c.carrier, (SELECT count(*) FROM phone_numbers n WHERE n.carrier = c.carrier) AS numbers
     FROM carriers c WHERE c.carrier IS NOT NULL AND c.carrier NOT IN (SELECT value FROM json_each(?))`,
  );

  const changed = (kind: ConfigurationChange["kind"], organizationId: string, id: string) =>
    noteChange.run(kind, organizationId, id);

  const findNumber = (organizationId: string, idOrPhoneNumber: string): NumberFound | undefined => {
    const select = idOrPhoneNumber.startsWith("+") ? selectNumberByE164 : selectNumber;
    const row = select.get(organizationId, idOrPhoneNumber) as Row | undefined;
    return row === undefined ? undefined : found(row);
  };

  const knowsProfile = (number: PhoneNumber) =>
    number.messagingProfileId === undefined ||
    selectProfile.get(number.organizationId, number.messagingProfileId) !== undefined;

  const putNumber = (number: PhoneNumber, mayBeShared: boolean) => {
    if (!knowsProfile(number)) return "unknownProfile";
    const isTaken = () => selectTaken.get(number.organizationId, JSON.stringify([number.phoneNumber])) !== undefined;
    const isOwn = () => selectNumberByE164.get(number.organizationId, number.phoneNumber) !== undefined;
    if (!mayBeShared && isTaken() && !isOwn()) return "taken";
    if (insertNumber.run(numberValues(number)).changes === 0) return "exists";
    changed("phone_number", number.organizationId, number.id);
    return "written";
  };

  const poolRow = (row: Row): PoolRow => {
    const number = numberFrom(row);
    const queue = selectQueue.get(number.id) as { segments: number | null; messages: number };
    const underWay = (countSending.get(number.id) as number) + (countSent.get(number.id) as number);
    const traffic = {
      health: healthFrom(row),
      sequence: row.sequence as number,
      dueAt: row.due_at as number,
      queuedSegments: queue.segments ?? 0,
      unreported: unreportedCount(queue.messages + underWay),
      usedToday: row.used_segments as number,
      usedDay: row.used_day as number,
    };
    return { number, traffic };
  };

  return {
    changesAfter: (sequence: number, limit: number): SequencedChange[] =>
      (changesAfter.all(sequence, limit) as Row[]).map((row) => ({
        sequence: row.change_sequence as number,
        change: {
          kind: row.kind as ConfigurationChange["kind"],
          organizationId: row.organization_id as string,
          id: row.id as string,
        },
      })),
    lastChange: () => lastChange.get() as number,

    insertOrganization: (organization: Organization) => {
      insertOrganization.run(organization.id, organization.name, organization.createdAt);
    },
    listOrganizations: (): Organization[] =>
      (selectOrganizations.all() as Row[]).map((row) => ({
        id: row.id as string,
        name: row.name as string,
        createdAt: row.created_at as number,
      })),
    insertApiKey: (key: ApiKey) => {
      const { id, organizationId, name, secretHash, scopes, createdAt, revokedAt } = key;
      insertKey.run(id, organizationId, name, secretHash, scopes.join(" "), createdAt, revokedAt);
      changed("api_key", organizationId, id);
    },
    listApiKeys: (): ApiKey[] => (selectKeys.all() as Row[]).map(keyFrom),
    revokeApiKey: (id: string, at: number): boolean => {
      const row = revokeKey.get(at, id) as Row | undefined;
      if (row !== undefined) changed("api_key", row.organization_id as string, id);
      return row !== undefined;
    },

    insertProfile: (profile: MessagingProfile) => {
      insertProfile.run(profileValues(profile));
      changed("messaging_profile", profile.organizationId, profile.id);
    },
    getProfile: (organizationId: string, id: string): MessagingProfile | undefined => {
      const row = selectProfile.get(organizationId, id) as Row | undefined;
      return row === undefined ? undefined : profileFrom(row);
    },
    listProfiles: (organizationId: string, query: ProfileQuery): Counted<MessagingProfile> => {
      const where = conditions([
        ["organization_id = ? AND deleted_at IS NULL", organizationId],
        ["name = ?", query.nameEquals],
        ["instr(lower(name), lower(?)) > 0", query.nameContains],
      ]);
      return counted(db, "messaging_profiles", where, "sequence DESC", query, profileFrom);
    },
    updateProfile: (organizationId: string, id: string, change: (profile: MessagingProfile) => MessagingProfile) => {
      const row = selectProfile.get(organizationId, id) as Row | undefined;
      if (row === undefined) return undefined;
      const before = profileFrom(row);
      const profile = change(before);
      if (profile === before) return profile;
      updateProfile.run(...profileValues(profile), organizationId, id);
      changed("messaging_profile", organizationId, id);
      return profile;
    },
    deleteProfile: (organizationId: string, id: string, at: number) => {
      const row = selectProfile.get(organizationId, id) as Row | undefined;
      if (row === undefined) return undefined;
      setDeleted.run(at, organizationId, id);
      changed("messaging_profile", organizationId, id);
      return profileFrom(row);
    },
    unassignNumbers: (limit: number) => {
      const profile = selectDeleted.get() as Row | undefined;
      if (profile === undefined) return { unassigned: 0, isMore: false };
      const { organization_id: organizationId, id, deleted_at: deletedAt } = profile;
      const members = selectMembers.all(organizationId, id, limit) as Row[];
      for (const member of members) {
        const number = numberFrom({ ...member, profile_deleted_at: deletedAt });
        updateNumber.run(...numberValues(number), organizationId, number.id);
      }
      if (members.length < limit) deleteProfile.run(organizationId, id);
      return { unassigned: members.length, isMore: true };
    },

    insertNumber: (number: PhoneNumber, mayBeShared: boolean): NumberWritten => {
      const kind = putNumber(number, mayBeShared);
      if (kind !== "written") return { kind };
      return { kind, ...(findNumber(number.organizationId, number.id) as NumberFound) };
    },
    insertNumbers: (numbers: readonly PhoneNumber[], mayBeShared: boolean): NumberWritten["kind"][] =>
      numbers.map((number) => putNumber(number, mayBeShared)),
    listTaken: (organizationId: string, phoneNumbers: readonly string[]) =>
      selectTaken.all(organizationId, JSON.stringify(phoneNumbers)) as string[],
    countUnreachable: (carriers: readonly string[]) =>
      new Map(
        (selectUnreachable.all(JSON.stringify(carriers)) as Row[]).map((row) => [
          row.carrier as string,
          row.numbers as number,
        ]),
      ),
    getNumber: findNumber,
    listNumbers: (organizationId: string, query: NumberQuery): Counted<NumberFound> => {
      const where = conditions([
        ["organization_id = ?", organizationId],
        ["messaging_profile_id = ? AND profile_deleted_at IS NULL", query.messagingProfileId],
        [
          "phone_number IN (SELECT value FROM json_each(?))",
          query.phoneNumbers === undefined ? undefined : JSON.stringify(query.phoneNumbers),
        ],
        ["instr(phone_number, ?) > 0", query.phoneNumberContains],
        ["line_type = ?", query.lineType],
      ]);
      const order = `phone_number ${query.descending ? "DESC" : "ASC"}`;
      return counted(db, NUMBERS_WITH_HEALTH, where, order, query, found);
    },
    updateNumber: (
      organizationId: string,
      idOrPhoneNumber: string,
      change: (number: PhoneNumber) => PhoneNumber,
    ): NumberWritten => {
      const current = findNumber(organizationId, idOrPhoneNumber);
      if (current === undefined) return { kind: "unknownNumber" };
      const number = change(current.number);
      if (number === current.number) return { kind: "written", ...current };
      if (!knowsProfile(number)) return { kind: "unknownProfile" };
      updateNumber.run(...numberValues(number), organizationId, number.id);
      changed("phone_number", organizationId, number.id);
      return { kind: "written", number, health: current.health };
    },
    resetHealth: (organizationId: string, idOrPhoneNumber: string, at: number): NumberFound | undefined => {
      const current = findNumber(organizationId, idOrPhoneNumber);
      if (current === undefined) return undefined;
      const { number } = current;
      resetHealth.run(number.id, at, at);
      changed("phone_number", organizationId, number.id);
      return { number, health: resetCounts(at) };
    },
    removeNumber: (organizationId: string, idOrPhoneNumber: string): NumberFound | undefined => {
      const current = findNumber(organizationId, idOrPhoneNumber);
      if (current === undefined) return undefined;
      const { id } = current.number;
      deleteNumber.run(organizationId, id);
      deleteHealth.run(id);
      changed("phone_number", organizationId, id);
      return current;
    },

    loadPool: (organizationId: string, profileId: string): PoolRows | undefined => {
      const profile = selectProfile.get(organizationId, profileId) as Row | undefined;
      if (profile === undefined) return undefined;
      const numbers = (selectNumbersOfProfile.all(organizationId, profileId) as Row[]).map(poolRow);
      return { profile: profileFrom(profile), numbers };
    },
    listHealth: (limit: number, after = ""): Continued<AssignedHealth> =>
      assignedHealth(selectHealth.all(after, limit) as Row[], limit),
    loadPoolNumber: (id: string): PoolRow | undefined => {
      const row = selectNumberById.get(id) as Row | undefined;
      return row === undefined ? undefined : poolRow(row);
    },
  };
}

function found(row: Row): NumberFound {
  return { number: numberFrom(row), health: healthFrom(row) };
}

function keyFrom(row: Row): ApiKey {
  return {
    id: row.id as string,
    organizationId: row.organization_id as string,
    name: row.name as string,
    secretHash: row.secret_hash as Uint8Array,
    scopes: (row.scopes as string).split(" ").filter((scope) => scope !== "") as unknown as ApiKey["scopes"],
    createdAt: row.created_at as number,
    revokedAt: optional(row.revoked_at),
  };
}

function marks(columns: readonly string[]): string {
  return columns.map(() => "?").join(", ");
}
