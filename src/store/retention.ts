/** Deleting what is older than its retention. */
export type RetentionStore = {
  /** Deletes rows older than these moments, at most `limit` of each kind; gives their count. */
  readonly forget: (before: RetentionLimits, limit: number) => Promise<number>;
  /**
   * Deletes ended messages with their events. One call reads `limit` messages of one organization
   * with ids between the cursor and `before`, and gives the cursor of the next call.
   */
  readonly forgetMessages: (request: {
    readonly organizationId: string;
    /** An id, or the prefix of one: see `earliestId`. */
    readonly before: string;
    readonly after: string | undefined;
    readonly limit: number;
  }) => Promise<{ readonly forgotten: number; readonly next: string | undefined }>;
};

/** For each kind of row, the moment before which it is deleted. */
export type RetentionLimits = {
  readonly keys: number;
  readonly recentSends: number;
  readonly stickyMappings: number;
  readonly unmatchedReceipts: number;
};
