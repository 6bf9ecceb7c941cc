import {
  create,
  type DescMessage,
  type DescMethodBiDiStreaming,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { anyUnpack, durationMs } from "@bufbuild/protobuf/wkt";
import { Client, type ClientReadableStream, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { StatusSchema } from "../../gen/google/rpc/status_pb.ts";

/** A refused call, with the details of its google.rpc.Status. */
export class GrpcRefusal extends Error {
  readonly code: number;
  readonly details: string;
  /** ErrorInfo; undefined without one. */
  readonly info:
    | { readonly reason: string; readonly domain: string; readonly metadata: Record<string, string> }
    | undefined;
  /** The fields that BadRequest names. */
  readonly fields: readonly string[];
  /** RetryInfo, milliseconds. */
  readonly retryAfterMs: number | undefined;

  constructor(error: ServiceError) {
    super(error.message);
    this.name = "GrpcRefusal";
    this.code = error.code;
    this.details = error.details;
    const bytes = error.metadata.get("grpc-status-details-bin")[0];
    const details = Buffer.isBuffer(bytes) ? fromBinary(StatusSchema, bytes).details : [];
    const find = <Desc extends DescMessage>(desc: Desc): MessageShape<Desc> | undefined =>
      details.map((any) => anyUnpack(any, desc)).find((detail) => detail !== undefined);
    this.info = find(ErrorInfoSchema);
    this.fields = find(BadRequestSchema)?.fieldViolations.map(({ field }) => field) ?? [];
    const delay = find(RetryInfoSchema)?.retryDelay;
    this.retryAfterMs = delay === undefined ? undefined : durationMs(delay);
  }
}

/** An answered call. */
export type GrpcAnswer<Answer> = { readonly message: Answer; readonly headers: Metadata };

/** A client of every method of the contract, by its descriptor. Calls reject with a GrpcRefusal. */
export type GrpcClient = {
  readonly call: <In extends DescMessage, Out extends DescMessage>(
    method: DescMethodUnary<In, Out>,
    request: MessageInitShape<In>,
    metadata?: Readonly<Record<string, string>>,
  ) => Promise<GrpcAnswer<MessageShape<Out>>>;
  /** Calls a path with any bytes and only the given metadata; gives the response's bytes. */
  readonly callBytes: (
    path: string,
    bytes: Uint8Array,
    metadata?: Readonly<Record<string, string>>,
  ) => Promise<GrpcAnswer<Uint8Array>>;
  /** Calls a streaming method with all requests at once; resolves with the responses. */
  readonly stream: <In extends DescMessage, Out extends DescMessage>(
    method: DescMethodBiDiStreaming<In, Out> | DescMethodServerStreaming<In, Out>,
    requests: readonly MessageInitShape<In>[],
  ) => Promise<MessageShape<Out>[]>;
  readonly close: () => void;
};

/** A client that sends the key with every call. */
export function createGrpcClient(address: string, apiKey: string): GrpcClient {
  const client = new Client(address, credentials.createInsecure(), {
    "grpc.max_receive_message_length": -1,
    "grpc.max_send_message_length": -1,
  });
  const authorization = { authorization: `Bearer ${apiKey}` };
  const asIs = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const asBuffer = (bytes: Buffer) => bytes;
  const sent = (entries: Readonly<Record<string, string>>) => {
    const metadata = new Metadata();
    for (const [name, value] of Object.entries(entries)) metadata.set(name, value);
    return metadata;
  };
  const deadline = () => ({ deadline: Date.now() + 20_000 });

  const callBytes: GrpcClient["callBytes"] = (path, bytes, metadata = {}) =>
    new Promise((resolve, reject) => {
      let headers = new Metadata();
      const call = client.makeUnaryRequest(path, asIs, asIs, bytes, sent(metadata), deadline(), (error, message) => {
        if (error !== null) reject(new GrpcRefusal(error));
        else resolve({ message: message as Uint8Array, headers });
      });
      call.on("metadata", (received: Metadata) => {
        headers = received;
      });
    });

  return {
    call: async (method, request, metadata = {}) => {
      const bytes = toBinary(method.input, create(method.input, request));
      const path = `/${method.parent.typeName}/${method.name}`;
      const answer = await callBytes(path, bytes, { ...authorization, ...metadata });
      return { message: fromBinary(method.output, answer.message), headers: answer.headers };
    },
    callBytes,
    stream: (method, requests) =>
      new Promise((resolve, reject) => {
        const path = `/${method.parent.typeName}/${method.name}`;
        const [first, ...rest] = requests.map((request) => toBinary(method.input, create(method.input, request)));
        const answers: MessageShape<typeof method.output>[] = [];
        const metadata = sent(authorization);
        const listen = (call: ClientReadableStream<Buffer>) => {
          call.on("data", (bytes: Uint8Array) => answers.push(fromBinary(method.output, bytes)));
          call.on("error", (error: Error) => reject(new GrpcRefusal(error as ServiceError)));
          call.on("end", () => resolve(answers));
        };
        if (method.methodKind === "server_streaming") {
          listen(client.makeServerStreamRequest(path, asIs, asBuffer, first as Uint8Array, metadata, deadline()));
          return;
        }
        const call = client.makeBidiStreamRequest(path, asIs, asBuffer, metadata, deadline());
        listen(call);
        for (const bytes of [first as Uint8Array, ...rest]) call.write(bytes);
        call.end();
      }),
    close: () => client.close(),
  };
}
