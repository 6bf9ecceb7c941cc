/** Names with the moment each is due, the earliest first. A name that is put again keeps its earlier moment. */
export type DueQueue = {
  readonly put: (name: string, at: number) => void;
  /** Takes out up to `most` names that are due at a moment. */
  readonly takeDue: (now: number, most: number) => string[];
  /** When the next one is due; undefined when there is none. */
  readonly nextAt: () => number | undefined;
  readonly size: () => number;
  readonly clear: () => void;
};

type Entry = { readonly name: string; readonly at: number };

/** An empty queue: a heap in which entries that were overtaken by an earlier one are dropped when they surface. */
export function createDueQueue(): DueQueue {
  const heap: Entry[] = [];
  const known = new Map<string, number>();

  const isCurrent = (entry: Entry) => known.get(entry.name) === entry.at;

  const pop = () => {
    const last = heap.pop() as Entry;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && (heap[child + 1] as Entry).at < (heap[child] as Entry).at) child += 1;
      if ((heap[child] as Entry).at >= last.at) break;
      heap[at] = heap[child] as Entry;
      at = child;
    }
    heap[at] = last;
  };

  const first = (): Entry | undefined => {
    while (heap[0] !== undefined && !isCurrent(heap[0])) pop();
    return heap[0];
  };

  return {
    put: (name, at) => {
      const before = known.get(name);
      if (before !== undefined && before <= at) return;
      known.set(name, at);
      let slot = heap.length;
      heap.push({ name, at });
      while (slot > 0) {
        const parent = (slot - 1) >> 1;
        if ((heap[parent] as Entry).at <= at) break;
        heap[slot] = heap[parent] as Entry;
        slot = parent;
      }
      heap[slot] = { name, at };
    },
    takeDue: (now, most) => {
      const names: string[] = [];
      for (let entry = first(); entry !== undefined && entry.at <= now && names.length < most; entry = first()) {
        pop();
        known.delete(entry.name);
        names.push(entry.name);
      }
      return names;
    },
    nextAt: () => first()?.at,
    size: () => known.size,
    clear: () => {
      heap.length = 0;
      known.clear();
    },
  };
}
