/** The hold of delivery on a restored backup. */
export type DeliveryHoldStore = {
  /** When the hold began; undefined when delivery is not held. */
  readonly readDeliveryHold: () => Promise<number | undefined>;
  /** Ends the hold of delivery. */
  readonly endDeliveryHold: () => Promise<void>;
};
