import { type ChildProcess, execFile, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { type DescMethod, type DescMethodUnary, fromBinary, fromJson, type Message, toJson } from "@bufbuild/protobuf";
import { type CallOptions, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import Telnyx, { APIError } from "telnyx";
import { ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { API_KEY, type TestServer } from "../server.ts";
import { createGrpcClient, GrpcRefusal } from "../wire/grpc-client.ts";
import { CATALOGUE, httpRequestOf, type Json, type JsonObject, pathOf } from "./contract.ts";

/**
 * A client's outcome: the response in the JSON of the contract or of the transport, or the refusal
 * as the catalogue has it.
 */
export type ClientOutcome = { readonly answer: JsonObject } | { readonly refusal: ToldRefusal };
export type ToldRefusal = {
  readonly reason: string;
  readonly code: string;
  readonly title: string;
  readonly detail: string;
  readonly pointer: string | undefined;
};

/** A client that calls RPCs by name, with requests in the contract's field names. */
export type AgreeingClient = {
  readonly call: (method: DescMethod, request: JsonObject) => Promise<ClientOutcome>;
  readonly close: () => void;
};

/** The response of an RPC in one form, whatever JSON the client makes. */
function canonical(method: DescMethod, answer: Json): JsonObject {
  return fromMessage(method, fromJson(method.output, answer));
}

function fromMessage(method: DescMethod, answer: Message): JsonObject {
  return toJson(method.output, answer, { alwaysEmitImplicit: true, useProtoFieldName: true }) as JsonObject;
}

type Info = { readonly reason: string; readonly metadata: Readonly<Record<string, string>> };

/**
 * A refusal of an RPC; throws when its gRPC code is not the one that the catalogue has for its
 * reason.
 */
function refusalOf(code: number, detail: string, info: Info | undefined): ClientOutcome {
  if (info === undefined) throw new Error(`${code} ${detail} has no ErrorInfo`);
  if (CATALOGUE.get(info.reason)?.rpcCode !== code) throw new Error(`${info.reason} came as ${code}`);
  const { code: documented = "", title = "", pointer } = info.metadata;
  return { refusal: { reason: info.reason, code: documented, title, detail, pointer } };
}

/** An answer of the JSON transport. */
function toldByJson(status: number, body: JsonObject): ClientOutcome {
  if (status === 200) return { answer: body };
  // biome-ignore lint/suspicious/noExplicitAny: the comparison detects a missing field.
  const [{ code, title, detail, source, meta }] = body.errors as any;
  if (CATALOGUE.get(meta.reason)?.httpStatus !== status) throw new Error(`${meta.reason} came as ${status}`);
  return { refusal: { reason: meta.reason, code, title, detail, pointer: source?.pointer ?? source?.parameter } };
}

export function grpcJs(server: TestServer): AgreeingClient {
  const client = createGrpcClient(server.grpc, API_KEY);
  return {
    call: async (method, request) => {
      try {
        const { message } = await client.call(method as DescMethodUnary, fromJson(method.input, request));
        return { answer: fromMessage(method, message) };
      } catch (error) {
        if (error instanceof GrpcRefusal) return refusalOf(error.code, error.details, error.info);
        throw error;
      }
    },
    close: client.close,
  };
}

export const connectNode = {
  grpc: (server: TestServer) => overTransport(createGrpcTransport({ baseUrl: `http://${server.grpc}` })),
  connect: (server: TestServer) => overTransport(createConnectTransport({ baseUrl: server.url, httpVersion: "1.1" })),
  grpcWeb: (server: TestServer) => overTransport(createGrpcWebTransport({ baseUrl: server.url, httpVersion: "1.1" })),
} as const;

function overTransport(transport: Transport): AgreeingClient {
  type Call = (request: Message, options: CallOptions) => Promise<Message>;
  return {
    call: async (method, request) => {
      const client = createClient(method.parent, transport) as unknown as Record<string, Call>;
      const headers = { authorization: `Bearer ${API_KEY}` };
      try {
        const call = client[method.localName] as Call;
        return { answer: fromMessage(method, await call(fromJson(method.input, request), { headers })) };
      } catch (error) {
        if (!(error instanceof ConnectError)) throw error;
        return refusalOf(error.code, error.rawMessage, error.findDetails(ErrorInfoSchema)[0]);
      }
    },
    close: () => undefined,
  };
}

const CODES: Readonly<Record<string, number>> = {
  invalid_argument: 3,
  not_found: 5,
  already_exists: 6,
  resource_exhausted: 8,
  failed_precondition: 9,
};

/** `buf curl`, which knows the contract by reflection alone. */
export function bufCurl(server: TestServer, buf: string): AgreeingClient {
  return {
    call: async (method, request) => {
      const args = ["curl", "--http2-prior-knowledge", "--protocol", "grpc", "-H", `authorization: Bearer ${API_KEY}`];
      const url = `http://${server.grpc}${pathOf(method)}`;
      const { isWell, stdout, stderr } = await run(buf, [...args, "-d", JSON.stringify(request), url]);
      if (isWell) return { answer: canonical(method, JSON.parse(stdout)) };
      const { code, message, details } = JSON.parse(stderr);
      const info = details.find(({ type }: { type: string }) => type === "google.rpc.ErrorInfo");
      return refusalOf(CODES[code] ?? 0, message, infoIn(info?.value));
    },
    close: () => undefined,
  };
}

function infoIn(value: string | undefined): Info | undefined {
  return value === undefined ? undefined : fromBinary(ErrorInfoSchema, Buffer.from(value, "base64"));
}

/** curl on the JSON transport. */
export function curl(server: TestServer, path: string): AgreeingClient {
  return {
    call: async (method, request) => {
      const http = httpRequestOf(method, request);
      const args = ["-sS", "-X", http.verb, "-H", `Authorization: Bearer ${API_KEY}`, "-w", "\n%{http_code}"];
      if (http.body !== undefined)
        args.push("-H", "Content-Type: application/json", "--data", JSON.stringify(http.body));
      const { stdout } = await run(path, [...args, server.url + http.path]);
      const at = stdout.lastIndexOf("\n");
      return toldByJson(Number(stdout.slice(at)), JSON.parse(stdout.slice(0, at)));
    },
    close: () => undefined,
  };
}

/** The official package, unchanged: its own methods where it has them, and its generic ones. */
export function telnyx(server: TestServer): AgreeingClient {
  const client = new Telnyx({ apiKey: API_KEY, baseURL: `${server.url}/v2`, maxRetries: 0 });
  return {
    call: async (method, request) => {
      const { verb, path, body } = httpRequestOf(method, request);
      try {
        return { answer: (await ask(verb, path.replace(/^\/v2/, ""), method.name, body as never)) as JsonObject };
      } catch (error) {
        if (!(error instanceof APIError) || error.status === undefined) throw error;
        return toldByJson(error.status, error.error as JsonObject);
      }
    },
    close: () => undefined,
  };

  function ask(verb: string, path: string, name: string, body: never): Promise<unknown> {
    const id = path.slice(path.lastIndexOf("/") + 1);
    switch (name) {
      case "CreateProfile":
        return client.messagingProfiles.create(body);
      case "UpdateProfile":
        return client.messagingProfiles.update(id, body);
      case "SendMessage":
        return client.messages.sendNumberPool(body);
      case "CreateMessage":
        return client.messages.send(body);
      case "GetMessage":
        return client.messages.retrieve(id);
      default:
        return verb === "POST" ? client.post(path, { body }) : client.get(path);
    }
  }
}

/** grpcio in its own process, with the code generated into a folder. */
export function pythonGrpc(server: TestServer, interpreter: string, script: string, sdk: string): AgreeingClient {
  const child: ChildProcess = spawn(interpreter, [script, sdk, server.grpc, API_KEY], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines = createInterface(child.stdout as NodeJS.ReadableStream)[Symbol.asyncIterator]();
  return {
    call: async (method, request) => {
      const module = method.parent.file.name.replaceAll("/", ".");
      const asked = { module, service: method.parent.name, method: method.name, input: method.input.name, request };
      child.stdin?.write(`${JSON.stringify(asked)}\n`);
      const { value, done } = await lines.next();
      if (done) throw new Error("Python ended");
      const reply = JSON.parse(value);
      if (reply.answer !== undefined) return { answer: canonical(method, reply.answer) };
      return refusalOf(reply.code, reply.message, reply.info);
    },
    close: () => child.stdin?.end(),
  };
}

function run(file: string, args: readonly string[]): Promise<{ isWell: boolean; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(file, args, { timeout: 30_000 }, (error, stdout, stderr) =>
      resolve({ isWell: error === null, stdout, stderr }),
    );
  });
}
