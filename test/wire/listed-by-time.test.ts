import { timestampFromDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PoolSendService } from "../../gen/numberpool/v1/pool_send_service_pb.ts";
import { API_KEY, startServer, type TestServer, temporaryFolder } from "../server.ts";
import { createGrpcClient, type GrpcClient } from "./grpc-client.ts";
import { makePool, until } from "./pools.ts";

const folder = temporaryFolder();
let server: TestServer;
let grpc: GrpcClient;
let profileId: string;
/** The sent messages, oldest first, each in its own millisecond. */
const sent: { readonly id: string; readonly at: number }[] = [];

beforeAll(async () => {
  server = await startServer({ database: `${folder.path}/numberpool.db` });
  grpc = createGrpcClient(server.grpc, API_KEY);
  profileId = (await makePool(server)).profileId;
  for (const to of ["+13125550100", "+13125550108", "+13125550100", "+13125550108"]) {
    const { body } = await server.json("POST", "/v2/messages/number_pool", {
      messaging_profile_id: profileId,
      to,
      text: "Hello",
    });
    const at = Date.parse(body.data.received_at);
    sent.push({ id: body.data.id, at });
    await until(
      async () => Date.now(),
      (now) => now > at + 1,
    );
  }
});

afterAll(async () => {
  grpc.close();
  expect(await server.stop()).toBe(0);
  folder.remove();
});

const time = (ms: number) => new Date(ms).toISOString();
const at = (index: number) => sent[index]?.at as number;
const ids = (...indexes: number[]) => indexes.map((index) => sent[index]?.id);

async function listed(query: string): Promise<string[]> {
  const { status, body } = await server.json("GET", `/v2/messages?${query}`);
  expect([status, body.errors]).toEqual([200, undefined]);
  return body.data.map(({ id }: { id: string }) => id);
}

describe("messages are listed by the time of their acceptance", () => {
  it("in JSON, both ends included", async () => {
    const gte = (ms: number) => `filter[received_at][gte]=${time(ms)}`;
    const lte = (ms: number) => `filter[received_at][lte]=${time(ms)}`;
    expect(await listed(gte(at(2)))).toEqual(ids(3, 2));
    expect(await listed(gte(at(2) + 1))).toEqual(ids(3));
    expect(await listed(lte(at(1)))).toEqual(ids(1, 0));
    expect(await listed(lte(at(1) - 1))).toEqual(ids(0));
    expect(await listed(`${gte(at(1))}&${lte(at(2))}`)).toEqual(ids(2, 1));
    expect(await listed(`${gte(at(2))}&${lte(at(1))}`)).toEqual([]);
    expect(await listed(`${gte(at(0))}&filter[to]=%2B13125550108`)).toEqual(ids(3, 1));
    expect(await listed("filter[received_at][gte]=9999-12-31T23:59:59Z")).toEqual([]);
    expect(await listed("filter[received_at][lte]=9999-12-31T23:59:59Z")).toEqual(ids(3, 2, 1, 0));
    expect(await listed("filter[received_at][lte]=1969-12-31T23:59:59Z")).toEqual([]);
  });

  it("to less than a millisecond", async () => {
    const withMicro = (ms: number) => time(ms).replace("Z", "001Z");
    expect(await listed(`filter[received_at][gte]=${withMicro(at(2))}`)).toEqual(ids(3));
    expect(await listed(`filter[received_at][lte]=${withMicro(at(2))}`)).toEqual(ids(2, 1, 0));
  });

  it("page by page", async () => {
    const filter = `filter[received_at][gte]=${time(at(0))}&filter[received_at][lte]=${time(at(2))}`;
    const found: string[] = [];
    for (let cursor = ""; ; ) {
      const { body } = await server.json("GET", `/v2/messages?${filter}&page[size]=1${cursor}`);
      found.push(...body.data.map(({ id }: { id: string }) => id));
      if (body.meta.next === undefined || body.meta.next === null) break;
      cursor = `&page[after]=${body.meta.next}`;
    }
    expect(found).toEqual(ids(2, 1, 0));
  });

  it("over gRPC and Connect", async () => {
    const range = { gte: timestampFromMs(at(1)), lte: timestampFromDate(new Date(at(2))) };
    const { message } = await grpc.call(PoolSendService.method.listMessages, { filter: { receivedAt: range } });
    expect(message.data.map(({ id }) => id)).toEqual(ids(2, 1));
    const { body } = await server.json("POST", "/numberpool.v1.PoolSendService/ListMessages", {
      filter: { receivedAt: { gte: time(at(1)), lte: time(at(2)) } },
    });
    expect(body.data.map(({ id }: { id: string }) => id)).toEqual(ids(2, 1));
  });

  it.each([
    ["filter[received_at][gte]=2027-02-29T00:00:00Z", "filter[received_at][gte]"],
    ["filter[received_at][lte]=yesterday", "filter[received_at][lte]"],
    ["filter[received_at][before]=2027-01-01T00:00:00Z", "filter[received_at][before]"],
    ["filter[received_at]=2027-01-01T00:00:00Z", "filter[received_at]"],
  ])("and %s is refused", async (query, parameter) => {
    const { status, body } = await server.json("GET", `/v2/messages?${query}`);
    expect([status, body.errors?.[0].source]).toEqual([400, { parameter }]);
  });
});
