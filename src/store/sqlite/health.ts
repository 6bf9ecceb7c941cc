import { addOutcome, type HealthChange, type HealthCounts, isCounted } from "../../domain/health.ts";
import { healthFrom, type Row } from "../rows.ts";
import type { Connection } from "./open.ts";

/** The statements of what numbers' outcomes say about them. Each function runs inside a transaction of the caller. */
export function prepareHealth(db: Connection) {
  const selectHealth = db.prepare(
    `SELECT n.id, h.* FROM phone_numbers n LEFT JOIN number_health h ON h.phone_number_id = n.id WHERE n.id = +?`,
  );
  const putHealth = db.prepare(
    `INSERT INTO number_health (phone_number_id, delivered, failed, spam, inbound, as_of) VALUES (?, ?, ?, ?, ?, ?)
     ON CONFLICT DO UPDATE SET delivered = excluded.delivered, failed = excluded.failed, spam = excluded.spam,
       inbound = excluded.inbound, as_of = excluded.as_of`,
  );
  const knowsNumber = db.prepare("SELECT 1 FROM phone_numbers WHERE id = ?").pluck();
  /** Of the transaction: counts as they are to be; undefined for a number that is gone. */
  let counts = new Map<string, HealthCounts | undefined>();

  const current = (phoneNumberId: string): HealthCounts | undefined => {
    if (counts.has(phoneNumberId)) return counts.get(phoneNumberId);
    const row = selectHealth.get(phoneNumberId) as Row | undefined;
    return row === undefined ? undefined : healthFrom(row);
  };

  return {
    knowsNumber: (phoneNumberId: string | undefined): boolean => knowsNumber.get(phoneNumberId) !== undefined,
    /** Forgets what an earlier transaction left unwritten. */
    begin: () => {
      counts = new Map();
    },
    /** Counts after an outcome, undefined for a number that is gone or whose reset it went with; on disk after `write`. */
    add: (phoneNumberId: string, change: HealthChange, at: number, submittedAt: number): HealthCounts | undefined => {
      const before = current(phoneNumberId);
      if (before !== undefined && !isCounted(before, submittedAt)) return undefined;
      const after = before && addOutcome(before, change, at);
      counts.set(phoneNumberId, after);
      return after;
    },
    write: () => {
      for (const [phoneNumberId, health] of counts) {
        if (health === undefined) continue;
        putHealth.run(phoneNumberId, health.delivered, health.failed, health.spam, health.inbound, health.asOf);
      }
    },
  };
}
