import { resetCounts } from "../../domain/health.ts";
import { healthFrom, NUMBER_COLUMNS, numberFrom, numberValues } from "../codecs/number.ts";
import type { Row } from "../codecs/row.ts";
import type { NumberFound, NumberQuery, NumberStore, NumberWritten } from "../numbers.ts";
import type { Configuration } from "./configuration-changes.ts";
import { conditions, counted, marks } from "./lists.ts";
import type { Connection } from "./open.ts";
import { prepareKnowsProfile, prepareRegistration } from "./register-numbers.ts";

/**
 * Numbers with their health, and with the moment when their profile was deleted, as an item of
 * FROM.
 */
export const NUMBERS_WITH_HEALTH = `phone_numbers n LEFT JOIN number_health h ON h.phone_number_id = n.id
  LEFT JOIN (
    SELECT organization_id AS deleted_organization_id, id AS deleted_profile_id, deleted_at AS profile_deleted_at
    FROM messaging_profiles WHERE deleted_at IS NOT NULL
  ) p ON p.deleted_organization_id = n.organization_id AND p.deleted_profile_id = n.messaging_profile_id`;

/** Writes the columns of a number; the organization and the id come last. */
export const UPDATE_NUMBER = `UPDATE phone_numbers SET (${NUMBER_COLUMNS.join(", ")}) = (${marks(NUMBER_COLUMNS)})
  WHERE organization_id = ? AND id = ?`;

/** Prepares the statements about numbers. */
export function prepareNumbers(db: Connection, configuration: Configuration): NumberStore {
  const { read, configure, recordChange } = configuration;
  const knowsProfile = prepareKnowsProfile(db);
  const find = prepareFind(db);
  const { register, listTaken } = prepareRegistration(db, recordChange, knowsProfile);
  const countUnreachable = prepareCountUnreachable(db);
  const update = db.prepare(UPDATE_NUMBER);
  const remove = db.prepare("DELETE FROM phone_numbers WHERE organization_id = ? AND id = ?");
  const reset = db.prepare(
    `INSERT INTO number_health (phone_number_id, delivered, failed, spam, inbound, as_of, reset_at)
     VALUES (?, 0, 0, 0, 0, ?, ?)
     ON CONFLICT DO UPDATE SET delivered = 0, failed = 0, spam = 0, inbound = 0, as_of = excluded.as_of,
       reset_at = excluded.reset_at`,
  );
  const removeHealth = db.prepare("DELETE FROM number_health WHERE phone_number_id = ?");

  return {
    insertNumber: (number, mayBeShared = false) =>
      configure((): NumberWritten => {
        const kind = register(number, mayBeShared);
        if (kind !== "written") return { kind };
        return { kind, ...(find(number.organizationId, number.id) as NumberFound) };
      }),
    insertNumbers: (numbers, mayBeShared = false) =>
      configure(() => numbers.map((number) => register(number, mayBeShared))),
    listTaken: (organizationId, phoneNumbers) => read(() => listTaken(organizationId, phoneNumbers)),
    getNumber: (organizationId, idOrPhoneNumber) => read(() => find(organizationId, idOrPhoneNumber)),
    listNumbers: (organizationId, query) => read(() => listNumbers(db, organizationId, query)),
    updateNumber: (organizationId, idOrPhoneNumber, change) =>
      configure((): NumberWritten => {
        const current = find(organizationId, idOrPhoneNumber);
        if (current === undefined) return { kind: "unknownNumber" };
        const number = change(current.number);
        if (number === current.number) return { kind: "written", ...current };
        if (!knowsProfile(number)) return { kind: "unknownProfile" };
        update.run(...numberValues(number), organizationId, number.id);
        recordChange("phone_number", organizationId, number.id);
        return { kind: "written", number, health: current.health };
      }),
    resetHealth: (organizationId, idOrPhoneNumber, at) =>
      configure(() => {
        const current = find(organizationId, idOrPhoneNumber);
        if (current === undefined) return undefined;
        const { number } = current;
        reset.run(number.id, at, at);
        recordChange("phone_number", organizationId, number.id);
        return { number, health: resetCounts(at) };
      }),
    removeNumber: (organizationId, idOrPhoneNumber) =>
      configure(() => {
        const current = find(organizationId, idOrPhoneNumber);
        if (current === undefined) return undefined;
        const { id } = current.number;
        remove.run(organizationId, id);
        removeHealth.run(id);
        recordChange("phone_number", organizationId, id);
        return current;
      }),
    countUnreachable: (carriers) => read(() => countUnreachable(carriers)),
  };
}

function prepareFind(db: Connection): (organizationId: string, idOrPhoneNumber: string) => NumberFound | undefined {
  // +?: SQLite plans a join that compares an indexed column with a bare parameter again for every
  // value, which costs twenty times as much as reading its rows.
  const found = `SELECT * FROM ${NUMBERS_WITH_HEALTH} WHERE n.organization_id = +?`;
  const selectById = db.prepare(`${found} AND n.id = +?`);
  const selectByE164 = db.prepare(`${found} AND n.phone_number = +?`);
  return (organizationId, idOrPhoneNumber) => {
    const select = idOrPhoneNumber.startsWith("+") ? selectByE164 : selectById;
    const row = select.get(organizationId, idOrPhoneNumber) as Row | undefined;
    return row && foundFrom(row);
  };
}

function listNumbers(db: Connection, organizationId: string, query: NumberQuery) {
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
  return counted(db, NUMBERS_WITH_HEALTH, where, order, query, foundFrom);
}

function prepareCountUnreachable(db: Connection): (carriers: readonly string[]) => ReadonlyMap<string, number> {
  // Jumps from carrier to carrier: configured carriers cost nothing, however many numbers they
  // have.
  const select = db.prepare(
    `WITH RECURSIVE carriers (carrier) AS (
       SELECT min(carrier) FROM phone_numbers
       UNION ALL
       SELECT (SELECT min(carrier) FROM phone_numbers WHERE carrier > carriers.carrier)
       FROM carriers WHERE carriers.carrier IS NOT NULL
     )
     SELECT c.carrier, (SELECT count(*) FROM phone_numbers n WHERE n.carrier = c.carrier) AS numbers
     FROM carriers c WHERE c.carrier IS NOT NULL AND c.carrier NOT IN (SELECT value FROM json_each(?))`,
  );
  return (carriers) => {
    const rows = select.all(JSON.stringify(carriers)) as Row[];
    return new Map(rows.map((row) => [row.carrier as string, row.numbers as number]));
  };
}

function foundFrom(row: Row): NumberFound {
  return { number: numberFrom(row), health: healthFrom(row) };
}
