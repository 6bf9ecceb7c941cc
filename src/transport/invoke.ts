import {
  create,
  type DescMessage,
  type DescMethod,
  type DescService,
  getOption,
  hasOption,
  type Message,
} from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import type { Logger } from "pino";
import { accepts_messages, scope as scopeOption } from "../../gen/numberpool/v1/call_options_pb.ts";
import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import { type Scope, ScopeSchema } from "../../gen/numberpool/v1/scope_pb.ts";
import { clientAttempt } from "../domain/client-attempt.ts";
import { reasonName } from "../domain/error-form.ts";
import { Failure, failure, type Refusal } from "../domain/failure.ts";
import { type Call, callKey } from "../service/call.ts";
import type { Service } from "../service/services.ts";
import type { Caller } from "./authentication.ts";
import { type CanonicalizeIds, canonicalizeIdsOf } from "./canonical-ids.ts";
import { enumSpellings } from "./enum-spelling.ts";
import { TRANSPORT_LIMITS } from "./limits.ts";
import { refusalOfItem } from "./refused-item.ts";
import { requestCheckOf } from "./request-checks.ts";
import { traced, traceIdOf } from "./tracing.ts";

/** A method of the contract, as every transport sees it. */
export type Method = {
  readonly desc: DescMethod;
  readonly service: DescService;
  /** "/numberpool.v1.PoolSendService/SendMessage". */
  readonly path: string;
  /** The body limit, bytes. */
  readonly maxBytes: number;
};

/** An authenticated call, as a transport passes it to `invoke`. */
export type TransportCall = {
  readonly transport: "grpc" | "connect" | "json";
  readonly caller: Caller;
  readonly header: (name: string) => string | undefined;
  /** CANCELLED or DEADLINE_PASSED once the caller no longer waits; undefined while it waits. */
  readonly abandoned: () => Refusal | undefined;
  /** Bytes in the body. */
  readonly bytes: number;
  /** Decodes the body; throws a Failure. */
  readonly decode: () => Message;
};

/** An authenticated streaming call, as a transport passes it to `invoke`. */
export type StreamCall = Omit<TransportCall, "bytes" | "decode"> & {
  /** The requests as they arrive; throws a Failure for an undecodable one. */
  readonly requests: AsyncIterable<Message>;
  /** Sends a response; resolves when there is room for another. */
  readonly write: (response: Message) => Promise<void>;
};

/** The outcome of a call: a response with headers, or a refusal of the catalogue. */
export type CallOutcome =
  | { readonly response: Message; readonly headers: ReadonlyMap<string, string> | undefined }
  | { readonly refusal: Refusal };

/** Receives every ended call, for metrics. */
export type CallObserver = (call: {
  readonly method: string;
  readonly transport: string;
  /** "OK" or the reason's name. */
  readonly code: string;
  readonly seconds: number;
}) => void;

export type InvokeParts = {
  readonly services: readonly Service[];
  readonly log: Logger;
  readonly observe: CallObserver;
};

/** The entrance that all transports share: each passes its calls here, and encodes the outcome. */
export type Invoke = {
  readonly methods: readonly Method[];
  readonly invoke: (method: Method, call: TransportCall) => Promise<CallOutcome>;
  /** Runs a streaming call; gives its refusal, or undefined when it completed. */
  readonly stream: (method: Method, call: StreamCall) => Promise<Refusal | undefined>;
  /** Logs an unexpected error, and gives the refusal for the caller. */
  readonly unexpected: (method: Method, error: unknown) => Refusal;
  /** Calls in flight now. */
  readonly inFlight: () => number;
  /** Records a call that a transport refused itself: unauthenticated, too large, unknown method. */
  readonly recordRefusal: (transport: TransportCall["transport"], method: Method | undefined, refusal: Refusal) => void;
};

type Handler = (request: Message, context: HandlerContext) => Promise<Message>;
type StreamHandler = (requests: AsyncIterable<Message>, context: HandlerContext) => AsyncIterable<Message>;
type Entry = Method & {
  readonly scope: Scope;
  readonly acceptsMessages: boolean;
  readonly check: ReturnType<typeof requestCheckOf>;
  readonly canonicalizeIds: CanonicalizeIds | undefined;
  readonly handler: Handler | undefined;
};

/** Creates `invoke` over the services. Throws when a method of the contract has no scope. */
export function createInvoke({ services, log, observe }: InvokeParts): Invoke {
  const entries = new Map<string, Entry>();
  let inFlight = 0;
  for (const { service, methods } of services) {
    for (const desc of service.methods) {
      const entry = entryOf(service, desc, (methods as Record<string, Handler | undefined>)[desc.localName]);
      entries.set(entry.path, entry);
    }
  }

  const run = async (entry: Entry, call: TransportCall): Promise<CallOutcome> => {
    try {
      if (!call.caller.scopes.has(entry.scope)) throw lacksScope(entry.scope);
      if (entry.handler === undefined) throw notImplemented(entry);
      if (call.bytes > entry.maxBytes) throw tooLarge(entry.maxBytes);
      const request = call.decode();
      entry.canonicalizeIds?.(request);
      const found = entry.check(request, "");
      if (found !== undefined) throw found;
      const abandoned = call.abandoned();
      if (abandoned !== undefined) return { refusal: abandoned };
      const context = contextOf(entry, call);
      const response = await entry.handler(request, context.handler);
      return { response: complete(entry.desc.output, response), headers: context.headers() };
    } catch (error) {
      return { refusal: refusalOf(error, entry) };
    }
  };

  const runStream = async (entry: Entry, call: StreamCall): Promise<Refusal | undefined> => {
    try {
      if (!call.caller.scopes.has(entry.scope)) throw lacksScope(entry.scope);
      if (entry.handler === undefined) throw notImplemented(entry);
      const { handler } = contextOf(entry, call);
      const responses = (entry.handler as unknown as StreamHandler)(withCanonicalIds(entry, call.requests), handler);
      for await (const response of responses) await call.write(complete(entry.desc.output, response));
      return undefined;
    } catch (error) {
      return refusalOf(error, entry);
    }
  };

  /** The refusal for an error: a failure's own, or INTERNAL without details for a bug. */
  const refusalOf = (error: unknown, entry: Method): Refusal => {
    if (!(error instanceof Failure)) {
      log.error({ event: "call_failed", rpc_method: entry.path, err: error }, "call failed unexpectedly");
      return INTERNAL;
    }
    if (error.cause !== undefined) {
      log.error({ event: "call_failed", rpc_method: entry.path, err: error.cause }, "call failed");
    }
    return error.refusal;
  };

  const record = (
    transport: string,
    method: Method | undefined,
    refusal: Refusal | undefined,
    durationMs: number,
    call?: Pick<TransportCall, "caller" | "header">,
  ) => {
    const code = codeOf(refusal);
    observe({ method: method?.path ?? "", transport, code, seconds: durationMs / 1000 });
    const fields = {
      event: "call_ended",
      transport,
      rpc_method: method?.path,
      code,
      duration_ms: Math.round(durationMs * 1000) / 1000,
      organization_id: call?.caller.organizationId,
      api_key_id: call?.caller.apiKeyId,
      trace_id: call && traceIdOf(call.header),
    };
    log.info(fields, "call ended");
  };

  return {
    methods: [...entries.values()],
    invoke: async (method, call) => {
      const start = performance.now();
      const entry = entries.get(method.path) as Entry;
      inFlight += 1;
      const outcome = await traced(
        method.path,
        call.header,
        () => run(entry, call),
        (ended) => codeOf(refusalIn(ended)),
      );
      inFlight -= 1;
      record(call.transport, method, refusalIn(outcome), performance.now() - start, call);
      return outcome;
    },
    stream: async (method, call) => {
      const start = performance.now();
      const entry = entries.get(method.path) as Entry;
      const refusal = await traced(method.path, call.header, () => runStream(entry, call), codeOf);
      record(call.transport, method, refusal, performance.now() - start, call);
      return refusal;
    },
    unexpected: (method, error) => refusalOf(error, method),
    inFlight: () => inFlight,
    recordRefusal: (transport, method, refusal) => record(transport, method, refusal, 0),
  };
}

function refusalIn(outcome: CallOutcome): Refusal | undefined {
  return "refusal" in outcome ? outcome.refusal : undefined;
}

function codeOf(refusal: Refusal | undefined): string {
  return refusal === undefined ? "OK" : reasonName(refusal.reason);
}

/** A method may return the fields of its response alone. */
function complete(desc: DescMessage, response: Message): Message {
  return "$typeName" in response ? response : create(desc, response);
}

/** The refusal of a call whose caller cancelled it or closed its connection. */
export const CANCELLED: Refusal = {
  reason: ErrorReason.CANCELLED,
  detail: "The caller cancelled the call before it ran; nothing was accepted.",
};

/** The refusal of a call whose deadline passed before it ran. */
export const DEADLINE_PASSED: Refusal = {
  reason: ErrorReason.TIMEOUT,
  detail: "The deadline passed before the call ran; nothing was accepted. Set a longer deadline.",
};

/** The refusal for an unexpected error. */
const INTERNAL: Refusal = {
  reason: ErrorReason.INTERNAL,
  detail:
    "Internal error; nothing was accepted. Try again with an idempotency key, and report the error if it persists.",
};

function entryOf(service: DescService, desc: DescMethod, handler: Handler | undefined): Entry {
  if (!hasOption(desc, scopeOption)) throw new Error(`${service.typeName}.${desc.name} has no scope in the contract.`);
  const acceptsMessages = getOption(desc, accepts_messages);
  const isBatch = desc.input.fields.some((field) => field.fieldKind === "list" && field.listKind === "message");
  return {
    desc,
    service,
    path: `/${service.typeName}/${desc.name}`,
    scope: getOption(desc, scopeOption),
    maxBytes: acceptsMessages && !isBatch ? TRANSPORT_LIMITS.sendBytes : TRANSPORT_LIMITS.requestBytes,
    acceptsMessages,
    check: requestCheckOf(desc.input),
    canonicalizeIds: canonicalizeIdsOf(desc.input),
    handler,
  };
}

async function* withCanonicalIds({ canonicalizeIds }: Entry, requests: AsyncIterable<Message>): AsyncIterable<Message> {
  for await (const request of requests) {
    canonicalizeIds?.(request);
    yield request;
  }
}

function lacksScope(scope: Scope): Failure {
  const name = enumSpellings(ScopeSchema).written.get(scope);
  return failure(ErrorReason.PERMISSION_DENIED, `The API key lacks the scope \`${name}\`; use a key that has it.`);
}

function notImplemented(entry: Entry): Failure {
  return failure(ErrorReason.NOT_IMPLEMENTED, `${entry.desc.name} is not implemented in this release.`);
}

function tooLarge(maxBytes: number): Failure {
  return failure(ErrorReason.REQUEST_TOO_LARGE, `The request is larger than ${maxBytes / 1024} KiB; make it smaller.`);
}

/** The context of a call for its service method. */
function contextOf(entry: Entry, call: Pick<TransportCall, "caller" | "transport" | "header" | "abandoned">) {
  let responseHeader: Headers | undefined;
  const known: Call = {
    organizationId: call.caller.organizationId,
    apiKeyId: call.caller.apiKeyId,
    idempotencyKey: entry.acceptsMessages ? call.header("idempotency-key") : undefined,
    attempt:
      entry.acceptsMessages && call.transport === "json"
        ? clientAttempt(call.header("x-stainless-retry-count"), call.header("x-stainless-timeout"))
        : undefined,
    check: (desc, message) => refusalOfItem(message) ?? requestCheckOf(desc)(message, "")?.refusal,
    abandoned: call.abandoned,
  };
  const values: HandlerContext["values"] = {
    get: (key) => (key.id === callKey.id ? (known as never) : key.defaultValue),
    set: () => values,
    delete: () => values,
  };
  const handler: HandlerContext = {
    method: entry.desc,
    service: entry.service,
    signal: NEVER,
    timeoutMs: () => undefined,
    requestMethod: "POST",
    url: entry.path,
    protocolName: call.transport,
    requestHeader: NO_HEADERS,
    responseTrailer: NO_HEADERS,
    get responseHeader() {
      responseHeader ??= new Headers();
      return responseHeader;
    },
    values,
  };
  return { handler, headers: () => responseHeader && new Map(responseHeader) };
}

const NEVER = new AbortController().signal;
const NO_HEADERS = new Headers();
