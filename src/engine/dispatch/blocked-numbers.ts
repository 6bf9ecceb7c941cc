/** Numbers whose messages wait only for their carriers, by carrier, in the order in which they came. */
export type BlockedNumbers = {
  readonly put: (carrier: string, phoneNumberId: string) => void;
  /** Takes out up to `most` numbers of a carrier, those that came first. */
  readonly take: (carrier: string, most: number) => string[];
  /** Carriers that numbers are held for. */
  readonly carriers: () => Iterable<string>;
};

/** Nothing is held at first. */
export function createBlockedNumbers(): BlockedNumbers {
  const held = new Map<string, Set<string>>();
  return {
    put: (carrier, phoneNumberId) => {
      const numbers = held.get(carrier) ?? new Set();
      held.set(carrier, numbers.add(phoneNumberId));
    },
    take: (carrier, most) => {
      const numbers = held.get(carrier) ?? new Set();
      const taken: string[] = [];
      for (const phoneNumberId of numbers) {
        if (taken.length >= most) break;
        numbers.delete(phoneNumberId);
        taken.push(phoneNumberId);
      }
      if (numbers.size === 0) held.delete(carrier);
      return taken;
    },
    carriers: () => [...held.keys()],
  };
}
