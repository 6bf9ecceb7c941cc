/** A key of a caller, in the scope in which it is unique. */
export type IdempotencyKey = { readonly organizationId: string; readonly method: string; readonly key: string };

/** A key with the answer that a repeat gets. */
export type IdempotencyRecord = IdempotencyKey & {
  /** SHA-256 of the decoded request. */
  readonly requestHash: Uint8Array;
  /** The first answer, as protobuf. */
  readonly response: Uint8Array;
  readonly createdAt: number;
};

/** An equal send between two moments, by the hash of its caller and content. */
export type RetryKey = { readonly requestHash: Uint8Array; readonly since: number; readonly until: number };

/** A send that a client may repeat without a key. `at` in milliseconds since 1970. */
export type RecentSend = {
  readonly organizationId: string;
  readonly requestHash: Uint8Array;
  readonly messageId: string;
  readonly at: number;
};
