import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PoolSendService } from "../../gen/numberpool/v1/pool_send_service_pb.ts";
import { either } from "../either.ts";
import { API_KEY, startServer, type TestServer, temporaryFolder } from "../server.ts";
import { createGrpcClient, type GrpcClient } from "./grpc-client.ts";
import { freshNumber, makeProfile, register } from "./pools.ts";

const { sendMessage, sendMessages } = PoolSendService.method;
const POOL = "/v2/messages/number_pool";
const LONG_CODES = 10;
const TOLL_FREE = 2;

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

/** A pool of ten long codes and two toll-free numbers at the weights 5 and 1. */
async function makeWeighted(fields: object) {
  const profileId = await makeProfile(server, { number_pool_settings: { long_code_weight: 5, toll_free_weight: 1 } });
  const make = (areaCode: string, count: number) =>
    Promise.all(
      Array.from({ length: count }, async () => {
        const phone_number = freshNumber(areaCode);
        await register(server, { phone_number, messaging_profile_id: profileId, ...fields });
        return phone_number;
      }),
    );
  return { profileId, longCodes: await make("212", LONG_CODES), tollFree: await make("800", TOLL_FREE) };
}

/** Runs this many tasks, a few at a time. */
async function inParallel(tasks: readonly (() => Promise<void>)[], width: number): Promise<void> {
  const left = [...tasks];
  const work = async () => {
    for (let task = left.pop(); task !== undefined; task = left.pop()) await task();
  };
  await Promise.all(Array.from({ length: width }, work));
}

/** How often each number was the sender. */
function createTally() {
  const uses = new Map<string, number>();
  let total = 0;
  return {
    note: (sender: string | undefined) => {
      if (sender === undefined) throw new Error("a message without a sender");
      uses.set(sender, (uses.get(sender) ?? 0) + 1);
      total += 1;
    },
    total: () => total,
    of: (numbers: readonly string[]) => numbers.map((number) => uses.get(number) ?? 0),
  };
}

const sum = (counts: readonly number[]) => counts.reduce((total, count) => total + count, 0);
const spread = (counts: readonly number[]) => Math.max(...counts) - Math.min(...counts);

describe("the weights 5 and 1 over ten long codes and two toll-free numbers", () => {
  it.each([
    ["queues that grow", {}],
    ["numbers that are never busy", { segments_per_second: 10_000 }],
  ])("give exactly 5,000 and 1,000 of 6,000 messages, evenly within a type: %s", async (_name, fields) => {
    const { profileId, longCodes, tollFree } = await makeWeighted(fields);
    const tally = createTally();
    const text = "Weighed";
    let recipient = 0;
    const request = () => {
      recipient += 1;
      return { messagingProfileId: profileId, to: `+1312557${String(recipient).padStart(4, "0")}`, text };
    };
    const batch = (size: number) => async () => {
      const { message } = await grpc.call(sendMessages, { messages: Array.from({ length: size }, request) });
      for (const result of message.data) {
        const { message: accepted, error } = either(result);
        if (error !== undefined) throw new Error(error.detail);
        tally.note(accepted?.from?.phoneNumber);
      }
    };
    const single = async () => {
      tally.note((await grpc.call(sendMessage, request())).message.data?.from?.phoneNumber);
    };
    const json = async () => {
      const { to } = request();
      const answer = await server.json("POST", POOL, { messaging_profile_id: profileId, to, text });
      tally.note(answer.body.data?.from.phone_number);
    };
    const tasks = [
      ...Array.from({ length: 6 }, () => batch(500)),
      ...Array.from({ length: 100 }, () => batch(17)),
      ...Array.from({ length: 650 }, () => [single, json]).flat(),
    ];
    // A fixed shuffle, so that batches and single sends run together.
    for (let at = tasks.length - 1, state = 42; at > 0; at -= 1) {
      state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
      const other = state % (at + 1);
      [tasks[at], tasks[other]] = [tasks[other] as () => Promise<void>, tasks[at] as () => Promise<void>];
    }
    await inParallel(tasks, 24);
    expect(tally.total()).toBe(6_000);
    expect([sum(tally.of(longCodes)), sum(tally.of(tollFree))]).toEqual([5_000, 1_000]);
    expect(spread(tally.of(longCodes))).toBeLessThanOrEqual(1);
    expect(spread(tally.of(tollFree))).toBeLessThanOrEqual(1);
  });

  it("give exactly five of every six messages in a row", async () => {
    const { profileId, longCodes } = await makeWeighted({});
    const senders: string[] = [];
    for (let count = 0; count < 24; count += 1) {
      const body = { messaging_profile_id: profileId, to: "+13125550100", text: "In a row" };
      senders.push((await server.json("POST", POOL, body)).body.data.from.phone_number);
    }
    for (let at = 0; at + 6 <= senders.length; at += 1) {
      const six = senders.slice(at, at + 6);
      expect(six.filter((sender) => longCodes.includes(sender))).toHaveLength(5);
    }
  });
});
