import { HALF_LIFE_MS } from "../../domain/health.ts";

/**
 * Half-lives after which nothing measurable is left; PostgreSQL treats smaller results as errors.
 */
const MAX_HALF_LIVES = 600;
/** A count below this is 0. */
const NOTHING = "1e-100";

/**
 * SQL for the factor of decay in a time, itself SQL in milliseconds; 1 when the time is negative.
 */
export function decay(milliseconds: string): string {
  return `power(0.5::float8, least(${MAX_HALF_LIVES}, greatest(0, ${milliseconds}) / ${HALF_LIFE_MS}::float8))`;
}

/** SQL for a count after decay in a time, both SQL. */
export function decayed(count: string, milliseconds: string): string {
  return `CASE WHEN ${count} < ${NOTHING} THEN 0 ELSE ${count} * ${decay(milliseconds)} END`;
}
