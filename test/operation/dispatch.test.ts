import { afterEach, describe, expect, it, vi } from "vitest";
import type { TestServer } from "../server.ts";
import { makePool, numbersAt, pause, rowsOf } from "./program.ts";
import {
  type Accepted,
  done,
  type LedgerServer,
  ledgerServer,
  sendBatch,
  textOf,
  timesEach,
} from "./sandbox-ledger.ts";

const WAITING = { timeout: 30_000, interval: 50 };
/** These tests measure time on a machine that does other things too. */
const TIMED = { timeout: 90_000 };

const opened: LedgerServer[] = [];

function open(...settings: Parameters<typeof ledgerServer>): LedgerServer {
  const files = ledgerServer(...settings);
  opened.push(files);
  return files;
}

afterEach(async () => {
  for (const files of opened.splice(0)) await files.remove();
});

/** Messages by their status, as they are on disk. */
function statuses(database: string): ReadonlyMap<string, string> {
  const rows = rowsOf<{ id: string; status: string }>(database, "SELECT id, status FROM messages");
  return new Map(rows.map(({ id, status }) => [id, status]));
}

function countOf(database: string, wanted: string): number {
  return [...statuses(database).values()].filter((status) => status === wanted).length;
}

async function allDelivered(database: string, count: number): Promise<void> {
  await vi.waitFor(() => expect(countOf(database, "delivered")).toBe(count), WAITING);
}

describe("kill -9 while the carrier holds many messages", () => {
  it("loses none and sends none twice: each one's end is what happened to it", TIMED, async () => {
    const COUNT = 800;
    const files = open({ latency_milliseconds: 300 }, ["--receipt-window-seconds", "2"]);
    const first = await files.start();
    const profile = await makePool(first, numbersAt(100, 3));
    const texts = Array.from({ length: COUNT }, (_, index) => `text ${index}`);
    await sendBatch(first, profile, texts);
    await vi.waitFor(() => expect(files.ledger().length).toBeGreaterThan(150), { timeout: 30_000, interval: 10 });
    await first.kill();

    const before = statuses(files.database);
    const ofStatus = (status: string) => [...before].filter(([, each]) => each === status).map(([id]) => id);
    const linesBefore = timesEach(files.ledger());
    expect(before.size).toBe(COUNT);
    expect(ofStatus("queued").length).toBeGreaterThan(0);
    expect(ofStatus("sending").length).toBeGreaterThan(10);
    expect(ofStatus("queued").filter((id) => linesBefore.has(id))).toEqual([]);
    const left = [...ofStatus("sent"), ...ofStatus("delivered")];
    expect(left.filter((id) => !linesBefore.has(id))).toEqual([]);

    const second = await files.start();
    const isFinal = (status: string) => /^deliver(ed|y_unconfirmed)$/.test(status);
    await vi.waitFor(() => {
      const now = [...statuses(files.database).values()];
      expect(now.filter((status) => !isFinal(status))).toEqual([]);
    }, WAITING);
    const after = statuses(files.database);
    const ends = (ids: readonly string[]) => [...new Set(ids.map((id) => after.get(id)))];
    expect(after.size).toBe(COUNT);
    expect(ends(ofStatus("queued"))).toEqual(["delivered"]);
    expect(ends(ofStatus("delivered"))).not.toContain("delivery_unconfirmed");
    // Their receipts went with the process that would have sent them.
    expect(ends([...ofStatus("sending"), ...ofStatus("sent")])).toEqual(["delivery_unconfirmed"]);
    const lines = timesEach(files.ledger());
    expect([...lines].filter(([, times]) => times > 1)).toEqual([]);
    expect(ofStatus("queued").filter((id) => !lines.has(id))).toEqual([]);
    expect(ofStatus("sending").filter((id) => lines.has(id) !== linesBefore.has(id))).toEqual([]);
    expect(await second.stop()).toBe(0);
  });
});

describe("a carrier that throttles", () => {
  it("is given what it takes, and gets every message once", TIMED, async () => {
    const [RATE, COUNT] = [100, 400];
    const files = open({ segments_per_second: RATE });
    const server = await files.start();
    const profile = await makePool(server, numbersAt(1_000, 4));
    await sendBatch(
      server,
      profile,
      Array.from({ length: COUNT }, (_, index) => `text ${index}`),
    );
    await allDelivered(files.database, COUNT);
    const lines = files.ledger();
    expect(lines.length).toBe(COUNT);
    expect(timesEach(lines).size).toBe(COUNT);
    const start = Math.min(...lines.map(({ at }) => at));
    for (let from = start; from <= start + 10_000; from += 500) {
      const within = lines.filter(({ at }) => at >= from && at < from + 1_000).length;
      expect([from - start, within <= RATE * 1.2 + 1]).toEqual([from - start, true]);
    }
    // It was told to slow down, and did: a dispatcher that took no notice would be throttled again and again.
    const throttled =
      "SELECT count(*) AS count FROM message_events WHERE kind = 'deferred' AND carrier_code = 'throttled'";
    const count = rowsOf<{ count: number }>(files.database, throttled)[0]?.count ?? 0;
    expect(count).toBeGreaterThan(0);
    expect(count).toBeLessThan(1.5 * COUNT);
    expect(await server.stop()).toBe(0);
  });
});

describe("a number's pace", () => {
  /** How much earlier than its rate allows a number sent, milliseconds, for every pair of its messages. */
  function hurries(times: readonly number[], parts: readonly number[], rate: number): number[] {
    return times.flatMap((until, last) =>
      times.slice(0, last).map((since, first) => {
        const before = parts.slice(first, last).reduce((sum, each) => sum + each, 0);
        return (1_000 * before) / rate - (until - since);
      }),
    );
  }

  it("is kept in every window of time, whatever the lengths", TIMED, async () => {
    const files = open();
    const server = await files.start();
    const rates = [1, 3, 20];
    const queues = rates.map(async (rate, index) => {
      const from = `+1212555${7000 + index}`;
      const profile = await makePool(server, [{ phone_number: from, segments_per_second: rate }]);
      const accepted: Accepted[] = [];
      for (let segments = 0, turn = 0; segments < 4 * rate; turn += 1) {
        const parts = (turn % 3) + 1;
        const body = { messaging_profile_id: profile, from, to: "+13125562000", text: textOf(parts) };
        accepted.push((await done(server.json("POST", "/v2/messages", body))).data);
        segments += parts;
      }
      return accepted;
    });
    const accepted = await Promise.all(queues);
    await allDelivered(files.database, accepted.flat().length);
    const lines = files.ledger();
    expect([...timesEach(lines).values()].every((times) => times === 1)).toBe(true);
    accepted.forEach((messages, index) => {
      const rate = rates[index] as number;
      const parts = new Map(messages.map((message) => [message.id, message.parts]));
      const own = lines.filter(({ message_id }) => parts.has(message_id));
      const told = own.map(({ message_id }) => parts.get(message_id) as number);
      expect(own.length).toBe(messages.length);
      const early = hurries(
        own.map(({ at }) => at),
        told,
        rate,
      ).sort((one, other) => one - other);
      // 20 ms are its slack; the rest is for timers, and syncs to disk that kept one message back and not the next.
      expect([rate, (early.at(Math.floor(0.9 * early.length)) ?? 0) <= 50]).toEqual([rate, true]);
      expect([rate, (early.at(-1) ?? 0) <= 150]).toEqual([rate, true]);
    });
    expect(await server.stop()).toBe(0);
  });

  it("makes the wait that was told true, in a pool of different numbers", TIMED, async () => {
    const files = open();
    const server = await files.start();
    const numbers = [2, 2, 5, 20].map((rate, index) => {
      return { phone_number: `+1212555${7100 + index}`, segments_per_second: rate };
    });
    const profile = await makePool(server, numbers);
    const texts = Array.from({ length: 60 }, (_, index) => textOf([1, 2, 1, 3][index % 4] as number));
    const accepted = await sendBatch(server, profile, texts);
    expect(new Set(accepted.map(({ from }) => from.phone_number)).size).toBe(4);
    expect(Math.max(...accepted.map(({ wait_seconds }) => wait_seconds))).toBeGreaterThan(2);
    await allDelivered(files.database, accepted.length);
    const left = new Map(files.ledger().map(({ message_id, at }) => [message_id, at]));
    const off = accepted
      .map(({ id, received_at, wait_seconds }) => {
        const told = 1_000 * wait_seconds;
        const error = Math.abs((left.get(id) as number) - Date.parse(received_at) - told);
        return { error, isNear: error <= Math.max(300, 0.1 * told), isExact: error <= Math.max(50, 0.05 * told) };
      })
      .sort((one, other) => one.error - other.error);
    expect(off.filter(({ isExact }) => isExact).length).toBeGreaterThan(off.length / 2);
    expect(off.filter(({ isNear }) => !isNear)).toEqual([]);
    expect(await server.stop()).toBe(0);
  });
});

describe.concurrent("a number that", () => {
  const queueOf = async (server: TestServer, phone_number: string, rate: number, count: number) => {
    const profile = await makePool(server, [{ phone_number, segments_per_second: rate }]);
    return { profile, ids: (await sendBatch(server, profile, Array(count).fill("Hello"))).map(({ id }) => id) };
  };

  it("is paused keeps its messages, and sends them when it is active again", TIMED, async ({ onTestFinished }) => {
    const files = ledgerServer();
    onTestFinished(files.remove);
    const server = await files.start();
    const number = "+12125557200";
    const { ids } = await queueOf(server, number, 10, 30);
    await vi.waitFor(() => expect(files.ledger().length).toBeGreaterThan(2), WAITING);
    await done(server.json("PATCH", `/v2/phone_numbers/${number}`, { state: "paused" }));
    await pause(300);
    const lines = files.ledger().length;
    expect(lines).toBeLessThan(30);
    await pause(1_000);
    expect(files.ledger().length).toBe(lines);
    expect(countOf(files.database, "queued")).toBe(30 - lines);
    await done(server.json("PATCH", `/v2/phone_numbers/${number}`, { state: "active" }));
    await allDelivered(files.database, 30);
    expect(timesEach(files.ledger())).toEqual(new Map(ids.map((id) => [id, 1])));
    expect(await server.stop()).toBe(0);
  });

  it("is draining sends what it has, and what names it", TIMED, async ({ onTestFinished }) => {
    const files = ledgerServer();
    onTestFinished(files.remove);
    const server = await files.start();
    const number = "+12125557300";
    const { profile, ids } = await queueOf(server, number, 20, 30);
    await done(server.json("PATCH", `/v2/phone_numbers/${number}`, { state: "draining" }));
    const body = { messaging_profile_id: profile, to: "+13125562001", text: "New" };
    const refused = await server.json("POST", "/v2/messages/number_pool", body);
    expect([refused.status, refused.body.errors[0].code]).toEqual([400, "40321"]);
    const named = await done(server.json("POST", "/v2/messages", { ...body, from: number }));
    await allDelivered(files.database, 31);
    expect(new Set(files.ledger().map(({ message_id }) => message_id))).toEqual(new Set([...ids, named.data.id]));
    expect(await server.stop()).toBe(0);
  });

  it("is removed fails what it had queued, and nothing that had left", TIMED, async ({ onTestFinished }) => {
    const files = ledgerServer();
    onTestFinished(files.remove);
    const server = await files.start();
    const number = "+12125557400";
    const { ids } = await queueOf(server, number, 0.001, 4);
    await vi.waitFor(() => expect(countOf(files.database, "delivered")).toBe(1), WAITING);
    await done(server.json("DELETE", `/v2/phone_numbers/${number}`));
    // The number goes at once, its queue in small steps afterwards.
    await vi.waitFor(() => expect(countOf(files.database, "sending_failed")).toBe(3), WAITING);
    const ends: string[] = [];
    for (const id of ids) {
      const { data } = await done(server.json("GET", `/v2/messages/${id}`));
      ends.push(data.to[0].status);
      if (data.to[0].status === "delivered") continue;
      expect(data).toMatchObject({ completed_at: expect.any(String), sent_at: null, valid_until: null });
      expect(data.errors).toHaveLength(1);
      const { data: events } = await done(server.json("GET", `/v2/messages/${id}/events`));
      expect(events.map(({ type }: { type: string }) => type)).toEqual(["accepted", "sending_failed"]);
      expect(events[1]).toMatchObject({ reason: data.errors[0].reason, detail: data.errors[0].detail });
    }
    expect(ends.sort()).toEqual(["delivered", "sending_failed", "sending_failed", "sending_failed"]);
    expect(files.ledger()).toHaveLength(1);
    expect(await server.stop()).toBe(0);
  });
});

describe.concurrent("in the long run", () => {
  it("a message without a receipt is unconfirmed after the window, and settled by a late one", TIMED, async (test) => {
    const files = ledgerServer({}, ["--receipt-window-seconds", "2"]);
    test.onTestFinished(files.remove);
    const server = await files.start();
    const profile = await makePool(server, numbersAt(100, 1));
    const body = { messaging_profile_id: profile, to: "+13125550103", text: "Silence" };
    const { id } = (await done(server.json("POST", "/v2/messages/number_pool", body))).data;
    await vi.waitFor(() => expect(statuses(files.database).get(id)).toBe("delivery_unconfirmed"), WAITING);
    const { data } = await done(server.json("GET", `/v2/messages/${id}`));
    expect(data.errors).toMatchObject([{ reason: "RECEIPT_MISSING" }]);
    expect(Date.parse(data.completed_at) - Date.parse(data.sent_at)).toBeGreaterThanOrEqual(2_000);
    const story = async () => (await done(server.json("GET", `/v2/messages/${id}/events`))).data;
    expect((await story()).map(({ type }: { type: string }) => type)).toEqual([
      "accepted",
      "sending",
      "submitted",
      "receipt_timeout",
    ]);
    const { carrier_message_id } = (await story())[2];
    await done(server.json("POST", "/v2/carriers/sandbox/receipts", { carrier_message_id, status: "delivered" }));
    const settled = await done(server.json("GET", `/v2/messages/${id}`));
    expect(settled.data).toMatchObject({ to: [{ status: "delivered" }], errors: [] });
    expect(files.ledger()).toHaveLength(1);
    expect(await server.stop()).toBe(0);
  });

  it("messages that ended are forgotten, and none that wait", TIMED, async (test) => {
    const files = ledgerServer({}, ["--message-retention-seconds", "2"]);
    test.onTestFinished(files.remove);
    const server = await files.start();
    const profile = await makePool(server, numbersAt(100, 1));
    const slow = await makePool(server, [{ phone_number: "+12125557500", segments_per_second: 0.001 }]);
    const key = { "idempotency-key": "remembered" };
    const body = { messaging_profile_id: profile, to: "+13125550100", text: "Forget me" };
    const ended = await done(server.json("POST", "/v2/messages/number_pool", body, key));
    const [left, queued] = await sendBatch(server, slow, ["Leaves", "Waits"]);
    const send_at = new Date(Date.now() + 3_600_000).toISOString();
    const scheduled = await done(server.json("POST", "/v2/messages", { ...body, send_at }));
    const cancelled = await done(server.json("POST", "/v2/messages", { ...body, send_at }));
    await done(server.json("DELETE", `/v2/messages/${cancelled.data.id}`));
    const gone = [ended.data.id, left?.id, cancelled.data.id];
    for (const id of gone) {
      const asked = async () => (await server.json("GET", `/v2/messages/${id}`)).status;
      await vi.waitFor(async () => expect(await asked()).toBe(404), WAITING);
      expect((await server.json("GET", `/v2/messages/${id}/events`)).status).toBe(404);
    }
    const list = await done(server.json("GET", "/v2/messages"));
    expect(list.data.map(({ id }: { id: string }) => id)).toEqual([scheduled.data.id, queued?.id]);
    expect(rowsOf(files.database, "SELECT * FROM message_events")).toEqual([]);
    const again = await server.json("POST", "/v2/messages/number_pool", body, key);
    expect([again.headers.get("idempotent-replayed"), again.body]).toEqual(["true", ended]);
    expect(files.ledger()).toHaveLength(2);
    expect(await server.stop()).toBe(0);
  });
});
