import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startServer, type TestServer, temporaryFolder } from "../server.ts";
import { makePool, makeProfile } from "./pools.ts";

const OPT_OUTS = "/v2/messaging_optouts";

const folder = temporaryFolder();
let server: TestServer;
let profileId: string;
let ours: string;
let other: string;

beforeAll(async () => {
  server = await startServer({ database: `${folder.path}/numberpool.db` });
  const pool = await makePool(server, { long: 2 });
  profileId = pool.profileId;
  [ours, other] = pool.numbers as [string, string];
});

afterAll(async () => {
  expect(await server.stop()).toBe(0);
  folder.remove();
});

const optOut = (fields: object) => server.json("POST", OPT_OUTS, { messaging_profile_id: profileId, ...fields });
const list = async (query: string) => {
  const { status, body } = await server.json("GET", `${OPT_OUTS}?${query.replaceAll("+", "%2B")}`);
  expect(status).toBe(200);
  return body.data.map(({ to }: { to: string }) => to).sort();
};
const send = async (to: string, fields: object = {}) => {
  const body = { messaging_profile_id: profileId, to, text: "Hello", ...fields };
  const answer = await server.json("POST", "/v2/messages", body);
  return answer.status === 200 ? "accepted" : answer.body.errors[0].code;
};

describe("opt-outs", () => {
  it("have our number in from and the recipient in to", async () => {
    const { status, body } = await optOut({ from: ours, to: "+13125550100" });
    expect(status).toBe(200);
    expect(body.data).toMatchObject({
      record_type: "messaging_optout",
      messaging_profile_id: profileId,
      from: ours,
      to: "+13125550100",
      keyword: "",
    });
    expect(await send("+13125550100")).toBe("40300");
    // Our own number is not opted out.
    expect(await send(ours, { from: other })).toBe("accepted");
  });

  it("apply to the whole profile, whichever number got the reply, and to no other profile", async () => {
    await optOut({ from: ours, to: "+13125550101" });
    expect(await send("+13125550101", { from: ours })).toBe("40300");
    expect(await send("+13125550101", { from: other })).toBe("40300");
    const elsewhere = await makeProfile(server);
    const preview = { messaging_profile_id: elsewhere, to: "+13125550101" };
    const { body } = await server.json("POST", "/v2/messages/number_pool/preview", preview);
    expect(body.data.error.code).toBe("40321");
  });

  it("are added by hand without a from", async () => {
    const { body } = await optOut({ to: "+13125550102" });
    expect(body.data).toMatchObject({ from: "", to: "+13125550102" });
    expect(await send("+13125550102")).toBe("40300");
  });

  it.each([
    [{ from: "+13125550103" }, "10004", "/to"],
    [{ from: "3125550103", to: "+13125550103" }, "10016", "/from"],
    [{ from: "", to: "+13125550103" }, "10016", "/from"],
    [{ to: "3125550103" }, "10016", "/to"],
  ])("with %j are refused with %s at %s", async (fields, code, pointer) => {
    const { status, body } = await optOut(fields);
    expect(status).toBe(400);
    expect(body.errors[0]).toMatchObject({ code, source: { pointer } });
    expect(await send("+13125550103")).toBe("accepted");
  });

  it("are filtered by our number, by the recipient, and by both", async () => {
    await optOut({ from: other, to: "+13125550110" });
    await optOut({ from: ours, to: "+13125550111" });
    expect(await list(`filter[from]=${other}`)).toEqual(["+13125550110"]);
    expect(await list("filter[to]=+13125550111")).toEqual(["+13125550111"]);
    expect(await list(`filter[from]=${ours}&filter[to]=+13125550111`)).toEqual(["+13125550111"]);
    expect(await list(`filter[from]=${other}&filter[to]=+13125550111`)).toEqual([]);
  });

  it("end by the recipient", async () => {
    await optOut({ from: ours, to: "+13125550120" });
    const path = `/v2/messaging_profiles/${profileId}/messaging_optouts`;
    expect((await server.json("DELETE", `${path}/${encodeURIComponent(ours)}`)).status).toBe(404);
    const removed = await server.json("DELETE", `${path}/${encodeURIComponent("+13125550120")}`);
    expect(removed.body.data).toMatchObject({ from: ours, to: "+13125550120" });
    expect(await send("+13125550120")).toBe("accepted");
  });
});
