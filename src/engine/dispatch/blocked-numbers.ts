/** Numbers whose messages wait only for their carriers, by carrier, in the order of blocking. */
export type BlockedNumbers = {
  readonly put: (carrier: string, phoneNumberId: string) => void;
  /** Takes at most `limit` numbers of a carrier, the first ones first. */
  readonly take: (carrier: string, limit: number) => string[];
  /** Carriers that block numbers. */
  readonly carriers: () => Iterable<string>;
};

/** Creates an empty list. */
export function createBlockedNumbers(): BlockedNumbers {
  const blocked = new Map<string, Set<string>>();
  return {
    put: (carrier, phoneNumberId) => {
      const numbers = blocked.get(carrier) ?? new Set();
      blocked.set(carrier, numbers.add(phoneNumberId));
    },
    take: (carrier, limit) => {
      const numbers = blocked.get(carrier) ?? new Set();
      const taken: string[] = [];
      for (const phoneNumberId of numbers) {
        if (taken.length >= limit) break;
        numbers.delete(phoneNumberId);
        taken.push(phoneNumberId);
      }
      if (numbers.size === 0) blocked.delete(carrier);
      return taken;
    },
    carriers: () => [...blocked.keys()],
  };
}
