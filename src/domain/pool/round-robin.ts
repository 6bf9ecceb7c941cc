/** The two types of numbers that share the weights, as indexes. */
export const LONG_CODE = 0;
export const TOLL_FREE = 1;
export type PoolType = typeof LONG_CODE | typeof TOLL_FREE;

/**
 * Smooth weighted round robin between the two types: in any run of picks each type gets its share
 * within one pick, and exactly its share after `weights[0] + weights[1]` picks.
 */
export type RoundRobin = { readonly weights: readonly [number, number]; readonly current: [number, number] };

/**
 * Makes a round robin for two weights from 0 to 1,000, scaled to integers so that fractions cannot
 * drift.
 */
export function createRoundRobin(longCode: number, tollFree: number): RoundRobin {
  let scale = 1;
  while (scale < 1e9 && !(isNearlyWhole(longCode * scale) && isNearlyWhole(tollFree * scale))) scale *= 10;
  // A weight below one billionth must not become 0, which would remove the type.
  const whole = (weight: number) => (weight > 0 ? Math.max(1, Math.round(weight * scale)) : 0);
  return { weights: [whole(longCode), whole(tollFree)], current: [0, 0] };
}

/** The type of the next turn, without advancing. */
export function nextType(roundRobin: RoundRobin): PoolType {
  const longCode = roundRobin.current[LONG_CODE] + roundRobin.weights[LONG_CODE];
  const tollFree = roundRobin.current[TOLL_FREE] + roundRobin.weights[TOLL_FREE];
  return longCode >= tollFree ? LONG_CODE : TOLL_FREE;
}

/** Advances the round robin for a pick of `type`, or with -1 undoes such a turn, in any order. */
export function turn(roundRobin: RoundRobin, type: PoolType, times: 1 | -1 = 1): void {
  roundRobin.current[LONG_CODE] += times * roundRobin.weights[LONG_CODE];
  roundRobin.current[TOLL_FREE] += times * roundRobin.weights[TOLL_FREE];
  roundRobin.current[type] -= times * (roundRobin.weights[LONG_CODE] + roundRobin.weights[TOLL_FREE]);
}

function isNearlyWhole(value: number): boolean {
  // A value that rounds to 0 is not nearly whole, or a tiny weight would become 0.
  return value === 0 || (value >= 0.5 && Math.abs(value - Math.round(value)) <= 1e-9 * value);
}
