import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Client, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { expect, it } from "vitest";
import { PoolSendService } from "../../gen/numberpool/v1/pool_send_service_pb.ts";
import { either } from "../either.ts";
import { API_KEY, startServer, temporaryFolder } from "../server.ts";
import { GrpcRefusal } from "../wire/grpc-client.ts";
import { makePool } from "../wire/pools.ts";
import { pathOf } from "./contract.ts";

const { streamMessages } = PoolSendService.method;
const asIs = (bytes: Buffer) => bytes;

it("a drain ends an open stream at once, after its responses", async () => {
  const folder = temporaryFolder();
  const server = await startServer({ database: `${folder.path}/numberpool.db` });
  const { profileId } = await makePool(server);
  const client = new Client(server.grpc, credentials.createInsecure());
  const metadata = new Metadata();
  metadata.set("authorization", `Bearer ${API_KEY}`);
  const call = client.makeBidiStreamRequest(pathOf(streamMessages), asIs, asIs, metadata);
  const answered = new Promise<Buffer>((resolve) => call.once("data", resolve));
  const ended = new Promise<GrpcRefusal>((resolve) => {
    call.on("error", (error: ServiceError) => resolve(new GrpcRefusal(error)));
  });
  const message = { messagingProfileId: profileId, to: "+13125550100", text: "Before the drain" };
  call.write(Buffer.from(toBinary(streamMessages.input, create(streamMessages.input, { message }))));
  const response = fromBinary(streamMessages.output, await answered);
  expect(either(response).message?.text).toBe("Before the drain");

  const start = performance.now();
  const exited = server.stop();
  const { info, details, retryAfterMs } = await ended;
  expect({ reason: info?.reason, details, retryAfterMs }).toEqual({
    reason: "UNAVAILABLE",
    details: expect.stringMatching(/^The server is shutting down; .* Open another stream\.$/),
    retryAfterMs: 1000,
  });
  client.close();
  expect(await exited).toBe(0);
  expect(performance.now() - start).toBeLessThan(5_000);
  folder.remove();
});
