// A load generator for HTTP/1.1 in its own process: reads a HttpLoad as JSON from standard input,
// prints a LoadResult.
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { createTally, type Timing } from "./tally.ts";
import { createCounter, type Template } from "./template.ts";

/**
 * Persistent connections, each with one outstanding request; any status but `okStatus` is an error.
 */
export type HttpLoad = Timing & {
  readonly port: number;
  readonly connections: number;
  readonly okStatus: number;
  /** Whole requests with headers. */
  readonly templates: readonly Template[];
};

const load = JSON.parse(await text(process.stdin)) as HttpLoad;
const tally = createTally(load);
const patch = createCounter();
const HEAD_END = Buffer.from("\r\n\r\n");
// Shared by all sockets: each read is processed before the next.
const shared = Buffer.allocUnsafeSlow(256 * 1024);

for (let index = 0; index < load.connections; index += 1) {
  open(load.templates[index % load.templates.length] as Template);
}

function open(template: Template): void {
  const request = Buffer.from(template.base64, "base64");
  let since = 0;
  let held: Buffer | undefined;
  let rest = 0;
  let isGood = false;

  const ask = () => {
    if (tally.isOver()) return;
    // The response is here, so the last request has left.
    patch(request, template.digits);
    since = performance.now();
    socket.write(request);
  };

  const read = (part: Buffer) => {
    if (rest > 0) {
      rest -= part.length;
      if (rest <= 0) answered();
      return;
    }
    const bytes = held === undefined ? part : Buffer.concat([held, part]);
    const end = bytes.indexOf(HEAD_END);
    if (end < 0) {
      held = Buffer.from(bytes);
      return;
    }
    held = undefined;
    const head = bytes.toString("latin1", 0, end);
    const length = /\ncontent-length: *(\d+)/i.exec(head)?.[1];
    isGood = Number(head.slice(9, 12)) === load.okStatus && length !== undefined;
    if (!isGood) tally.bad(bytes.toString("latin1", 0, 300));
    rest = end + HEAD_END.length + Number(length ?? 0) - bytes.length;
    if (rest <= 0) answered();
  };

  const answered = () => {
    rest = 0;
    if (isGood) tally.good(since);
    ask();
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
  socket.on("connect", ask);
  socket.on("error", (error) => tally.bad(error.message));
  socket.on("close", () => {
    if (tally.isOver()) return;
    tally.bad("the connection was closed");
    setTimeout(() => open(template), 50);
  });
}
