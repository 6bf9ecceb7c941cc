import type { PeerUpdates, QueuedSegments } from "../../store/processes.ts";

/**
 * The segments in the queues of numbers, as the sum of what each process added: accepted less sent.
 * A process publishes only its own part, so no segment counts twice and no process waits for another.
 */
export type Backlog = {
  /** Adds the segments that this process put into a queue; negative: took out of it. */
  readonly add: (phoneNumberId: string, segments: number) => void;
  /** Publishes this process's parts that changed; publishes them again after a failure. */
  readonly publish: (publish: (backlog: readonly QueuedSegments[]) => Promise<PeerUpdates>) => Promise<PeerUpdates>;
  /** Sets the segments of a stored queue: the other processes' part is what exceeds the own one. */
  readonly setQueued: (phoneNumberId: string, queuedSegments: number) => void;
  /** Sets the other processes' part; gives the queue's segments, at least 0, because some publish late. */
  readonly setOthers: (phoneNumberId: string, segments: number) => number;
};

/** Creates a backlog of empty queues. */
export function createBacklog(): Backlog {
  const own = new Map<string, number>();
  const others = new Map<string, number>();
  let changed = new Set<string>();

  return {
    add: (phoneNumberId, segments) => {
      own.set(phoneNumberId, (own.get(phoneNumberId) ?? 0) + segments);
      changed.add(phoneNumberId);
    },
    publish: async (publish) => {
      const published = changed;
      changed = new Set();
      try {
        const peerUpdates = await publish(
          [...published].map((phoneNumberId) => ({ phoneNumberId, segments: own.get(phoneNumberId) ?? 0 })),
        );
        for (const phoneNumberId of published) if (own.get(phoneNumberId) === 0) own.delete(phoneNumberId);
        return peerUpdates;
      } catch (error) {
        for (const phoneNumberId of published) changed.add(phoneNumberId);
        throw error;
      }
    },
    setQueued: (phoneNumberId, queuedSegments) => {
      others.set(phoneNumberId, queuedSegments - (own.get(phoneNumberId) ?? 0));
    },
    setOthers: (phoneNumberId, segments) => {
      if (segments === 0) others.delete(phoneNumberId);
      else others.set(phoneNumberId, segments);
      return Math.max(0, segments + (own.get(phoneNumberId) ?? 0));
    },
  };
}
