import { type DescMethod, fromBinary, fromJson, toBinary, toJson } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { Client, type ClientReadableStream, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { StatusSchema } from "../../gen/google/rpc/status_pb.ts";
import { httpRequestOf, type Json, type JsonObject, pathOf } from "./contract.ts";

/** A call's outcome in its transport. */
export type Outcome = AnsweredCall | RefusedCall;
export type AnsweredCall = { readonly kind: "answered"; readonly answer: Json };
export type RefusedCall = {
  readonly kind: "refused";
  /** The reason's name in the catalogue; undefined without one. */
  readonly reason: string | undefined;
  /** The gRPC code, in the JSON transport the HTTP status. */
  readonly status: number;
  /** The whole response but for times, as comparable text. */
  readonly all: string;
};

/** A transport that calls any RPC with a request in the contract's field names. */
export type Transport = {
  readonly name: "gRPC" | "Connect" | "gRPC-Web" | "JSON";
  /** Whether it supports streaming RPCs. */
  readonly hasStreams: boolean;
  readonly call: (method: DescMethod, request: JsonObject, apiKey: string) => Promise<Outcome>;
  readonly close: () => void;
};

/** All transports of a server. */
export function openTransports(server: { readonly url: string; readonly grpc: string }): readonly Transport[] {
  return [
    grpcTransport(server.grpc),
    connectTransport(server.url),
    grpcWebTransport(server.url),
    jsonTransport(server.url),
  ];
}

/** A stream that is silent for this long, milliseconds, is complete. */
const QUIET = 400;
const asIs = (bytes: Buffer) => bytes;

function grpcTransport(address: string): Transport {
  const client = new Client(address, credentials.createInsecure());
  return {
    name: "gRPC",
    hasStreams: true,
    close: () => client.close(),
    call: (method, request, apiKey) => {
      const bytes = Buffer.from(toBinary(method.input, fromJson(method.input, request)));
      const metadata = new Metadata();
      metadata.set("authorization", `Bearer ${apiKey}`);
      const deadline = { deadline: Date.now() + 20_000 };
      const decode = (answer: Buffer) => toJson(method.output, fromBinary(method.output, answer)) as Json;
      if (method.methodKind === "unary") {
        return new Promise((resolve) => {
          client.makeUnaryRequest(pathOf(method), asIs, asIs, bytes, metadata, deadline, (error, answer) => {
            if (error !== null) resolve(refusedByGrpc(error));
            else resolve({ kind: "answered", answer: decode(answer as Buffer) });
          });
        });
      }
      const answers: Json[] = [];
      return new Promise((resolve) => {
        const listen = (call: ClientReadableStream<Buffer>) => {
          const quiet = setTimeout(() => call.cancel(), QUIET);
          const answered = () => {
            clearTimeout(quiet);
            resolve({ kind: "answered", answer: answers });
          };
          call.on("data", (answer: Buffer) => {
            answers.push(decode(answer));
            quiet.refresh();
          });
          call.on("end", answered);
          call.on("error", (error: ServiceError) => {
            clearTimeout(quiet);
            if (error.code === CANCELLED) answered();
            else resolve(refusedByGrpc(error));
          });
        };
        if (method.methodKind === "server_streaming") {
          listen(client.makeServerStreamRequest(pathOf(method), asIs, asIs, bytes, metadata, deadline));
          return;
        }
        const call = client.makeBidiStreamRequest(pathOf(method), asIs, asIs, metadata, deadline);
        listen(call);
        call.write(bytes);
        call.end();
      });
    },
  };
}

const CANCELLED = 1;

function refusedByGrpc(error: ServiceError): RefusedCall {
  const bytes = error.metadata.get("grpc-status-details-bin")[0];
  const details = Buffer.isBuffer(bytes) ? bytes : Buffer.alloc(0);
  return {
    kind: "refused",
    reason: reasonIn(details),
    status: error.code,
    all: `${error.code} ${error.details} ${details.toString("base64")}`,
  };
}

/** The reason in the bytes of a google.rpc.Status; undefined when it has no ErrorInfo. */
export function reasonIn(status: Uint8Array): string | undefined {
  const { details } = fromBinary(StatusSchema, status);
  return details.map((any) => anyUnpack(any, ErrorInfoSchema)).find((info) => info !== undefined)?.reason;
}

function connectTransport(url: string): Transport {
  return {
    name: "Connect",
    hasStreams: false,
    close: () => undefined,
    call: async (method, request, apiKey) => {
      const response = await fetch(url + pathOf(method), {
        method: "POST",
        headers: { authorization: `Bearer ${apiKey}`, "content-type": "application/json" },
        body: JSON.stringify(request),
      });
      const text = await response.text();
      if (response.status === 200) return { kind: "answered", answer: JSON.parse(text) };
      return {
        kind: "refused",
        reason: reasonOfConnect(text),
        status: response.status,
        all: `${response.status} ${text}`,
      };
    },
  };
}

/** The reason in a Connect error; undefined when it has no ErrorInfo. */
export function reasonOfConnect(text: string): string | undefined {
  const { details = [] } = JSON.parse(text) as { details?: { type: string; value: string }[] };
  const info = details.find(({ type }) => type === "google.rpc.ErrorInfo");
  return info && fromBinary(ErrorInfoSchema, Buffer.from(info.value, "base64")).reason;
}

function grpcWebTransport(url: string): Transport {
  return {
    name: "gRPC-Web",
    hasStreams: false,
    close: () => undefined,
    call: async (method, request, apiKey) => {
      const message = toBinary(method.input, fromJson(method.input, request));
      const response = await fetch(url + pathOf(method), {
        method: "POST",
        headers: { authorization: `Bearer ${apiKey}`, "content-type": "application/grpc-web+proto" },
        body: enveloped(message),
      });
      const { messages, trailers } = openGrpcWeb(Buffer.from(await response.arrayBuffer()), response.headers);
      const status = Number(trailers.get("grpc-status"));
      if (status === 0) {
        const answer = fromBinary(method.output, messages[0] as Buffer);
        return { kind: "answered", answer: toJson(method.output, answer) as Json };
      }
      const details = Buffer.from(trailers.get("grpc-status-details-bin") ?? "", "base64");
      return { kind: "refused", reason: reasonIn(details), status, all: JSON.stringify([...trailers].sort()) };
    },
  };
}

/** A message with gRPC's prefix: no compression, and its length. */
export function enveloped(message: Uint8Array, flags = 0): Buffer {
  const prefix = Buffer.alloc(5);
  prefix[0] = flags;
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

/** The parts of a gRPC-Web response; without a message its trailers may be in the headers. */
export function openGrpcWeb(body: Buffer, headers: Headers) {
  const messages: Buffer[] = [];
  const trailers = new Map([...headers].filter(([name]) => name.startsWith("grpc-")));
  for (let at = 0; at + 5 <= body.length; ) {
    const length = body.readUInt32BE(at + 1);
    const part = body.subarray(at + 5, at + 5 + length);
    if (((body[at] as number) & 0x80) === 0) messages.push(part);
    else {
      for (const line of part.toString("latin1").split("\r\n").filter(Boolean)) {
        const colon = line.indexOf(":");
        trailers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
      }
    }
    at += 5 + length;
  }
  return { messages, trailers };
}

function jsonTransport(url: string): Transport {
  return {
    name: "JSON",
    hasStreams: false,
    close: () => undefined,
    call: async (method, request, apiKey) => {
      const { verb, path, body } = httpRequestOf(method, request);
      const response = await fetch(url + path, {
        method: verb,
        headers: {
          authorization: `Bearer ${apiKey}`,
          ...(body !== undefined && { "content-type": "application/json" }),
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
      const text = await response.text();
      const answer = JSON.parse(text);
      if (response.status === 200) return { kind: "answered", answer };
      const headers = [...response.headers].filter(([name]) => name !== "date").sort();
      return {
        kind: "refused",
        reason: answer.errors?.[0]?.meta?.reason,
        status: response.status,
        all: `${response.status} ${JSON.stringify(headers)} ${text}`,
      };
    },
  };
}
