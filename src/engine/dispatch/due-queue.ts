/** Names by the time each is due, the earliest first. A name that is put again keeps its earlier time. */
export type DueQueue = {
  readonly put: (name: string, at: number) => void;
  /** Takes at most `limit` due names. */
  readonly takeDue: (now: number, limit: number) => string[];
  /** When the first name is due; undefined: the queue is empty. */
  readonly nextAt: () => number | undefined;
  readonly clear: () => void;
};

type Entry = { readonly name: string; readonly at: number };

/** Creates an empty queue: a heap whose replaced entries are dropped when they reach the top. */
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
    takeDue: (now, limit) => {
      const names: string[] = [];
      for (let entry = first(); entry !== undefined && entry.at <= now && names.length < limit; entry = first()) {
        pop();
        known.delete(entry.name);
        names.push(entry.name);
      }
      return names;
    },
    nextAt: () => first()?.at,
    clear: () => {
      heap.length = 0;
      known.clear();
    },
  };
}
