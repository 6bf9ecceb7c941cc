import { smallest } from "./heap.ts";
import { reclassify } from "./pool.ts";
import { dayOf } from "./room.ts";
import type { Pool } from "./state.ts";

/**
 * Advances a pool to a moment (milliseconds since 1970): queues that have room again, numbers whose
 * standing changed, and daily limits that reset at 00:00 UTC. The pool's time never goes back.
 */
export function advance(pool: Pool, moment: number): void {
  const isNewDay = dayOf(moment) > dayOf(pool.now);
  if (moment > pool.now) pool.now = moment;
  if (isNewDay) for (const slot of [...pool.shortOfDay]) reclassify(pool, slot);
  for (const heap of [pool.full, pool.changing]) {
    for (let slot = smallest(heap); slot !== undefined; slot = smallest(heap)) {
      if ((pool.wakeAt[slot] as number) > pool.now) break;
      reclassify(pool, slot);
    }
  }
}
