import { before, createHeap, type Heap, type HeapOrder, place, smallestThat, take } from "./heap.ts";

/** The most segments of a message. */
export const MAX_SEGMENTS = 10;

/**
 * Candidates, ordered by when each is next free. Those whose day has room for every message are in
 * `whole`; each of the others is in the heap for the segments left in its day, so that a long
 * message never walks through numbers whose day is too short for it.
 */
export type Group = { readonly whole: Heap; readonly short: Heap[]; size: number };

/**
 * An empty group. `positions` must be -1 for every slot added later; groups with the same
 * `positions` never share a slot.
 */
export function createGroup(order: HeapOrder, positions: number[]): Group {
  return { whole: createHeap(order, positions), short: [], size: 0 };
}

/** Adds a slot with `left` segments in its day, or moves it after a change of its load. */
export function join(group: Group, slot: number, left: number): void {
  if ((group.whole.positions[slot] as number) < 0) group.size += 1;
  place(heapOf(group, left), slot);
}

/** Removes a slot from the heap that it joined. */
export function leave(group: Group, slot: number, left: number): void {
  if ((group.whole.positions[slot] as number) < 0) return;
  take(heapOf(group, left), slot);
  group.size -= 1;
}

/**
 * The first slot for which `fits` holds, among those whose day has room and that are next free at
 * `bound` or earlier.
 */
export function firstThat(
  group: Group,
  segments: number,
  fits: (slot: number) => boolean,
  bound: number,
): number | undefined {
  let best = smallestThat(group.whole, fits, bound);
  for (let left = segments; left < group.short.length; left += 1) {
    const slot = smallestThat(group.short[left] as Heap, fits, bound);
    if (slot !== undefined && (best === undefined || before(group.whole.order, slot, best))) best = slot;
  }
  return best;
}

/** Every heap of a group. */
export function heapsOf(group: Group): Heap[] {
  return [group.whole, ...group.short];
}

function heapOf(group: Group, left: number): Heap {
  if (left >= MAX_SEGMENTS) return group.whole;
  while (group.short.length < MAX_SEGMENTS) group.short.push(createHeap(group.whole.order, group.whole.positions));
  return group.short[left] as Heap;
}
