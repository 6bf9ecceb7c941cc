/** Every limit that a request can meet, with its reason. Transports and services read them here, and nowhere else. */
export const LIMITS = {
  /** Bytes of one request on the wire: gRPC's own default, and room for a batch of 1,000 long texts. */
  requestBytes: 4 * 1024 * 1024,
  /** Bytes of one send: ten times what the longest text needs, so that nobody fills the disk through one call. */
  sendBytes: 64 * 1024,
  /** Bytes of a request's headers on the HTTP port; Node's own default, beyond which proxies refuse too. */
  headerBytes: 16_384,
  /** Milliseconds in which headers must have come, a whole request on the HTTP port, and a body on the gRPC port. */
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  bodyTimeoutMs: 10_000,
  /** Milliseconds that an idle connection is kept on the HTTP port: longer than balancers usually do, so that they close it. */
  keepAliveMs: 65_000,
  /** Milliseconds between looks at slow connections on the HTTP port. */
  connectionsCheckMs: 5_000,
  /** Milliseconds for a TLS handshake: a few round trips of the slowest network. */
  handshakeTimeoutMs: 5_000,
  /** Milliseconds that a client has to close its connection after bytes that are not HTTP were answered. */
  lingerMs: 2_000,
  /** Requests of one connection of the HTTP port that are under way at once; those behind them wait unread. */
  pipelined: 8,
  /** Requests of one connection that wait for those before them, beyond which it is not read. */
  pipelinedWaiting: 64,
  /** Bytes of answers that wait to be sent on one connection before the next request is carried out, and on all before calls are refused. */
  unsentBytesPerConnection: 1024 * 1024,
  unsentBytes: 128 * 1024 * 1024,
  /** Milliseconds in which a client of the HTTP port must take an answer, and between looks at those that do not. */
  unreadTimeoutMs: 15_000,
  unreadCheckMs: 1_000,
  /** Requests on one connection of the HTTP port, so that a balancer spreads them anew now and then. */
  requestsPerConnection: 10_000,
  /** Parameters of a query: several times what the longest filter of a list needs. */
  queryParameters: 100,
  /** Calls at once on one connection of the gRPC port: what RFC 9113 advises at least. */
  streams: 100,
  /** Milliseconds between our pings on a connection of the gRPC port, and until their answer must be there. */
  pingIntervalMs: 15_000,
  pingTimeoutMs: 15_000,
  /** Milliseconds that a client has for the rest of its request once it was answered; then the stream is reset. */
  answeredBodyTimeoutMs: 5_000,
  /** Milliseconds that a stream which needs no key, health or reflection, may last, and be without a request. */
  publicStreamMs: 5 * 60_000,
  publicStreamIdleMs: 30_000,
  /** Milliseconds that a stream may be without a request. */
  streamIdleMs: 5 * 60_000,
  /** Milliseconds that a connection of the gRPC port may be idle, and live, and then finish its calls. */
  connectionIdleMs: 5 * 60_000,
  connectionAgeMs: 30 * 60_000,
  connectionAgeGraceMs: 30_000,
  /** The longest deadline of a call that is no stream, milliseconds; a longer one is capped. */
  deadlineMs: 60_000,
  // What grpc-js does not let us set, with the defaults of Node's http2 that hold instead: header list 64 KiB and 128 pairs, 1,000
  // invalid frames, 100 rejected streams, 32 settings, 10 outstanding pings, 10 MB a session, 1,000 stream resets at once and 33 a
  // second. Attacks on each of them are among the tests.
  /** Calls under way at once: a quarter of a second's work. Beyond it new calls are refused, so that these are finished in time. */
  inFlight: 2_000,
  /** Texts in a batch: one transaction, about 30 ms of disk. */
  batchItems: 1_000,
  /** Parts of one text, as documented. */
  parts: 10,
  /** Parts that `auto_detect` lets pass. The documentation names no figure; beyond three, carriers begin to drop parts. */
  recommendedParts: 3,
  /** Characters of a profile's name: a line. */
  nameCharacters: 255,
  /** Characters of a URL, as documented. */
  urlCharacters: 2_000,
  /** Entries of whitelisted_destinations: there are about 250 countries. */
  destinations: 300,
  /** Labels of a number, and characters of one. */
  tags: 20,
  tagCharacters: 100,
  /** Entries on a page, as documented. */
  pageSize: 250,
  defaultPageSize: 20,
  /** About how many bytes of entries a page by cursor holds: what waits to be sent to slow readers stays small. */
  pageBytes: 1024 * 1024,
  /** A weight, so that sums stay exact. */
  weight: 1_000,
  /** Segments a second of one number: from one in a quarter of an hour to more than any short code has. */
  minRate: 0.001,
  maxRate: 10_000,
  /** Segments a day of one number. */
  dailySegmentLimit: 100_000_000,
  /** Seconds that an accepted message may wait. The default leaves an hour of grace beyond the 3 hours that a queue holds. */
  validitySeconds: 36_000,
  defaultValiditySeconds: 14_400,
  /** Milliseconds that `send_at` may lie ahead, as documented. */
  minScheduleMs: 5 * 60_000,
  maxScheduleMs: 5 * 24 * 3_600_000,
  /** Characters of a carrier's id of a message, four times what SMPP has, and of its code of a failure. */
  carrierMessageId: 256,
  carrierCode: 64,
  /** Characters of an idempotency key, as documented. */
  idempotencyKey: 255,
} as const;

/** How long an idempotency key is kept, milliseconds. */
export const IDEMPOTENCY_RETENTION_MS = 72 * 3_600_000;
/** How long a send of the official client's without a key is remembered for its own retries, milliseconds. */
export const RETRY_WINDOW_MS = 15 * 60_000;
/** How long a receipt is waited for, milliseconds, unless configured. Those that fit no message are kept as long. */
export const RECEIPT_WINDOW_MS = 72 * 3_600_000;
/** How long messages that ended are kept, milliseconds, unless configured. */
export const MESSAGE_RETENTION_MS = 90 * 24 * 3_600_000;
/** How long a sticky mapping lives after the last message, milliseconds, unless configured. */
export const STICKY_LIFETIME_MS = 8 * 24 * 3_600_000;
