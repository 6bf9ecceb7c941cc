import type { PeerUpdates, QueuedSegments } from "../../store/processes.ts";

/**
 * What this process and all others together contributed to the queues of numbers, in segments: what was accepted less what was sent.
 * Every process tells only of itself, so that nothing is counted twice and nobody waits for anybody.
 */
export type Backlog = {
  /** Notes what this process put into a queue, or (negative) took out of it. */
  readonly add: (phoneNumberId: string, segments: number) => void;
  /** Hands over the contributions that changed; they are handed over again when that failed. */
  readonly hand: (hand: (backlog: readonly QueuedSegments[]) => Promise<PeerUpdates>) => Promise<PeerUpdates>;
  /** Notes that a queue holds so many segments: what of them is not this process' own is the others', whether they said so or not. */
  readonly see: (phoneNumberId: string, queuedSegments: number) => void;
  /** Takes in what all others contribute now, and gives what the queue holds by that: never less than nothing, for some tell late. */
  readonly learn: (phoneNumberId: string, segments: number) => number;
};

/** A backlog to which nobody contributed. */
export function createBacklog(): Backlog {
  const own = new Map<string, number>();
  const others = new Map<string, number>();
  let changed = new Set<string>();

  return {
    add: (phoneNumberId, segments) => {
      own.set(phoneNumberId, (own.get(phoneNumberId) ?? 0) + segments);
      changed.add(phoneNumberId);
    },
    hand: async (hand) => {
      const told = changed;
      changed = new Set();
      try {
        const peerUpdates = await hand(
          [...told].map((phoneNumberId) => ({ phoneNumberId, segments: own.get(phoneNumberId) ?? 0 })),
        );
        for (const phoneNumberId of told) if (own.get(phoneNumberId) === 0) own.delete(phoneNumberId);
        return peerUpdates;
      } catch (error) {
        for (const phoneNumberId of told) changed.add(phoneNumberId);
        throw error;
      }
    },
    see: (phoneNumberId, queuedSegments) => {
      others.set(phoneNumberId, queuedSegments - (own.get(phoneNumberId) ?? 0));
    },
    learn: (phoneNumberId, segments) => {
      if (segments === 0) others.delete(phoneNumberId);
      else others.set(phoneNumberId, segments);
      return Math.max(0, segments + (own.get(phoneNumberId) ?? 0));
    },
  };
}
