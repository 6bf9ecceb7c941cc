import Database from "better-sqlite3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type JsonAnswer, startServer, type TestServer, temporaryFolder } from "../server.ts";
import { makePool, ON, until } from "./pools.ts";

const POOL = "/v2/messages/number_pool";
const TO = "+13125550100";
const MINUTE = 60_000;
/** The scheduler runs every five seconds. */
const PATIENCE = { timeout: 90_000 };

const folder = temporaryFolder();
let server: TestServer;

beforeAll(async () => {
  server = await startServer({ database: `${folder.path}/numberpool.db` });
});

afterAll(async () => {
  expect(await server.stop()).toBe(0);
  folder.remove();
});

const read = async (id: string) => (await server.json("GET", `/v2/messages/${id}`)).body.data;
const historyOf = async (id: string) => (await server.json("GET", `/v2/messages/${id}/events`)).body.data;
const cancel = (id: string) => server.json("DELETE", `/v2/messages/${id}`);

/** Waits until a message is final, and gives it. */
const ended = (id: string) =>
  until(
    () => read(id),
    (message) => message.completed_at !== null,
    30_000,
  );

/** A call that must succeed; gives `data`. */
async function done(calling: Promise<JsonAnswer>) {
  const { status, body } = await calling;
  expect([status, body.errors]).toEqual([200, undefined]);
  return body.data;
}

/** Schedules a message in ten minutes, and gives it as accepted. */
function schedule(profileId: string, fields: object = {}, path = "/v2/messages") {
  const send_at = new Date(Date.now() + 10 * MINUTE).toISOString();
  return done(
    server.json("POST", path, { messaging_profile_id: profileId, to: TO, text: "Later", send_at, ...fields }),
  );
}

/**
 * Lets ten minutes pass for scheduled messages, or more: it moves their times, in the server's
 * file.
 */
function makeDue(ids: readonly string[], validUntil?: number): void {
  const database = new Database(server.database, { timeout: 20_000 });
  const statement = database.prepare(
    `UPDATE messages SET send_at = @at, next_submit_at = @at, valid_until = coalesce(@validUntil, valid_until)
     WHERE id = @id AND status = 'scheduled'`,
  );
  const at = Date.now() - 100;
  const move = database.transaction(() => {
    for (const id of ids) expect(statement.run({ at, id, validUntil: validUntil ?? null }).changes).toBe(1);
  });
  move();
  database.close();
}

describe.concurrent("a scheduled message that becomes due", () => {
  it("is decided by the state at that time, and leaves", PATIENCE, async () => {
    const { profileId, numbers } = await makePool(server, { long: 3 });
    const settings = { ...ON, sticky_sender: true };
    const sticky = await makePool(server, { long: 3, profile: { number_pool_settings: settings } });
    const mapped = "+13125560194";
    const plain = await schedule(profileId, {}, POOL);
    const named = await schedule(profileId, { from: numbers[1] });
    const stuck = await schedule(sticky.profileId, { to: mapped }, POOL);
    const cancelled = await schedule(profileId);
    const untouched = await schedule(profileId);
    await done(server.json("DELETE", `/v2/phone_numbers/${numbers[2]}`));
    const mapping = `/v2/messaging_profiles/${sticky.profileId}/sticky_mappings/${encodeURIComponent(mapped)}`;
    await done(server.json("PUT", mapping, { phone_number: sticky.numbers[2] }));
    expect((await cancel(cancelled.id)).status).toBe(200);
    makeDue([plain.id, named.id, stuck.id]);

    const delivered = await ended(plain.id);
    const decision = { rule: "least_loaded", pool_size: 2 };
    expect(delivered).toMatchObject({ to: [{ status: "delivered" }], decision, valid_until: null });
    expect(numbers).toContain(delivered.from.phone_number);
    expect(delivered.wait_seconds).toBeGreaterThanOrEqual(0);
    const history = await historyOf(plain.id);
    expect(history.map(({ type, status }: Record<string, string>) => `${type} ${status}`)).toEqual([
      "accepted scheduled",
      "decided queued",
      "sending sending",
      "submitted sent",
      "receipt delivered",
    ]);
    expect(history[1].detail).toContain(delivered.from.phone_number);
    expect(await ended(named.id)).toMatchObject({ from: { phone_number: numbers[1] }, decision: { rule: "from" } });
    const bySticky = { from: { phone_number: sticky.numbers[2] }, decision: { rule: "sticky" } };
    expect(await ended(stuck.id)).toMatchObject(bySticky);
    expect((await cancel(plain.id)).status).toBe(403);
    expect((await read(cancelled.id)).to[0].status).toBe("cancelled");
    expect(await read(untouched.id)).toEqual(untouched);
  });

  it("has a history in which each event lies between the one before it and now", PATIENCE, async () => {
    const { profileId } = await makePool(server);
    const { id } = await schedule(profileId);
    makeDue([id]);
    await ended(id);
    const times = (await historyOf(id)).map(({ occurred_at }: { occurred_at: string }) => occurred_at);
    expect(times).toEqual([...times].sort());
    expect(Date.parse(times.at(-1))).toBeLessThanOrEqual(Date.now());
  });

  it("fails with the reason that would refuse it now", PATIENCE, async () => {
    const { profileId, numbers } = await makePool(server, { long: 3 });
    const [, gone, paused] = numbers;
    const optedOut = "+13125560193";
    const scheduled = {
      optedOut: await schedule(profileId, { to: optedOut }),
      poolOff: await schedule((await makePool(server)).profileId),
      deleted: await schedule((await makePool(server)).profileId),
      gone: await schedule(profileId, { from: gone }),
      paused: await schedule(profileId, { from: paused }),
      late: await schedule(profileId),
    };
    const profileOf = (name: keyof typeof scheduled) =>
      `/v2/messaging_profiles/${scheduled[name].messaging_profile_id}`;
    await done(server.json("POST", "/v2/messaging_optouts", { messaging_profile_id: profileId, to: optedOut }));
    await done(server.json("PATCH", profileOf("poolOff"), { number_pool_settings: null }));
    await done(server.json("DELETE", profileOf("deleted")));
    await done(server.json("DELETE", `/v2/phone_numbers/${gone}`));
    await done(server.json("PATCH", `/v2/phone_numbers/${paused}`, { state: "paused" }));
    makeDue([scheduled.late.id], Date.now() - 1);
    makeDue(Object.values(scheduled).flatMap(({ id }) => (id === scheduled.late.id ? [] : [id])));

    for (const [name, status, code] of [
      ["optedOut", "sending_failed", "40300"],
      ["poolOff", "sending_failed", "40321"],
      ["deleted", "sending_failed", "40321"],
      ["gone", "sending_failed", "40305"],
      ["paused", "sending_failed", "40320"],
      ["late", "expired", "40014"],
    ] as const) {
      const message = await ended(scheduled[name].id);
      const [error] = message.errors;
      expect([name, message.to[0].status, error.code, message.sent_at]).toEqual([name, status, code, null]);
      const events = await historyOf(message.id);
      expect(events.map(({ type }: { type: string }) => type)).toEqual(["accepted", status]);
      expect(events[1]).toMatchObject({ status, reason: error.reason, detail: error.detail });
    }
  });

  it("leaves although its profile is disabled by then, and so do queued ones", PATIENCE, async () => {
    const { profileId } = await makePool(server, { number: { segments_per_second: 1 } });
    const later = await schedule(profileId);
    const body = { messaging_profile_id: profileId, to: TO, text: "Now" };
    await done(server.json("POST", POOL, body));
    const queued = await done(server.json("POST", POOL, body));
    await done(server.json("PATCH", `/v2/messaging_profiles/${profileId}`, { enabled: false }));
    makeDue([later.id]);
    expect((await server.json("POST", POOL, body)).status).toBe(409);
    expect((await ended(queued.id)).to[0].status).toBe("delivered");
    expect((await ended(later.id)).to[0].status).toBe("delivered");
  });

  it("of a deleted profile fails, while queued ones leave", PATIENCE, async () => {
    const { profileId } = await makePool(server, { number: { segments_per_second: 1 } });
    const later = await schedule(profileId);
    const body = { messaging_profile_id: profileId, to: TO, text: "Now" };
    await done(server.json("POST", POOL, body));
    const queued = await done(server.json("POST", POOL, body));
    await done(server.json("DELETE", `/v2/messaging_profiles/${profileId}`));
    makeDue([later.id]);
    expect((await ended(queued.id)).to[0].status).toBe("delivered");
    expect(await ended(later.id)).toMatchObject({ to: [{ status: "sending_failed" }], errors: [{ code: "40321" }] });
  });

  it("stays scheduled while its pool is merely full, and can still be cancelled", PATIENCE, async () => {
    const { profileId } = await makePool(server, { number: { segments_per_second: 0.001 } });
    const scheduled = await schedule(profileId, { text: "x".repeat(1_000) });
    const other = await schedule((await makePool(server)).profileId);
    const body = { messaging_profile_id: profileId, to: TO, text: "Fill" };
    let last = await server.json("POST", POOL, body);
    while (last.status === 200) last = await server.json("POST", POOL, body);
    expect(last.status).toBe(429);
    makeDue([scheduled.id, other.id]);
    await ended(other.id);
    const waiting = await read(scheduled.id);
    expect(waiting).toMatchObject({ to: [{ status: "scheduled" }], from: null, decision: null, errors: [] });
    expect((await cancel(scheduled.id)).body.to[0].status).toBe("cancelled");
  });
});
