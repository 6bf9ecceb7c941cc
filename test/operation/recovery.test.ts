import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { startServer, type TestServer, temporaryFolder } from "../server.ts";
import { makePool, numbersAt, pause, rowsOf, sendTo, statusOf } from "./program.ts";

let folder: ReturnType<typeof temporaryFolder>;
let database: string;
let running: TestServer | undefined;

async function start(args: readonly string[] = []): Promise<TestServer> {
  running = await startServer({ database, args });
  return running;
}

/** Ends a server in one of two ways. */
const END = {
  "kill -9": async (server: TestServer) => server.kill(),
  SIGTERM: async (server: TestServer) => expect(await server.stop()).toBe(0),
};
const ENDS = Object.keys(END) as (keyof typeof END)[];

beforeEach(() => {
  folder = temporaryFolder();
  database = `${folder.path}/pool.db`;
});

afterEach(async () => {
  if (running?.process.exitCode === null && running.process.signalCode === null) await running.kill();
  folder.remove();
});

type Event = { kind: string; status: string; occurred_at: number; carrier_message_id: string | null };

const eventsOf = (id: string) =>
  rowsOf<Event>(database, "SELECT * FROM message_events WHERE message_id = ? ORDER BY sequence", id);

const submitsOf = (id: string) =>
  rowsOf<{ submits: number }>(database, "SELECT submits FROM messages WHERE id = ?", id);

describe("Queued messages", () => {
  it.each(ENDS)("are delivered after a restart by %s, each once and at the number's pace", async (end) => {
    const first = await start();
    const profile = await makePool(first, numbersAt(2, 1));
    const ids: string[] = [];
    for (let index = 0; index < 8; index += 1) {
      const { body } = await sendTo(first, profile, `+1312556200${index}`, `text ${index}`);
      ids.push(body.data.id);
    }
    await END[end](first);
    const waiting = rowsOf<{ id: string }>(database, "SELECT id FROM messages WHERE status = 'queued'");
    expect(waiting.length).toBeGreaterThanOrEqual(4);

    const second = await start();
    await vi.waitFor(
      async () => {
        for (const { id } of waiting) expect(await statusOf(second, id)).toBe("delivered");
      },
      { timeout: 10_000, interval: 100 },
    );
    expect(await second.stop()).toBe(0);
    const accepted = ids.map((id) => eventsOf(id).filter(({ kind }) => kind === "accepted"));
    for (const { id } of waiting) expect(accepted[ids.indexOf(id)]).toHaveLength(1);
    expect(accepted.every((events) => events.length <= 1)).toBe(true);
    const times = accepted.flatMap((events) => events.map(({ occurred_at }) => occurred_at));
    // Answers arrive some timer ticks after the paced submit.
    const span = Math.max(...times) - Math.min(...times);
    expect(span).toBeGreaterThan(500 * (times.length - 1) - 400);
  });
});

describe("Messages that were being sent", () => {
  it("end as delivery_unconfirmed after kill -9, and are never submitted again", async () => {
    const first = await start();
    const profile = await makePool(first, numbersAt(100, 3));
    const ids = await Promise.all(
      Array.from({ length: 6 }, async () => (await sendTo(first, profile, "+13125550106")).body.data.id as string),
    );
    await vi.waitFor(async () => {
      for (const id of ids) expect(await statusOf(first, id)).toBe("sending");
    });
    await first.kill();

    const second = await start();
    // The log is flushed a few times a second.
    await vi.waitFor(() => expect(second.stderr()).toContain('"messages":6'));
    for (const id of ids) expect(await statusOf(second, id)).toBe("delivery_unconfirmed");
    // The queue scan runs every five seconds.
    await pause(6_000);
    await second.kill();
    const third = await start();
    for (const id of ids) expect(await statusOf(third, id)).toBe("delivery_unconfirmed");
    expect(await third.stop()).toBe(0);
    expect(third.stderr()).toBe("");
    for (const id of ids) {
      expect(submitsOf(id)).toEqual([{ submits: 1 }]);
      expect(eventsOf(id).map(({ kind, status }) => ({ kind, status }))).toEqual([
        { kind: "sending", status: "sending" },
        { kind: "submit_unconfirmed", status: "delivery_unconfirmed" },
      ]);
    }
  });

  it("delay a stop for as long as a submit may take", async () => {
    const first = await start(["--submit-timeout-seconds", "3"]);
    const profile = await makePool(first, numbersAt(100, 1));
    const unanswered: string = (await sendTo(first, profile, "+13125550106")).body.data.id;
    await vi.waitFor(async () => expect(await statusOf(first, unanswered)).toBe("sending"));
    const since = Date.now();
    expect(await first.stop()).toBe(0);
    expect(Date.now() - since).toBeGreaterThan(1_500);
    expect(eventsOf(unanswered).map(({ kind }) => kind)).toEqual(["sending", "submit_unconfirmed"]);
    expect(rowsOf(database, "SELECT id FROM messages WHERE status = 'sending'")).toEqual([]);
  });

  it("are on disk as sent when their answer arrived during the stop", async () => {
    const first = await start();
    const profile = await makePool(first, numbersAt(1_000, 1));
    const ids: string[] = [];
    for (let index = 0; index < 20; index += 1) {
      ids.push((await sendTo(first, profile, `+131255621${String(index).padStart(2, "0")}`)).body.data.id);
    }
    expect(await first.stop()).toBe(0);
    expect(rowsOf(database, "SELECT id FROM messages WHERE status = 'sending'")).toEqual([]);
    const second = await start();
    await vi.waitFor(async () => {
      for (const id of ids) expect(["sent", "delivered"]).toContain(await statusOf(second, id));
    });
  });
});

describe("The backlog of a slow number", () => {
  /** When the number would send a new message, in seconds since 1970. */
  async function freeAt(server: TestServer, profile: string): Promise<number> {
    const { body } = await sendTo(server, profile, "+13125562200");
    return Date.parse(body.data.received_at) / 1000 + body.data.wait_seconds;
  }

  const SECONDS = 4;

  it.each([
    ["kill -9", "short", "Hello"],
    ["SIGTERM", "short", "Hello"],
    ["kill -9", "long", "x".repeat(1_000)],
  ] as const)("continues after %s, when a %s message has just left", async (end, _length, text) => {
    const first = await start();
    const profile = await makePool(first, numbersAt(1 / SECONDS, 1));
    const { body } = await sendTo(first, profile, "+13125562200", text);
    await vi.waitFor(async () => expect(await statusOf(first, body.data.id)).not.toBe("queued"));
    for (let index = 0; index < 9; index += 1) await sendTo(first, profile, "+13125562200");
    const before = await freeAt(first, profile);
    await END[end](first);
    const second = await start();
    const after = await freeAt(second, profile);
    // The send that measured `before` is in the queue itself.
    expect(Math.abs(after - (before + SECONDS))).toBeLessThanOrEqual(SECONDS);
  });
});
