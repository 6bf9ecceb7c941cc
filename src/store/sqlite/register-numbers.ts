import type { PhoneNumber } from "../../domain/phone-number-record.ts";
import { NUMBER_COLUMNS, numberValues } from "../codecs/number.ts";
import type { Configuration } from "./configuration-changes.ts";
import { marks } from "./lists.ts";
import type { Connection } from "./open.ts";

/** Prepares whether the profile of a number exists; true for a number without a profile. */
export function prepareKnowsProfile(db: Connection): (number: PhoneNumber) => boolean {
  const select = db.prepare(
    "SELECT 1 FROM messaging_profiles WHERE organization_id = ? AND id = ? AND deleted_at IS NULL",
  );
  return ({ organizationId, messagingProfileId }) =>
    messagingProfileId === undefined || select.get(organizationId, messagingProfileId) !== undefined;
}

/** The registration of numbers; inside a transaction of the caller. */
export type Registration = {
  /** Registers a number, unless it is refused. */
  readonly register: (number: PhoneNumber, mayBeShared: boolean) => "written" | "exists" | "taken" | "unknownProfile";
  /** Those of these phone numbers that other organizations registered. */
  readonly listTaken: (organizationId: string, phoneNumbers: readonly string[]) => string[];
};

/** Prepares the registration of numbers. */
export function prepareRegistration(
  db: Connection,
  recordChange: Configuration["recordChange"],
  knowsProfile: (number: PhoneNumber) => boolean,
): Registration {
  const insert = db.prepare(
    `INSERT INTO phone_numbers (${NUMBER_COLUMNS.join(", ")}) VALUES (${marks(NUMBER_COLUMNS)})
     ON CONFLICT (organization_id, phone_number) DO NOTHING`,
  );
  const selectTaken = db
    .prepare(
      `SELECT DISTINCT phone_number FROM phone_numbers
       WHERE organization_id <> ? AND phone_number IN (SELECT value FROM json_each(?))`,
    )
    .pluck();
  const selectOwn = db.prepare("SELECT 1 FROM phone_numbers WHERE organization_id = ? AND phone_number = ?");

  return {
    register: (number, mayBeShared) => {
      const { organizationId, phoneNumber } = number;
      if (!knowsProfile(number)) return "unknownProfile";
      const isTaken = () => selectTaken.get(organizationId, JSON.stringify([phoneNumber])) !== undefined;
      const isOwn = () => selectOwn.get(organizationId, phoneNumber) !== undefined;
      if (!mayBeShared && isTaken() && !isOwn()) return "taken";
      if (insert.run(numberValues(number)).changes === 0) return "exists";
      recordChange("phone_number", organizationId, number.id);
      return "written";
    },
    listTaken: (organizationId, phoneNumbers) =>
      selectTaken.all(organizationId, JSON.stringify(phoneNumbers)) as string[],
  };
}
