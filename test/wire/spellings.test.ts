import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startServer, type TestServer, temporaryFolder } from "../server.ts";
import { makePool } from "./pools.ts";

const folder = temporaryFolder();
let server: TestServer;
let profileId: string;
let sender: string;

beforeAll(async () => {
  server = await startServer({ database: `${folder.path}/numberpool.db` });
  const pool = await makePool(server, { profile: { whitelisted_destinations: ["*"] } });
  profileId = pool.profileId;
  sender = pool.numbers[0] as string;
});

afterAll(async () => {
  expect(await server.stop()).toBe(0);
  folder.remove();
});

/** One subscriber: the refused spelling, and the standard one. */
const SPELLINGS = [
  ["+610412555010", "+61412555010"],
  ["+4407912345678", "+447912345678"],
  ["+4402079460000", "+442079460000"],
  ["+540111555501001", "+5491155501001"],
  ["+55021312345678", "+5521312345678"],
] as const;

describe("a number in a second spelling", () => {
  const ways: readonly (readonly [name: string, code: string, field: string, enter: (number: string) => Answer])[] = [
    ["a send", "40310", "to", (to) => server.json("POST", "/v2/messages/number_pool", send(to))],
    ["a send from a number", "40310", "to", (to) => server.json("POST", "/v2/messages", { ...send(to), from: sender })],
    ["an opt-out", "10016", "to", (to) => server.json("POST", "/v2/messaging_optouts", optOut({ to }))],
    ["an opt-out's sender", "10016", "from", (from) => server.json("POST", "/v2/messaging_optouts", optOut({ from }))],
    ["a sticky mapping", "10016", "to", (to) => server.json("PUT", mapping(to), { phone_number: sender })],
    ["a registration", "10016", "phone_number", (phone_number) => server.json("POST", NUMBERS, { phone_number })],
  ];

  it.each(ways)(
    "is refused in %s with %s, and the refusal suggests the standard spelling",
    async (_, code, field, enter) => {
      for (const [refused, meant] of SPELLINGS) {
        const { status, body } = await enter(refused);
        expect([refused, status, body.errors?.[0]]).toMatchObject([
          refused,
          400,
          { code, source: { pointer: `/${field}` } },
        ]);
        expect(body.errors[0].detail).toContain(refused);
        expect(body.errors[0].detail).toContain(meant);
      }
    },
  );

  it("is refused in an item of a batch, and the others leave", async () => {
    const batch = { messages: ["+610412555010", "+61412555011"].map(send) };
    const { status, body } = await server.json("POST", "/v2/messages/number_pool/batch", batch);
    expect(status).toBe(200);
    expect(body.data[0].error).toMatchObject({ code: "40310" });
    expect(body.data[1].message.to[0].phone_number).toBe("+61412555011");
  });

  it("is refused in a preview", async () => {
    const preview = { messaging_profile_id: profileId, to: "+610412555010" };
    const { body } = await server.json("POST", "/v2/messages/number_pool/preview", preview);
    expect(body.data.error).toMatchObject({ code: "40310", detail: expect.stringContaining("+61412555010") });
  });

  it("cannot get past an opt-out", async () => {
    expect((await server.json("POST", "/v2/messaging_optouts", optOut({ to: "+61412555020" }))).status).toBe(200);
    const codes = ["+61412555020", "+610412555020"].map(async (to) => {
      const { body } = await server.json("POST", "/v2/messages/number_pool", send(to));
      return body.errors?.[0].code;
    });
    expect(await Promise.all(codes)).toEqual(["40300", "40310"]);
  });
});

describe("numbers with a significant zero, and fictitious ones", () => {
  it.each(["+390236618300", "+393123456789", "+2250712345678", "+2290195123456", "+24106031234", "+78005553535"])(
    "%s can be sent to, opted out and mapped",
    async (to) => {
      expect((await server.json("POST", "/v2/messages/number_pool", send(to))).status).toBe(200);
      expect((await server.json("PUT", mapping(to), { phone_number: sender })).status).toBe(200);
      expect((await server.json("POST", "/v2/messaging_optouts", optOut({ to }))).status).toBe(200);
    },
  );

  it("+15550001234 can be sent to and registered", async () => {
    expect((await server.json("POST", "/v2/messages/number_pool", send("+15550001234"))).status).toBe(200);
    expect((await server.json("POST", NUMBERS, { phone_number: "+15550001234" })).status).toBe(200);
  });
});

// biome-ignore lint/suspicious/noExplicitAny: responses whose shape the tests know.
type Answer = Promise<{ status: number; body: any }>;
const NUMBERS = "/v2/phone_numbers";
const send = (to: string) => ({ messaging_profile_id: profileId, to, text: "Hello" });
const optOut = (fields: { to?: string; from?: string }) => ({
  messaging_profile_id: profileId,
  to: "+61412555099",
  ...fields,
});
const mapping = (to: string) => `/v2/messaging_profiles/${profileId}/sticky_mappings/${encodeURIComponent(to)}`;
