import type { HealthCounts } from "../../domain/health.ts";
import type { HealthAfter, HealthOutcome } from "../../domain/plan/changes.ts";
import { healthFrom } from "../codecs/number.ts";
import type { Row } from "../codecs/row.ts";
import { decay, decayed } from "./decay.ts";
import { byText, givenRows, listsOf } from "./row-lists.ts";
import type { Session } from "./session.ts";
import { statement } from "./statement.ts";

const OUTCOME_TYPES = {
  id: "text",
  delivered: "float8",
  failed: "float8",
  spam: "float8",
  inbound: "float8",
  at: "bigint",
  submitted_at: "bigint",
} as const;

// In the order of ids, so that two transactions do not deadlock.
const lockHealth = statement(
  "SELECT FROM number_health WHERE phone_number_id = ANY ($1) ORDER BY phone_number_id FOR NO KEY UPDATE",
);
const withOutcome = (count: string) =>
  `greatest(0, ${decayed(`h.${count}`, "given.at - h.as_of")} + given.${count} * ${decay("h.as_of - given.at")})`;
// The same rule as `isCounted` and `addOutcome`: the counts do not depend on the order of outcomes.
const addOutcomes = statement<Row>(
  `UPDATE number_health h SET delivered = ${withOutcome("delivered")}, failed = ${withOutcome("failed")},
     spam = ${withOutcome("spam")}, inbound = ${withOutcome("inbound")}, as_of = greatest(h.as_of, given.at),
     changed_by = pg_current_xact_id()
   FROM ${givenRows("given", OUTCOME_TYPES)}
   WHERE h.phone_number_id = given.id AND (h.reset_at IS NULL OR given.submitted_at >= h.reset_at)
   RETURNING h.phone_number_id, h.delivered, h.failed, h.spam, h.inbound, h.as_of, h.reset_at`,
);
const selectChanged = statement<Row>(
  `SELECT h.phone_number_id, n.messaging_profile_id, h.delivered, h.failed, h.spam, h.inbound, h.as_of, h.reset_at
   FROM number_health h JOIN phone_numbers n ON n.id = h.phone_number_id
   WHERE n.messaging_profile_id IS NOT NULL AND h.changed_by >= pg_snapshot_xmin($1::pg_snapshot)
     AND h.changed_by < pg_snapshot_xmax(pg_current_snapshot()) AND NOT pg_visible_in_snapshot(h.changed_by, $1::pg_snapshot)`,
);

/**
 * Records outcomes in senders' health, in order. The result resolves after the commit: the counts
 * after each outcome, undefined for a removed number and for an outcome from before a reset.
 */
export function recordHealth(session: Session, outcomes: readonly HealthOutcome[]): () => Promise<HealthAfter> {
  const ids = new Set(outcomes.map(({ phoneNumberId }) => phoneNumberId));
  if (ids.size > 1) void session.run(lockHealth, [...ids]);
  // A statement changes a row once: one statement for the first outcomes of all numbers, one for
  // the second ones, and so on.
  const rounds: Promise<Row[]>[] = [];
  for (const round of roundsOf(outcomes)) {
    const rows = round.map(({ phoneNumberId, change: { delivered, failed, spam, inbound }, at, submittedAt }) => {
      return [phoneNumberId, delivered, failed, spam, inbound, at, submittedAt];
    });
    rounds.push(session.all(addOutcomes, ...listsOf(OUTCOME_TYPES, rows)));
  }
  return async () => {
    const counts = new Map<string, HealthCounts>();
    for (const [place, rows] of (await Promise.all(rounds)).entries()) {
      for (const row of rows) counts.set(`${place} ${row.phone_number_id}`, healthFrom(row));
    }
    return ({ place, phoneNumberId }) => counts.get(`${place} ${phoneNumberId}`);
  };
}

/** The counts of numbers whose health changed since a snapshot of the database. */
export async function selectHealthSince(session: Session, snapshot: string) {
  const rows = await session.all(selectChanged, snapshot);
  return rows.map((row) => ({
    phoneNumberId: row.phone_number_id as string,
    messagingProfileId: row.messaging_profile_id as string,
    health: healthFrom(row),
  }));
}

function roundsOf(outcomes: readonly HealthOutcome[]): HealthOutcome[][] {
  const rounds: HealthOutcome[][] = [];
  for (const outcome of outcomes) {
    const round = rounds[outcome.place] ?? [];
    rounds[outcome.place] = round;
    round.push(outcome);
  }
  return rounds.map((round) => round.sort(byText(({ phoneNumberId }) => phoneNumberId)));
}
