import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { NumberService } from "../../gen/numberpool/v1/number_service_pb.ts";
import { OptOutService } from "../../gen/numberpool/v1/opt_out_service_pb.ts";
import { PoolSendService } from "../../gen/numberpool/v1/pool_send_service_pb.ts";
import { StickyMappingService } from "../../gen/numberpool/v1/sticky_mapping_service_pb.ts";
import { API_KEY, startServer, type TestServer, temporaryFolder } from "../server.ts";
import { createGrpcClient, type GrpcClient } from "./grpc-client.ts";
import { freshNumber, makePool, makeProfile, register } from "./pools.ts";

const TO = "+13125550100";
const folder = temporaryFolder();
let server: TestServer;
let grpc: GrpcClient;
let profileId: string;
let ours: string;

beforeAll(async () => {
  server = await startServer({ database: `${folder.path}/numberpool.db` });
  grpc = createGrpcClient(server.grpc, API_KEY);
  const pool = await makePool(server);
  profileId = pool.profileId;
  ours = pool.numbers[0] as string;
  await register(server, { phone_number: freshNumber() });
  const send = { messaging_profile_id: profileId, to: TO, text: "Hello" };
  await server.json("POST", "/v2/messages/number_pool", send);
  await server.json("PUT", `/v2/messaging_profiles/${profileId}/sticky_mappings/%2B13125550101`, {
    phone_number: ours,
  });
  await server.json("POST", "/v2/messaging_optouts", {
    messaging_profile_id: profileId,
    from: ours,
    to: "+13125550102",
  });
});

afterAll(async () => {
  grpc.close();
  expect(await server.stop()).toBe(0);
  folder.remove();
});

const listed = async (path: string): Promise<number> => (await server.json("GET", path)).body.data.length;

describe("a phone number whose plus is not escaped in a query", () => {
  it.each([
    ["the recipient of messages", () => `/v2/messages?filter[to]=${TO}`],
    ["the sender of messages", () => `/v2/messages?filter[from]=${ours}`],
    ["the recipient of opt-outs", () => "/v2/messaging_optouts?filter[to]=+13125550102"],
    ["the sender of opt-outs", () => `/v2/messaging_optouts?filter[from]=${ours}`],
    ["phone numbers", () => `/v2/phone_numbers?filter[phone_number]=${ours}`],
    ["phone numbers in a list", () => `/v2/phone_numbers?filter[phone_number][eq]=+12125550000,${ours}`],
    ["phone numbers by a part", () => `/v2/phone_numbers?filter[phone_number][contains]=${ours}`],
    ["messaging settings", () => `/v2/phone_numbers/messaging?filter[phone_number]=${ours}`],
    ["sticky mappings", () => `/v2/messaging_profiles/${profileId}/sticky_mappings?phone_number=${ours}`],
  ])("filters %s", async (_name, path) => {
    expect(await listed(path())).toBe(1);
  });

  it("leaves a space at the start of a name", async () => {
    await makeProfile(server, { name: "Branch 12" });
    expect(await listed("/v2/messaging_profiles?filter[name][contains]=+12")).toBe(1);
  });
});

it("a space before a phone number is not a plus in an RPC", async () => {
  const spaced = ours.replace("+", " ");
  const answers = [
    await grpc.call(PoolSendService.method.listMessages, { filter: { to: TO.replace("+", " ") } }),
    await grpc.call(PoolSendService.method.listMessages, { filter: { from: spaced } }),
    await grpc.call(OptOutService.method.listOptOuts, { filter: { to: " 13125550102" } }),
    await grpc.call(OptOutService.method.listOptOuts, { filter: { from: spaced } }),
    await grpc.call(NumberService.method.listNumbers, { filter: { phoneNumber: { eq: [spaced] } } }),
    await grpc.call(NumberService.method.listNumbers, { filter: { phoneNumber: { contains: spaced } } }),
    await grpc.call(StickyMappingService.method.listStickyMappings, {
      messagingProfileId: profileId,
      phoneNumber: spaced,
    }),
  ];
  expect(answers.map(({ message }) => message.data.length)).toEqual([0, 0, 0, 0, 0, 0, 0]);
});
