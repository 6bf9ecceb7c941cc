/**
 * The most messages by which a number was ahead of its rate in any span; `times` in milliseconds,
 * ascending.
 */
export function mostAheadOf(times: readonly number[], rate: number): number {
  let most = 0;
  let backlog = 0;
  let last = times[0] as number;
  for (const time of times) {
    backlog = Math.max(0, backlog - ((time - last) / 1000) * rate) + 1;
    last = time;
    most = Math.max(most, backlog);
  }
  return most;
}
