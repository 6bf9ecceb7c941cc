/**
 * Over any span of time a number sends no more than its rate allows, plus the larger of one message and this much of its rate,
 * milliseconds: timers are not finer, and a fast number must not wait for one per message.
 */
const SLACK = 20;

/**
 * How many messages of a queue (their segments, oldest first) a number may send at `now`, and when it is due again. `dueAt` is when
 * it became due; it must not lie after `now`.
 */
export function release(
  queue: readonly number[],
  dueAt: number,
  now: number,
  segmentsPerSecond: number,
): { readonly count: number; readonly dueAt: number } {
  let due = Math.max(dueAt, now - SLACK);
  let count = 0;
  while (count < queue.length && due <= now) {
    due += (1000 * (queue[count] as number)) / segmentsPerSecond;
    count += 1;
  }
  return { count, dueAt: due };
}

/** The most messages that one claim of a number can release. */
export function maxReleased(segmentsPerSecond: number): number {
  return Math.ceil((SLACK * segmentsPerSecond) / 1000) + 1;
}
