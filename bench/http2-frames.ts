/** The frame types of RFC 9113 that unary calls use. */
export const FRAME = {
  data: 0,
  headers: 1,
  resetStream: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
} as const;

/** The flag that ends a stream on DATA and HEADERS. */
export const END_STREAM = 1;
/** The flag that acknowledges SETTINGS and PING. */
export const ACK = 1;
const END_HEADERS = 4;

/** Bytes of a frame's header, and the largest payload unless the peer allows more. */
export const FRAME_HEAD = 9;
export const FRAME_MOST = 16_384;

/** The header of a frame. */
export function frameHead(length: number, type: number, flags: number, stream: number): Buffer {
  const head = Buffer.allocUnsafe(FRAME_HEAD);
  head.writeUIntBE(length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return head;
}

/** A client's first bytes: the preface, the largest windows, and no dynamic header table. */
export function clientPreface(): Buffer {
  const settings = Buffer.alloc(12);
  settings.writeUInt16BE(1, 0);
  settings.writeUInt32BE(0, 2);
  settings.writeUInt16BE(4, 6);
  settings.writeUInt32BE(0x7fffffff, 8);
  return Buffer.concat([
    Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1"),
    frameHead(settings.length, FRAME.settings, 0, 0),
    settings,
    windowUpdate(0x7fffffff - 65_535),
  ]);
}

/** Lets the peer send `bytes` more on this connection. */
export function windowUpdate(bytes: number): Buffer {
  const frame = Buffer.concat([frameHead(4, FRAME.windowUpdate, 0, 0), Buffer.alloc(4)]);
  frame.writeUInt32BE(bytes, FRAME_HEAD);
  return frame;
}

/**
 * The headers of a gRPC call as a HEADERS frame for stream 0; the caller overwrites bytes 5 to 8
 * with the stream's id.
 */
export function grpcHeaders(path: string, authority: string, authorization: string | undefined): Buffer {
  const block = Buffer.concat([
    Buffer.from([0x83, 0x86]), // :method POST, :scheme http, of the static table
    literal(4, path),
    literal(1, authority),
    literal(31, "application/grpc"),
    literal("te", "trailers"),
    ...(authorization === undefined ? [] : [literal(23, authorization)]),
  ]);
  return Buffer.concat([frameHead(block.length, FRAME.headers, END_HEADERS, 0), block]);
}

/**
 * A literal without indexing or Huffman coding (RFC 7541, 6.2.2); a number is a header's index in
 * the static table.
 */
function literal(name: number | string, value: string): Buffer {
  const head = typeof name === "number" ? integer(name, 4) : Buffer.concat([Buffer.from([0]), plain(name)]);
  return Buffer.concat([head, plain(value)]);
}

function plain(text: string): Buffer {
  return Buffer.concat([integer(text.length, 7), Buffer.from(text, "latin1")]);
}

/** An integer with a prefix of `bits` bits (RFC 7541, 5.1). */
function integer(value: number, bits: number): Buffer {
  const most = 2 ** bits - 1;
  if (value < most) return Buffer.from([value]);
  const bytes = [most];
  let rest = value - most;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push(128 + (rest % 128));
  return Buffer.from([...bytes, rest]);
}
