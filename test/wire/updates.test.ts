import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { NumberService } from "../../gen/numberpool/v1/number_service_pb.ts";
import { NumberState } from "../../gen/numberpool/v1/phone_number_pb.ts";
import { ProfileService } from "../../gen/numberpool/v1/profile_service_pb.ts";
import { API_KEY, startServer, type TestServer, temporaryFolder } from "../server.ts";
import { createGrpcClient, type GrpcClient, type GrpcRefusal } from "./grpc-client.ts";
import { freshNumber, makeProfile, register } from "./pools.ts";

const { updateProfile } = ProfileService.method;
const { updateNumber } = NumberService.method;

const folder = temporaryFolder();
let server: TestServer;
let grpc: GrpcClient;

beforeAll(async () => {
  server = await startServer({ database: `${folder.path}/numberpool.db` });
  grpc = createGrpcClient(server.grpc, API_KEY);
});

afterAll(async () => {
  grpc.close();
  expect(await server.stop()).toBe(0);
  folder.remove();
});

const profileOf = async (id: string) => (await server.json("GET", `/v2/messaging_profiles/${id}`)).body.data;
const numberOf = async (id: string) => (await server.json("GET", `/v2/phone_numbers/${id}`)).body.data;
const refusalOf = (call: Promise<unknown>): Promise<GrpcRefusal> =>
  call.then(
    () => Promise.reject(new Error("was accepted")),
    (error) => error,
  );

describe("an update mask", () => {
  it("of * covers every field, and absent ones become their defaults", async () => {
    const id = await makeProfile(server, {
      enabled: false,
      webhook_url: "https://example.com/a",
      validity_period_seconds: 60,
    });
    const profile = { name: "Whole", whitelistedDestinations: ["CA"] };
    const { message } = await grpc.call(updateProfile, { id, profile, updateMask: { paths: ["*"] } });
    expect(message.data).toMatchObject({ name: "Whole", enabled: true, validityPeriodSeconds: 14_400 });
    expect(message.data?.webhookUrl ?? "").toBe("");
    expect(await profileOf(id)).toMatchObject({ whitelisted_destinations: ["CA"], number_pool_settings: null });
  });

  it("of * still requires the required fields, and keeps a number's profile", async () => {
    const id = await makeProfile(server);
    const refusal = await refusalOf(grpc.call(updateProfile, { id, profile: {}, updateMask: { paths: ["*"] } }));
    expect(refusal.info?.reason).toBe("MISSING_PARAMETER");
    const number = await register(server, { phone_number: freshNumber(), messaging_profile_id: id, state: "paused" });
    const given = { id: number.id, number: { tags: ["a"] }, updateMask: { paths: ["*"] } };
    await grpc.call(updateNumber, given);
    expect(await numberOf(number.id)).toMatchObject({ state: "active", tags: ["a"], messaging_profile_id: id });
  });

  it("that is empty covers the populated fields, like an absent one", async () => {
    const number = await register(server, { phone_number: freshNumber(), state: "paused", tags: ["kept"] });
    const given = { id: number.id, number: { state: NumberState.DRAINING }, updateMask: { paths: [] } };
    await grpc.call(updateNumber, given);
    expect(await numberOf(number.id)).toMatchObject({ state: "draining", tags: ["kept"] });
  });

  it.each([[["nonsense"]], [["*", "name"]], [["name", "id"]], [["number_pool_settings.nonsense"]]])(
    "of %j is refused with the path",
    async (paths) => {
      const id = await makeProfile(server);
      const refusal = await refusalOf(grpc.call(updateProfile, { id, profile: { name: "x" }, updateMask: { paths } }));
      expect([refusal.code, refusal.info?.reason]).toEqual([3, "BAD_REQUEST"]);
      expect(refusal.message).toMatch(/"(nonsense|\*|id|number_pool_settings\.nonsense)"/);
    },
  );
});

describe("null in a PATCH", () => {
  it.each(["enabled", "name", "whitelisted_destinations", "validity_period_seconds", "webhook_api_version"])(
    "is refused for %s of a profile, which cannot be null",
    async (field) => {
      const id = await makeProfile(server, { enabled: false });
      const before = await profileOf(id);
      const answer = await server.json("PATCH", `/v2/messaging_profiles/${id}`, { name: "Changed", [field]: null });
      expect([answer.status, answer.body.errors[0].source]).toEqual([400, { pointer: `/${field}` }]);
      expect(answer.body.errors[0].code).toBe("10026");
      expect(await profileOf(id)).toEqual(before);
    },
  );

  it("is refused inside an object", async () => {
    const id = await makeProfile(server, { number_pool_settings: { long_code_weight: 5 } });
    const settings = { long_code_weight: null };
    const answer = await server.json("PATCH", `/v2/messaging_profiles/${id}`, { number_pool_settings: settings });
    expect([answer.status, answer.body.errors[0].source]).toEqual([
      400,
      { pointer: "/number_pool_settings/long_code_weight" },
    ]);
  });

  it.each(["state", "tags", "carrier"])("is refused for %s of a number", async (field) => {
    const number = await register(server, { phone_number: freshNumber(), state: "paused", tags: ["kept"] });
    const answer = await server.json("PATCH", `/v2/phone_numbers/${number.id}`, { [field]: null });
    expect([answer.status, answer.body.errors[0].source]).toEqual([400, { pointer: `/${field}` }]);
    expect(await numberOf(number.id)).toEqual(number);
  });

  it("clears a nullable field, and keeps a number's profile", async () => {
    const id = await makeProfile(server, { webhook_url: "https://example.com/a" });
    const cleared = { webhook_url: null, number_pool_settings: null };
    expect((await server.json("PATCH", `/v2/messaging_profiles/${id}`, cleared)).status).toBe(200);
    expect(await profileOf(id)).toMatchObject({ number_pool_settings: null });
    expect((await profileOf(id)).webhook_url || null).toBeNull();
    const number = await register(server, { phone_number: freshNumber(), messaging_profile_id: id });
    const path = `/v2/phone_numbers/${number.id}`;
    for (const each of [path, `${path}/messaging`]) {
      expect((await server.json("PATCH", each, { messaging_profile_id: null })).status).toBe(200);
    }
    expect((await numberOf(number.id)).messaging_profile_id).toBe(id);
  });
});

describe("a PATCH that changes nothing", () => {
  it("leaves updated_at of a profile and of a number", async () => {
    const id = await makeProfile(server, { number_pool_settings: { long_code_weight: 5 } });
    const profile = await profileOf(id);
    const number = await register(server, { phone_number: freshNumber(), messaging_profile_id: id, tags: ["a"] });
    for (const body of [
      {},
      { name: profile.name },
      { number_pool_settings: { long_code_weight: 5 } },
      { unknown: 1 },
    ]) {
      expect((await server.json("PATCH", `/v2/messaging_profiles/${id}`, body)).body.data).toEqual(profile);
    }
    for (const body of [{}, { tags: ["a"] }, { state: "active", messaging_profile_id: id }]) {
      expect((await server.json("PATCH", `/v2/phone_numbers/${number.id}`, body)).body.data).toEqual(number);
    }
    expect(await profileOf(id)).toEqual(profile);
    expect(await numberOf(number.id)).toEqual(number);
  });

  it("and one that changes something sets it", async () => {
    const id = await makeProfile(server);
    const { updated_at } = await profileOf(id);
    await new Promise((resolve) => setTimeout(resolve, 2));
    const { body } = await server.json("PATCH", `/v2/messaging_profiles/${id}`, { name: "Other" });
    expect(body.data.updated_at > updated_at).toBe(true);
  });
});
