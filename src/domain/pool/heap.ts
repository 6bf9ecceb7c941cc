/**
 * A binary heap of slot numbers that knows each slot's position, so that a slot whose key changed
 * moves in O(log n). Several heaps may share the arrays of keys and positions; a slot is in at most
 * one heap of each `positions`.
 */
export type Heap = { readonly items: number[]; readonly order: HeapOrder; readonly positions: number[] };

/** The order of a heap: by `first`, then by `second`, both indexed by slot. */
export type HeapOrder = { readonly first: number[]; readonly second: number[] };

/** An empty heap. `positions` must be -1 for every slot added later. */
export function createHeap(order: HeapOrder, positions: number[]): Heap {
  return { items: [], order, positions };
}

/** The slot with the smallest key; undefined when the heap is empty. */
export function smallest(heap: Heap): number | undefined {
  return heap.items[0];
}

/** Whether `a` comes before `b`. */
export function before(order: HeapOrder, a: number, b: number): boolean {
  const x = order.first[a] as number;
  const y = order.first[b] as number;
  return x < y || (x === y && (order.second[a] as number) < (order.second[b] as number));
}

/** Adds a slot, or moves it after a change of its key. */
export function place(heap: Heap, slot: number): void {
  let at = heap.positions[slot] as number;
  if (at < 0) {
    at = heap.items.length;
    heap.items.push(slot);
    heap.positions[slot] = at;
  }
  if (!rise(heap, at)) sink(heap, at);
}

/** Removes a slot if it is in the heap. */
export function take(heap: Heap, slot: number): void {
  const at = heap.positions[slot] as number;
  if (at < 0) return;
  heap.positions[slot] = -1;
  const last = heap.items.pop() as number;
  if (last === slot) return;
  heap.items[at] = last;
  heap.positions[last] = at;
  if (!rise(heap, at)) sink(heap, at);
}

/**
 * The first slot for which `fits` holds, among those whose `first` key is at most `bound`;
 * undefined when there is none. Checks only slots before the result and their children: one check
 * when the smallest fits.
 */
export function smallestThat(heap: Heap, fits: (slot: number) => boolean, bound: number): number | undefined {
  const root = heap.items[0];
  if (root === undefined || fits(root)) return root;
  let best: number | undefined;
  const open = [0];
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    const slot = heap.items[at] as number;
    if ((heap.order.first[slot] as number) > bound || (best !== undefined && !before(heap.order, slot, best))) continue;
    if (fits(slot)) {
      best = slot;
      continue;
    }
    if (2 * at + 2 < heap.items.length) open.push(2 * at + 2);
    if (2 * at + 1 < heap.items.length) open.push(2 * at + 1);
  }
  return best;
}

function rise(heap: Heap, from: number): boolean {
  const { items, order, positions } = heap;
  const slot = items[from] as number;
  let at = from;
  while (at > 0) {
    const parent = (at - 1) >> 1;
    const above = items[parent] as number;
    if (!before(order, slot, above)) break;
    items[at] = above;
    positions[above] = at;
    at = parent;
  }
  items[at] = slot;
  positions[slot] = at;
  return at !== from;
}

function sink(heap: Heap, from: number): void {
  const { items, order, positions } = heap;
  const slot = items[from] as number;
  const size = items.length;
  let at = from;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= size) break;
    if (child + 1 < size && before(order, items[child + 1] as number, items[child] as number)) child += 1;
    const below = items[child] as number;
    if (!before(order, below, slot)) break;
    items[at] = below;
    positions[below] = at;
    at = child;
  }
  items[at] = slot;
  positions[slot] = at;
}
