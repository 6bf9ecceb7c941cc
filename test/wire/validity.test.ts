import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startServer, type TestServer, temporaryFolder } from "../server.ts";
import { makePool, until } from "./pools.ts";

const POOL = "/v2/messages/number_pool";
const TO = "+13125550100";

const folder = temporaryFolder();
let server: TestServer;

beforeAll(async () => {
  server = await startServer({ database: `${folder.path}/numberpool.db` });
});

afterAll(async () => {
  expect(await server.stop()).toBe(0);
  folder.remove();
});

const send = (profileId: string, fields: object = {}) =>
  server.json("POST", POOL, { messaging_profile_id: profileId, to: TO, text: "Hello", ...fields });
const read = async (id: string) => (await server.json("GET", `/v2/messages/${id}`)).body.data;
const setValidity = (profileId: string, validity_period_seconds: number) =>
  server.json("PATCH", `/v2/messaging_profiles/${profileId}`, { validity_period_seconds });
const ended = (id: string) =>
  until(
    () => read(id),
    (message) => message.completed_at !== null,
  );
/** Seconds between a message's valid_until, at acceptance, and its end. */
const late = (accepted: { valid_until: string }, end: { completed_at: string }) =>
  (Date.parse(end.completed_at) - Date.parse(accepted.valid_until)) / 1000;

describe.concurrent("a message's validity", () => {
  it("refuses a send that would wait longer, with the time until there is room", async () => {
    const profile = { validity_period_seconds: 2 };
    const { profileId, numbers } = await makePool(server, { profile, number: { segments_per_second: 0.01 } });
    expect((await send(profileId)).status).toBe(200);
    for (const path of [POOL, "/v2/messages"]) {
      const from = path === POOL ? {} : { from: numbers[0] };
      const body = { messaging_profile_id: profileId, to: TO, text: "Hello", ...from };
      const { status, body: refused, headers } = await server.json("POST", path, body);
      expect([status, refused.errors?.[0].code]).toEqual([429, "40318"]);
      expect(Number(headers.get("retry-after"))).toBeGreaterThan(90);
      expect(Number(headers.get("retry-after"))).toBeLessThanOrEqual(100);
    }
    await setValidity(profileId, 200);
    const { status, body } = await send(profileId);
    expect(status).toBe(200);
    expect(body.data.wait_seconds).toBeGreaterThan(90);
  });

  it("makes the pool pick another number when the sticky sender's wait exceeds it", async () => {
    const settings = { long_code_weight: 1, toll_free_weight: 1, sticky_sender: true };
    const profile = { number_pool_settings: settings, validity_period_seconds: 2 };
    const { profileId } = await makePool(server, { long: 2, profile, number: { segments_per_second: 0.01 } });
    const [first, second, third] = [await send(profileId), await send(profileId), await send(profileId)];
    expect([first.status, second.status, third.status]).toEqual([200, 200, 429]);
    expect(second.body.data.from.phone_number).not.toBe(first.body.data.from.phone_number);
  });

  it("ends a message in time behind messages of a paused number with longer validity", async () => {
    const { profileId, numbers } = await makePool(server, { number: { segments_per_second: 1000 } });
    const path = `/v2/phone_numbers/${numbers[0]}`;
    expect((await server.json("PATCH", path, { segments_per_second: 0.5 })).status).toBe(200);
    await send(profileId);
    const long = (await send(profileId)).body.data;
    await setValidity(profileId, 6);
    const short = (await send(profileId)).body.data;
    expect((await server.json("PATCH", path, { state: "paused" })).status).toBe(200);
    const end = await ended(short.id);
    expect(end).toMatchObject({ to: [{ status: "expired" }], errors: [{ code: "40014" }], sent_at: null });
    expect(late(short, end)).toBeGreaterThanOrEqual(0);
    expect(late(short, end)).toBeLessThan(2);
    expect((await read(long.id)).to[0].status).toBe("queued");
  });
});
