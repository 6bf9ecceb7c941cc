/**
 * The slack of a number's pace. In any window of time a number sends at most what its rate allows,
 * plus one message or this much of its rate, whichever is larger. Timers are not finer, and a fast
 * number must not wait once a message.
 */
const SLACK_MS = 20;

/**
 * How many messages of a queue (their segments, oldest first) a number may send at `now`, and when
 * it is due next. `dueAt` is when it became due, at most `now`.
 */
export function release(
  queue: readonly number[],
  dueAt: number,
  now: number,
  segmentsPerSecond: number,
): { readonly count: number; readonly dueAt: number } {
  let due = Math.max(dueAt, now - SLACK_MS);
  let count = 0;
  while (count < queue.length && due <= now) {
    due += (1000 * (queue[count] as number)) / segmentsPerSecond;
    count += 1;
  }
  return { count, dueAt: due };
}

/** The most messages that one claim can release. */
export function maxReleased(segmentsPerSecond: number): number {
  return Math.ceil((SLACK_MS * segmentsPerSecond) / 1000) + 1;
}
