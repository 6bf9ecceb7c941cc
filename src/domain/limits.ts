/** Every limit on the content of requests, with its reason; transports have their own. */
export const LIMITS = {
  /** Messages in a batch: one transaction, about 30 ms of disk time. */
  batchItems: 1_000,
  /** Parts of one message, as documented. */
  parts: 10,
  /**
   * Parts that `auto_detect` accepts. The documentation gives no figure; above three, carriers
   * begin to drop parts.
   */
  recommendedParts: 3,
  /** Characters of a profile's name: one line. */
  nameCharacters: 255,
  /** Characters of a URL, as documented. */
  urlCharacters: 2_000,
  /** Entries of whitelisted_destinations: there are about 250 countries. */
  destinations: 300,
  /** Tags of a number, and characters of one. */
  tags: 20,
  tagCharacters: 100,
  /** Entries on a page, as documented. */
  pageSize: 250,
  defaultPageSize: 20,
  /** Approximate bytes of entries on a page by cursor, so that little waits for slow readers. */
  pageBytes: 1024 * 1024,
  /** The largest weight, so that sums stay exact. */
  weight: 1_000,
  /** Segments a second of one number: from 3.6 an hour to more than any short code sends. */
  minRate: 0.001,
  maxRate: 10_000,
  /** Segments a day of one number. */
  dailySegmentLimit: 100_000_000,
  /**
   * Seconds that an accepted message may wait. The default is the 3 hours of a queue plus about an
   * hour.
   */
  validitySeconds: 36_000,
  defaultValiditySeconds: 14_400,
  /** How far ahead `send_at` may be, as documented. */
  minScheduleMs: 5 * 60_000,
  maxScheduleMs: 5 * 24 * 3_600_000,
  /**
   * Characters of a carrier's message id, four times what SMPP has, and of a carrier's failure
   * code.
   */
  carrierMessageId: 256,
  carrierCode: 64,
  /** Characters of an idempotency key, as documented. */
  idempotencyKey: 255,
} as const;

/** How long an idempotency key is stored. */
export const IDEMPOTENCY_RETENTION_MS = 72 * 3_600_000;
/** How long a send of the official client without a key is recognized in the client's retries. */
export const RETRY_WINDOW_MS = 15 * 60_000;
/**
 * How long the server waits for a receipt, unless configured. Unmatched receipts are stored as
 * long.
 */
export const RECEIPT_WINDOW_MS = 72 * 3_600_000;
/** How long messages with a final status are stored, unless configured. */
export const MESSAGE_RETENTION_MS = 90 * 24 * 3_600_000;
/** How long a sticky mapping lasts after the last message, unless configured. */
export const STICKY_LIFETIME_MS = 8 * 24 * 3_600_000;
