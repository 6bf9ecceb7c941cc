// A load generator for unary gRPC calls in its own process: reads a GrpcLoad as JSON from standard
// input, prints a LoadResult. It writes HTTP/2 frames itself, because a client library would cost
// more than the server under test.
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import {
  ACK,
  clientPreface,
  END_STREAM,
  FRAME,
  FRAME_HEAD,
  FRAME_MOST,
  frameHead,
  windowUpdate,
} from "./http2-frames.ts";
import { createTally, type Timing } from "./tally.ts";
import { createCounter, type Template } from "./template.ts";

/** Connections with `outstanding` calls each; a response without a message is an error. */
export type GrpcLoad = Timing & {
  readonly port: number;
  readonly connections: number;
  /** Servers allow 100. */
  readonly streams: number;
  /** The HEADERS frame of every call. */
  readonly headersBase64: string;
  /** Messages without their prefix of five bytes. */
  readonly templates: readonly Template[];
};

/** A call template. */
type Slot = {
  readonly message: Buffer;
  readonly digits: readonly number[];
  stream: number;
  since: number;
  sent: number;
  window: number;
  hasAnswer: boolean;
};

const PREFIX = 5;
/** The window update is sent after this many bytes. */
const TOP_UP = 16 * 1024 * 1024;

const load = JSON.parse(await text(process.stdin)) as GrpcLoad;
const headers = Buffer.from(load.headersBase64, "base64");
const tally = createTally(load);
const patch = createCounter();
// Shared by all sockets: each read is processed before the next.
const shared = Buffer.allocUnsafeSlow(256 * 1024);

for (let index = 0; index < load.connections; index += 1) open(index);

function slotOf(index: number): Slot {
  const template = load.templates[index % load.templates.length] as Template;
  const content = Buffer.from(template.base64, "base64");
  const message = Buffer.concat([Buffer.alloc(PREFIX), content]);
  message.writeUInt32BE(content.length, 1);
  const digits = template.digits.map((at) => at + PREFIX);
  return { message, digits, stream: 0, since: 0, sent: 0, window: 0, hasAnswer: false };
}

function open(connection: number): void {
  const calls = new Map<number, Slot>();
  const unsent: Slot[] = [];
  let nextStream = 1;
  let window = 65_535;
  let streamWindow = 65_535;
  let received = 0;
  let held: Buffer | undefined;
  let out: Buffer[] = [clientPreface()];
  /** Bytes of the current frame to skip, because only its header matters. */
  let rest = 0;
  let then = () => {};

  const begin = (slot: Slot) => {
    if (tally.isOver()) return;
    patch(slot.message, slot.digits);
    slot.stream = nextStream;
    nextStream += 2;
    slot.since = performance.now();
    slot.sent = 0;
    slot.window = streamWindow;
    slot.hasAnswer = false;
    calls.set(slot.stream, slot);
    const frame = Buffer.from(headers);
    frame.writeUInt32BE(slot.stream, 5);
    out.push(frame);
    unsent.push(slot);
  };

  /** Writes what the flow-control windows allow. */
  const pump = () => {
    for (let index = 0; index < unsent.length && window > 0; ) {
      const slot = unsent[index] as Slot;
      const size = Math.min(slot.message.length - slot.sent, window, slot.window, FRAME_MOST);
      if (size <= 0) {
        index += 1;
        continue;
      }
      const end = slot.sent + size;
      const isLast = end === slot.message.length;
      out.push(
        frameHead(size, FRAME.data, isLast ? END_STREAM : 0, slot.stream),
        slot.message.subarray(slot.sent, end),
      );
      slot.sent = end;
      slot.window -= size;
      window -= size;
      if (isLast) unsent.splice(index, 1);
    }
    if (out.length === 0) return;
    socket.write(Buffer.concat(out));
    out = [];
  };

  const ended = (stream: number, why: string | undefined) => {
    const slot = calls.get(stream);
    if (slot === undefined) return;
    calls.delete(stream);
    if (why === undefined && slot.hasAnswer) tally.good(slot.since);
    else {
      tally.bad(why ?? "the response has no message");
      const at = unsent.indexOf(slot);
      if (at >= 0) unsent.splice(at, 1);
    }
    begin(slot);
  };

  /** Handles one frame, or only the header of one whose content does not matter. */
  const take = (type: number, flags: number, stream: number, content: Buffer) => {
    if (type === FRAME.settings && (flags & ACK) === 0) {
      for (let at = 0; at + 6 <= content.length; at += 6) {
        if (content.readUInt16BE(at) !== 4) continue;
        const next = content.readUInt32BE(at + 2);
        for (const slot of calls.values()) slot.window += next - streamWindow;
        streamWindow = next;
      }
      out.push(frameHead(0, FRAME.settings, ACK, 0));
    } else if (type === FRAME.ping && (flags & ACK) === 0) {
      out.push(frameHead(8, FRAME.ping, ACK, 0), Buffer.from(content));
    } else if (type === FRAME.windowUpdate) {
      const bytes = content.readUInt32BE(0);
      const slot = calls.get(stream);
      if (stream === 0) window += bytes;
      else if (slot !== undefined) slot.window += bytes;
    } else if (type === FRAME.resetStream) ended(stream, `the stream was reset: ${content.readUInt32BE(0)}`);
    else if (type === FRAME.goAway) tally.bad(`the server sent GOAWAY: ${content.toString("latin1", 8)}`);
  };

  const takeHead = (type: number, flags: number, stream: number, length: number) => {
    if (type === FRAME.data) {
      received += length;
      if (received >= TOP_UP) {
        out.push(windowUpdate(received));
        received = 0;
      }
      const slot = calls.get(stream);
      if (slot !== undefined) slot.hasAnswer = true;
    }
    if ((flags & END_STREAM) !== 0) ended(stream, undefined);
  };

  const read = (part: Buffer) => {
    let bytes = held === undefined ? part : Buffer.concat([held, part]);
    held = undefined;
    for (;;) {
      if (rest > 0) {
        const skipped = Math.min(rest, bytes.length);
        rest -= skipped;
        bytes = bytes.subarray(skipped);
        if (rest > 0) break;
        then();
      }
      if (bytes.length < FRAME_HEAD) break;
      const length = bytes.readUIntBE(0, 3);
      const type = bytes[3] as number;
      const flags = bytes[4] as number;
      const stream = bytes.readUInt32BE(5) & 0x7fffffff;
      if (type === FRAME.data || type === FRAME.headers) {
        rest = length;
        bytes = bytes.subarray(FRAME_HEAD);
        if (length === 0) takeHead(type, flags, stream, 0);
        else then = () => takeHead(type, flags, stream, length);
        continue;
      }
      if (bytes.length < FRAME_HEAD + length) break;
      take(type, flags, stream, bytes.subarray(FRAME_HEAD, FRAME_HEAD + length));
      bytes = bytes.subarray(FRAME_HEAD + length);
    }
    if (bytes.length > 0) held = Buffer.from(bytes);
    pump();
  };

  const socket = connect({
    host: "127.0.0.1",
    port: load.port,
    noDelay: true,
    onread: {
      buffer: shared,
      callback: (count, buffer) => {
        read((buffer as Buffer).subarray(0, count));
        return true;
      },
    },
  });
  socket.on("connect", () => {
    for (let index = 0; index < load.streams; index += 1) begin(slotOf(connection * load.streams + index));
    pump();
  });
  socket.on("error", (error) => tally.bad(error.message));
  socket.on("close", () => {
    if (!tally.isOver()) tally.bad("the connection was closed");
  });
}
