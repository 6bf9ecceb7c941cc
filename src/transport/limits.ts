/** Every limit of the transports on bytes, time and concurrency, with its reason. */
export const TRANSPORT_LIMITS = {
  /** Bytes of one request on the wire: gRPC's default, and room for a batch of 1,000 long texts. */
  requestBytes: 4 * 1024 * 1024,
  /** Bytes of one send: ten times what the longest text needs, so that no call fills the disk. */
  sendBytes: 64 * 1024,
  /**
   * Bytes of a request's headers on the HTTP port: Node's default, above which proxies refuse too.
   */
  headerBytes: 16_384,
  /**
   * Time for the headers, for a whole request on the HTTP port, and for a body on the gRPC port.
   */
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  bodyTimeoutMs: 10_000,
  /**
   * How long the HTTP port keeps an idle connection: longer than most load balancers do, so that
   * they close it.
   */
  keepAliveMs: 65_000,
  /** Time between checks for slow connections on the HTTP port. */
  connectionsCheckMs: 5_000,
  /** Time for a TLS handshake: a few round trips of the slowest network. */
  handshakeTimeoutMs: 5_000,
  /** Time for a client to close its connection after the response to bytes that are not HTTP. */
  lingerMs: 2_000,
  /** Concurrent requests of one connection of the HTTP port; later ones wait unread. */
  pipelined: 8,
  /** Waiting requests of one connection, above which the server stops reading it. */
  pipelinedWaiting: 64,
  /**
   * Bytes of unsent responses: on one connection, above which its next request waits; on all
   * connections, above which calls are refused.
   */
  unsentBytesPerConnection: 1024 * 1024,
  unsentBytes: 128 * 1024 * 1024,
  /** Time for a client of the HTTP port to read a response, and time between checks. */
  unreadTimeoutMs: 15_000,
  unreadCheckMs: 1_000,
  /**
   * Requests on one connection of the HTTP port, so that a load balancer redistributes them now and
   * then.
   */
  requestsPerConnection: 10_000,
  /** Parameters of a query: several times what the longest list filter needs. */
  queryParameters: 100,
  /** Concurrent calls on one connection of the gRPC port: the minimum that RFC 9113 recommends. */
  streams: 100,
  /** Time between pings on a connection of the gRPC port, and for the answer to a ping. */
  pingIntervalMs: 15_000,
  pingTimeoutMs: 15_000,
  /** Time for the rest of a request after its response; then the stream is reset. */
  answeredBodyTimeoutMs: 5_000,
  /**
   * For streams without a key (health, reflection): the longest duration, and the longest idle
   * time.
   */
  publicStreamMs: 5 * 60_000,
  publicStreamIdleMs: 30_000,
  /** The longest idle time of other streams. */
  streamIdleMs: 5 * 60_000,
  /**
   * For connections of the gRPC port: the longest idle time, the longest life, and the time to
   * finish calls after it.
   */
  connectionIdleMs: 5 * 60_000,
  connectionAgeMs: 30 * 60_000,
  connectionAgeGraceMs: 30_000,
  /** The longest deadline of a unary call; a longer one is capped. */
  deadlineMs: 60_000,
  // Limits that grpc-js does not expose keep the defaults of Node's http2: header list 64 KiB and
  // 128 pairs, 1,000 invalid frames, 100 rejected streams, 32 settings, 10 outstanding pings, 10 MB
  // a session, a burst of 1,000 stream resets and 33 a second. Tests attack each of them.
  /**
   * Concurrent calls: a quarter of a second's work. Above it new calls are refused, so that these
   * finish in time.
   */
  inFlight: 2_000,
  /** Open streams, each of them a call in flight: most of those remain for unary calls. */
  openStreams: 500,
} as const;
