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
import { LIMITS } from "../domain/limits.ts";
import { type Call, callKey } from "../service/call.ts";
import type { Service } from "../service/services.ts";
import type { Caller } from "./authentication.ts";
import { type CanonicalizeIds, canonicalizeIdsOf } from "./canonical-ids.ts";
import { enumSpellings } from "./enum-spelling.ts";
import { refusalOfItem } from "./refused-item.ts";
import { requestCheckOf } from "./request-checks.ts";
import { traced, traceIdOf } from "./tracing.ts";

/** A unary method of the contract, as every transport sees it. */
export type Method = {
  readonly desc: DescMethod;
  readonly service: DescService;
  /** "/numberpool.v1.PoolSendService/SendMessage". */
  readonly path: string;
  /** The largest body it takes, bytes. */
  readonly mostBytes: number;
};

/** A call as a transport hands it over, after it was authenticated on its headers. */
export type TransportCall = {
  readonly transport: "grpc" | "connect" | "json";
  readonly caller: Caller;
  readonly header: (name: string) => string | undefined;
  /** Why the caller no longer waits: LEFT or LATE. Undefined while it waits. */
  readonly abandoned: () => Refusal | undefined;
  /** Bytes of the body. */
  readonly bytes: number;
  /** Decodes the body; throws a Failure. */
  readonly decode: () => Message;
};

/** A streaming call as a transport hands it over. */
export type StreamCall = Omit<TransportCall, "bytes" | "decode"> & {
  /** The requests as they come; throws a Failure for one that cannot be decoded. */
  readonly requests: AsyncIterable<Message>;
  /** Sends an answer, and resolves when there is room for another. */
  readonly write: (answer: Message) => Promise<void>;
};

/** How a call ended: an answer with headers, or a refusal of the catalogue. Never an exception. */
export type CallOutcome =
  | { readonly answer: Message; readonly headers: ReadonlyMap<string, string> | undefined }
  | { readonly refusal: Refusal };

/** Told of every call that ended; for metrics. */
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

/** The one way in: every transport hands its calls to `invoke`, and encodes what it gives. */
export type Invoke = {
  readonly methods: readonly Method[];
  readonly invoke: (method: Method, call: TransportCall) => Promise<CallOutcome>;
  /** Carries out a streaming call; gives why it was refused, or undefined when it came to its end. */
  readonly stream: (method: Method, call: StreamCall) => Promise<Refusal | undefined>;
  /** Logs a fault of ours, and gives what the caller is told of it. */
  readonly fault: (method: Method, error: unknown) => Refusal;
  /** Calls under way now. */
  readonly inFlight: () => number;
  /** Notes a call that a transport refused before it could be handed over: unauthenticated, too large, no such path. */
  readonly note: (transport: TransportCall["transport"], method: Method | undefined, refusal: Refusal) => void;
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

/** Makes `invoke` over the services. Throws when a method of the contract has no scope. */
export function createInvoke({ services, log, observe }: InvokeParts): Invoke {
  const entries = new Map<string, Entry>();
  let underWay = 0;
  for (const { service, methods } of services) {
    for (const desc of service.methods) {
      const entry = entryOf(service, desc, (methods as Record<string, Handler | undefined>)[desc.localName]);
      entries.set(entry.path, entry);
    }
  }

  const carryOut = async (entry: Entry, call: TransportCall): Promise<CallOutcome> => {
    try {
      if (!call.caller.scopes.has(entry.scope)) throw lacksScope(entry.scope);
      if (entry.handler === undefined) throw notImplemented(entry);
      if (call.bytes > entry.mostBytes) throw tooLarge(entry.mostBytes);
      const request = call.decode();
      entry.canonicalizeIds?.(request);
      const found = entry.check(request, "");
      if (found !== undefined) throw found;
      const abandoned = call.abandoned();
      if (abandoned !== undefined) return { refusal: abandoned };
      const context = contextOf(entry, call);
      const answer = await entry.handler(request, context.handler);
      return { answer: whole(entry.desc.output, answer), headers: context.headers() };
    } catch (error) {
      return { refusal: refusalOf(error, entry) };
    }
  };

  const carryOutStream = async (entry: Entry, call: StreamCall): Promise<Refusal | undefined> => {
    try {
      if (!call.caller.scopes.has(entry.scope)) throw lacksScope(entry.scope);
      if (entry.handler === undefined) throw notImplemented(entry);
      const { handler } = contextOf(entry, call);
      const answers = (entry.handler as unknown as StreamHandler)(withCanonicalIds(entry, call.requests), handler);
      for await (const answer of answers) await call.write(whole(entry.desc.output, answer));
      return undefined;
    } catch (error) {
      return refusalOf(error, entry);
    }
  };

  /** What a caller is told of an error: a failure's own words, or of anything else that it is our fault, and no more. */
  const refusalOf = (error: unknown, entry: Method): Refusal => {
    if (!(error instanceof Failure)) {
      log.error({ err: error, method: entry.path }, "a call failed unexpectedly");
      return INTERNAL;
    }
    if (error.cause !== undefined) log.error({ err: error.cause, method: entry.path }, "a call failed");
    return error.refusal;
  };

  const note = (
    transport: string,
    method: Method | undefined,
    refusal: Refusal | undefined,
    ms: number,
    call?: Pick<TransportCall, "caller" | "header">,
  ) => {
    const code = codeOf(refusal);
    observe({ method: method?.path ?? "", transport, code, seconds: ms / 1000 });
    log.info({
      transport,
      method: method?.desc.name,
      code,
      ms: Math.round(ms * 1000) / 1000,
      organization_id: call?.caller.organizationId,
      api_key_id: call?.caller.apiKeyId,
      trace_id: call && traceIdOf(call.header),
    });
  };

  return {
    methods: [...entries.values()],
    invoke: async (method, call) => {
      const start = performance.now();
      const entry = entries.get(method.path) as Entry;
      underWay += 1;
      const outcome = await traced(
        method.path,
        call.header,
        () => carryOut(entry, call),
        (ended) => codeOf(refused(ended)),
      );
      underWay -= 1;
      note(call.transport, method, refused(outcome), performance.now() - start, call);
      return outcome;
    },
    stream: async (method, call) => {
      const start = performance.now();
      const entry = entries.get(method.path) as Entry;
      const refusal = await traced(method.path, call.header, () => carryOutStream(entry, call), codeOf);
      note(call.transport, method, refusal, performance.now() - start, call);
      return refusal;
    },
    fault: (method, error) => refusalOf(error, method),
    inFlight: () => underWay,
    note: (transport, method, refusal) => note(transport, method, refusal, 0),
  };
}

function refused(outcome: CallOutcome): Refusal | undefined {
  return "refusal" in outcome ? outcome.refusal : undefined;
}

function codeOf(refusal: Refusal | undefined): string {
  return refusal === undefined ? "OK" : reasonName(refusal.reason);
}

/** Methods may give the fields of an answer alone, as Connect's types allow. */
function whole(desc: DescMessage, answer: Message): Message {
  return "$typeName" in answer ? answer : create(desc, answer);
}

/** The outcome of a call whose caller left: closed its connection, or cancelled. */
export const LEFT: Refusal = {
  reason: ErrorReason.CANCELLED,
  detail: "The caller left before the call was carried out.",
};

/** The outcome of a call whose deadline passed before it was carried out. */
export const LATE: Refusal = {
  reason: ErrorReason.TIMEOUT,
  detail: "The deadline passed before the call was carried out; nothing was accepted. Set a longer one.",
};

/** What a caller is told of a fault of ours. */
const INTERNAL: Refusal = {
  reason: ErrorReason.INTERNAL,
  detail:
    "Something went wrong here. Nothing was accepted; try again with an idempotency key, and tell the operator if it stays.",
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
    mostBytes: acceptsMessages && !isBatch ? LIMITS.sendBytes : LIMITS.requestBytes,
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
  return failure(ErrorReason.NOT_IMPLEMENTED, `${entry.desc.name} is not served by this release; do without it.`);
}

function tooLarge(most: number): Failure {
  return failure(ErrorReason.REQUEST_TOO_LARGE, `The request is larger than ${most / 1024} KiB; make it smaller.`);
}

/** What a service method sees of its call. Headers are made only for the few methods that look at them. */
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
