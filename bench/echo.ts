// The baselines of the benchmark: `node bench/echo.ts json|grpc|connect SAMPLE` serves one on a
// free loopback port and prints the port. SAMPLE is a response of the program, as JSON or as
// protobuf in base64: an echo responds in the same form and length, with the text and the recipient
// of the request.
import { createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type Metadata,
  Server,
  ServerCredentials,
  ServerInterceptingCall,
  type ServerInterceptor,
  ServerListenerBuilder,
  type ServerUnaryCall,
  type sendUnaryData,
} from "@grpc/grpc-js";
import Fastify from "fastify";
import {
  PoolSendService,
  type SendMessageRequest,
  SendMessageRequestSchema,
  type SendMessageResponse,
  SendMessageResponseSchema,
} from "../gen/numberpool/v1/pool_send_service_pb.ts";

const [kind, sample = ""] = process.argv.slice(2);
const port = await { json: serveJson, grpc: serveGrpc, connect: serveConnect }[kind as "json" | "grpc" | "connect"]();
console.log(port);

/** Bytes in, JSON.parse, JSON.stringify, bytes out. */
async function serveJson(): Promise<number> {
  const answer = JSON.parse(sample);
  const app = Fastify();
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("application/json", { parseAs: "buffer" }, (_request, body, done) => done(null, body));
  app.post("/v2/messages/number_pool", async (request, reply) => {
    const { to, text } = JSON.parse((request.body as Buffer).toString("utf8"));
    answer.data.text = text;
    answer.data.to[0].phone_number = to;
    return reply.type("application/json").send(JSON.stringify(answer));
  });
  await app.listen({ host: "127.0.0.1", port: 0 });
  return (app.server.address() as AddressInfo).port;
}

/**
 * The gRPC transport's stack: grpc-js with an interceptor and raw bytes, and protobuf-es in the
 * handler.
 */
function serveGrpc(): Promise<number> {
  const answer = fromBinary(SendMessageResponseSchema, Buffer.from(sample, "base64"));
  const intercept: ServerInterceptor = (_definition, call) =>
    new ServerInterceptingCall(call, {
      start: (next) => {
        const listener = new ServerListenerBuilder().withOnReceiveMetadata((metadata: Metadata, pass) => {
          pass(metadata);
        });
        next(listener.build());
      },
    });
  const server = new Server({ interceptors: [intercept], "grpc.max_concurrent_streams": 100 });
  const bytes = (content: Buffer) => content;
  // grpc-js copies by a method of Buffer.
  const buffer = ({ buffer, byteOffset, byteLength }: Uint8Array) => Buffer.from(buffer, byteOffset, byteLength);
  const sendMessage = {
    path: `/${PoolSendService.typeName}/SendMessage`,
    requestStream: false,
    responseStream: false,
    requestDeserialize: bytes,
    requestSerialize: bytes,
    responseDeserialize: bytes,
    responseSerialize: bytes,
  };
  server.addService(
    { sendMessage },
    {
      sendMessage: async (call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>) => {
        const request = fromBinary(SendMessageRequestSchema, call.request);
        callback(null, buffer(toBinary(SendMessageResponseSchema, echo(answer, request))));
      },
    },
  );
  return new Promise((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
}

/** The same service on connect-node alone. */
async function serveConnect(): Promise<number> {
  const { connectNodeAdapter } = await import("@connectrpc/connect-node");
  const answer = fromBinary(SendMessageResponseSchema, Buffer.from(sample, "base64"));
  const handler = connectNodeAdapter({
    routes: (router) => {
      router.service(PoolSendService, { sendMessage: async (request) => echo(answer, request) });
    },
  });
  const server = createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

function echo(answer: SendMessageResponse, { to, text }: SendMessageRequest): SendMessageResponse {
  const { data } = answer;
  const [recipient] = data?.to ?? [];
  if (data === undefined || recipient === undefined) throw new Error("the sample has no message");
  data.text = text ?? "";
  recipient.phoneNumber = to ?? "";
  return answer;
}
