import { connect, type Socket } from "node:net";

/** Types of HTTP/2 frames, as RFC 9113 numbers them. */
export const FRAME = {
  DATA: 0,
  HEADERS: 1,
  RST_STREAM: 3,
  SETTINGS: 4,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const;

export const END_STREAM = 1;
export const END_HEADERS = 4;
export const ACK = 1;

/** A client's start: the preface and empty settings. */
export const HELLO: Buffer = Buffer.concat([
  Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
  frame(FRAME.SETTINGS, 0, 0),
]);

/** A frame, valid or not. */
export function frame(type: number, flags: number, stream: number, payload: Uint8Array = new Uint8Array()): Buffer {
  const header = Buffer.alloc(9);
  header.writeUIntBE(payload.length, 0, 3);
  header[3] = type;
  header[4] = flags;
  header.writeUInt32BE(stream, 5);
  return Buffer.concat([header, payload]);
}

/** Headers in HPACK without its table and without Huffman codes. */
export function headerBlock(headers: Readonly<Record<string, string>>): Buffer {
  return Buffer.concat(Object.entries(headers).flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]));
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, "latin1");
  const length: number[] = [];
  if (bytes.length < 127) length.push(bytes.length);
  else {
    length.push(127);
    let rest = bytes.length - 127;
    for (; rest >= 128; rest >>= 7) length.push((rest & 127) | 128);
    length.push(rest);
  }
  return Buffer.concat([Buffer.from(length), bytes]);
}

/** A 32-bit number as a frame's payload. */
export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export type Frame = {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
};

/** A raw connection. */
export type RawConnection = {
  readonly socket: Socket;
  /** All bytes received so far. */
  readonly received: () => Buffer;
  /** The complete frames received so far. */
  readonly frames: () => Frame[];
  /** Resolves when the other side closes it, with its age, milliseconds. */
  readonly closed: Promise<number>;
  readonly isClosed: () => boolean;
  /** Writes; resolves when the system accepts the bytes or the connection is closed. */
  readonly write: (bytes: Uint8Array | string) => Promise<void>;
  readonly destroy: () => void;
};

/** Connects to "127.0.0.1:…"; with `reads` false it never reads. */
export function openRaw(address: string, { reads = true }: { reads?: boolean } = {}): RawConnection {
  const [host, port] = address.split(":") as [string, string];
  const since = Date.now();
  const chunks: Buffer[] = [];
  const socket = connect(Number(port), host);
  let isClosed = false;
  const closed = new Promise<number>((resolve) => {
    socket.on("close", () => {
      isClosed = true;
      resolve(Date.now() - since);
    });
  });
  socket.on("error", () => undefined);
  if (reads) socket.on("data", (chunk) => chunks.push(chunk));
  return {
    socket,
    received: () => Buffer.concat(chunks),
    frames: () => framesOf(Buffer.concat(chunks)),
    closed,
    isClosed: () => isClosed,
    write: (bytes) =>
      new Promise((resolve) => {
        const gone = () => resolve();
        socket.once("close", gone);
        socket.write(bytes, () => {
          socket.off("close", gone);
          resolve();
        });
      }),
    destroy: () => socket.destroy(),
  };
}

function framesOf(bytes: Buffer): Frame[] {
  const frames: Frame[] = [];
  for (let at = 0; at + 9 <= bytes.length; ) {
    const length = bytes.readUIntBE(at, 3);
    if (at + 9 + length > bytes.length) break;
    frames.push({
      type: bytes[at + 3] as number,
      flags: bytes[at + 4] as number,
      stream: bytes.readUInt32BE(at + 5) & 0x7fffffff,
      payload: bytes.subarray(at + 9, at + 9 + length),
    });
    at += 9 + length;
  }
  return frames;
}
