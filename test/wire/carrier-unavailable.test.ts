import { writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startServer, type TestServer, temporaryFolder } from "../server.ts";
import { freshNumber, makeProfile, register, until } from "./pools.ts";

const TO = "+13125550100";
const SANDBOX = "{type: sandbox}";

const folder = temporaryFolder();
const database = `${folder.path}/numberpool.db`;
const config = `${folder.path}/numberpool.yaml`;
let server: TestServer;
let profile: string;
let gone: string;
let there: string;

/** Starts the program with these carriers. */
const startWith = async (...carriers: string[]) => {
  writeFileSync(config, `carriers: {${carriers.map((name) => `${name}: ${SANDBOX}`).join(", ")}}`);
  server = await startServer({ database, env: { NUMBERPOOL_CONFIG: config } });
};

const send = (fields: object = {}, path = "/v2/messages/number_pool") =>
  server.json("POST", path, { messaging_profile_id: profile, to: TO, text: "Hello", ...fields });
const poolOf = async () => (await server.json("GET", `/v2/messaging_profiles/${profile}/number_pool`)).body.data;
const metric = async (name: string) => {
  const page = await (await fetch(`${server.metrics}/metrics`)).text();
  return page.split("\n").filter((line) => line.startsWith(`${name}{`));
};

beforeAll(async () => {
  await startWith("left", "right");
  profile = await makeProfile(server, { number_pool_settings: { sticky_sender: true } });
  gone = freshNumber();
  there = freshNumber();
  await register(server, { phone_number: gone, carrier: "left", messaging_profile_id: profile });
  await register(server, { phone_number: there, carrier: "right", messaging_profile_id: profile });
  // A recipient of the number whose carrier will be removed.
  await server.json("PUT", `/v2/messaging_profiles/${profile}/sticky_mappings/${encodeURIComponent("+13125550111")}`, {
    phone_number: gone,
  });
  expect((await send({ to: "+13125550111" })).body.data.from.phone_number).toBe(gone);
  expect(await server.stop()).toBe(0);
  await startWith("right");
});

afterAll(async () => {
  expect(await server.stop()).toBe(0);
  folder.remove();
});

describe("a number whose carrier is no longer configured", () => {
  it("is logged at start, by its carrier", async () => {
    await until(
      async () => server.stderr(),
      (text) => text.includes("carrier_unavailable"),
    );
    const lines = server
      .stderr()
      .split("\n")
      .filter((line) => line.includes("carrier_unavailable"));
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { event: "carrier_unavailable", carrier: "left", numbers: 1 },
    ]);
  });

  it("is counted in the metrics", async () => {
    expect(await metric("numberpool_carrier_unavailable_numbers")).toEqual([
      'numberpool_carrier_unavailable_numbers{carrier="left"} 1',
    ]);
  });

  it("is not eligible in the pool's view, with the cause", async () => {
    const causes = (await poolOf()).map((each: { number: { phone_number: string }; not_eligible_because: string }) => [
      each.number.phone_number,
      each.not_eligible_because,
    ]);
    expect(Object.fromEntries(causes)).toEqual({ [gone]: "carrier_unavailable", [there]: null });
  });

  it("is excluded from picks, which count it", async () => {
    for (let nth = 0; nth < 4; nth += 1) {
      const { status, body } = await send({ to: `+1312555013${nth}` });
      expect([status, body.data.from.phone_number]).toEqual([200, there]);
      expect(body.data.decision).toMatchObject({ pool_size: 2, eligible: 1, excluded: { carrier_unavailable: 1 } });
    }
  });

  it("loses its sticky recipients to another number, for good", async () => {
    const { body } = await send({ to: "+13125550111" });
    expect([body.data.from.phone_number, body.data.decision.is_fallback]).toEqual([there, false]);
    const { body: mappings } = await server.json("GET", `/v2/messaging_profiles/${profile}/sticky_mappings`);
    const mapped = mappings.data.find(({ to }: { to: string }) => to === "+13125550111");
    expect(mapped.phone_number).toBe(there);
  });

  it("is refused as a sender with 40320", async () => {
    const { status, body } = await send({ from: gone }, "/v2/messages");
    expect([status, body.errors[0].code, body.errors[0].source]).toEqual([400, "40320", { pointer: "/from" }]);
    expect(body.errors[0].detail).toContain("not configured");
  });

  it("leaves a pool without other numbers empty, and the refusal names the cause", async () => {
    const alone = await makeProfile(server);
    const path = `/v2/phone_numbers/${encodeURIComponent(gone)}`;
    expect((await server.json("PATCH", path, { messaging_profile_id: alone })).status).toBe(200);
    const refused = await until(
      () => send({ messaging_profile_id: alone }),
      ({ body }) => body.errors?.[0].detail.includes("carrier"),
    );
    expect([refused.status, refused.body.errors[0].code]).toEqual([400, "40321"]);
    expect(refused.body.errors[0].detail).toContain("of 1 numbers, 1 whose carrier is not configured");
  });

  it("sends again when the carrier is back", async () => {
    expect(await server.stop()).toBe(0);
    await startWith("left", "right");
    const sent = await send({ from: gone, messaging_profile_id: undefined }, "/v2/messages");
    expect([sent.status, sent.body.data?.from.carrier]).toEqual([200, "left"]);
    expect(await metric("numberpool_carrier_unavailable_numbers")).toEqual([]);
    expect(server.stderr()).not.toContain("carrier_unavailable");
  });
});
