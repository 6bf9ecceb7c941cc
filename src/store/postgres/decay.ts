import { HALF_LIFE_MS } from "../../domain/health.ts";

/** After so many half-lives nothing is left that anybody could see; the database takes results that are too small for errors. */
const MAX_HALF_LIVES = 600;
/** And so little is nothing already. */
const NOTHING = "1e-100";

/** SQL of the factor by which evidence shrinks in milliseconds, themselves SQL; 1 when they are negative. */
export function decay(milliseconds: string): string {
  return `power(0.5::float8, least(${MAX_HALF_LIVES}, greatest(0, ${milliseconds}) / ${HALF_LIFE_MS}::float8))`;
}

/** SQL of what a count has shrunk to in milliseconds, both SQL. */
export function decayed(count: string, milliseconds: string): string {
  return `CASE WHEN ${count} < ${NOTHING} THEN 0 ELSE ${count} * ${decay(milliseconds)} END`;
}
