import { create, type DescMessage, type Message, type MessageInitShape } from "@bufbuild/protobuf";
import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import { type Scope, ScopeSchema } from "../../gen/numberpool/v1/scope_pb.ts";
import { type Failure, failure, type Refusal } from "../domain/failure.ts";
import type { Service } from "../service/services.ts";
import type { CallObserver } from "../telemetry/call-metrics.ts";
import { traced } from "../telemetry/call-span.ts";
import type { Log } from "../telemetry/log.ts";
import { abandonedBecause, DRAINING, serviceCall, type TransportCall, type TransportName } from "./call.ts";
import { codeOf, createCallRecord, refusalOfError } from "./call-record.ts";
import { enumSpellings } from "./enum-spelling.ts";
import { TRANSPORT_LIMITS } from "./limits.ts";
import { type InvokableMethod, invokableMethods, type Method } from "./method.ts";
import { endedBy } from "./stream-requests.ts";

/** An authenticated unary call, as a transport passes it to `invoke`. */
export type UnaryCall = TransportCall & {
  /** Bytes in the body. */
  readonly bytes: number;
  /** Decodes the body; throws a Failure. */
  readonly decode: () => Message;
};

/** An authenticated streaming call, as a transport passes it to `invoke`. */
export type StreamCall = TransportCall & {
  /** The requests as they arrive; throws a Failure for an undecodable one. */
  readonly requests: AsyncIterable<Message>;
  /** Sends a response; resolves when there is room for another. */
  readonly write: (response: Message) => Promise<void>;
};

/** The outcome of a unary call: a response with headers, or a refusal of the catalogue. */
export type CallOutcome =
  | { readonly response: Message; readonly headers: ReadonlyMap<string, string> }
  | { readonly refusal: Refusal };

/** The entrance that all transports share: each passes its calls here, and encodes the outcome. */
export type Invoke = {
  readonly methods: readonly Method[];
  readonly unary: (method: Method, call: UnaryCall) => Promise<CallOutcome>;
  /** Runs a streaming call; gives its refusal, or undefined when it completed. */
  readonly stream: (method: Method, call: StreamCall) => Promise<Refusal | undefined>;
  /** Logs an unexpected error, and gives the refusal for the caller. */
  readonly unexpected: (method: Method, error: unknown) => Refusal;
  /** Calls in flight now, open streams included. */
  readonly inFlight: () => number;
  /** Whether this release implements a method. */
  readonly isImplemented: (method: Method) => boolean;
  /** Records a call that a transport refused itself: unauthenticated, too large, unknown method. */
  readonly recordRefusal: (transport: TransportName, method: Method | undefined, refusal: Refusal) => void;
  /**
   * Lets unary calls finish, and ends streams after the responses to the requests they have read.
   */
  readonly drain: () => void;
};

/** Creates `invoke` over the services. Throws when a method of the contract has no scope. */
export function createInvoke({
  services,
  log,
  observe,
}: {
  readonly services: readonly Service[];
  readonly log: Log;
  readonly observe: CallObserver;
}): Invoke {
  const methods = new Map(invokableMethods(services).map((method) => [method.path, method]));
  const record = createCallRecord(log, observe);
  const draining = new AbortController();
  let inFlight = 0;
  let openStreams = 0;

  /** Counts, traces and records a call. */
  const observed = async <Outcome>(
    method: Method,
    call: TransportCall,
    run: (method: InvokableMethod) => Promise<Outcome>,
    refusalIn: (outcome: Outcome) => Refusal | undefined,
  ): Promise<Outcome> => {
    const startMs = performance.now();
    const invokable = methods.get(method.path) as InvokableMethod;
    inFlight += 1;
    try {
      const outcome = await traced(
        method.path,
        call.header,
        () => run(invokable),
        (ended) => codeOf(refusalIn(ended)),
      );
      const durationMs = performance.now() - startMs;
      record({ transport: call.transport, method, refusal: refusalIn(outcome), durationMs, call });
      return outcome;
    } finally {
      inFlight -= 1;
    }
  };

  const runUnary = (method: InvokableMethod, call: UnaryCall): Promise<CallOutcome> =>
    unaryOutcome(method, call, draining.signal).catch((error: unknown) => ({
      refusal: refusalOfError(log, method, error),
    }));

  const runStream = async (method: InvokableMethod, call: StreamCall): Promise<Refusal | undefined> => {
    if (openStreams >= TRANSPORT_LIMITS.openStreams) return TOO_MANY_STREAMS;
    openStreams += 1;
    try {
      return await streamOutcome(method, call, draining.signal);
    } catch (error) {
      return refusalOfError(log, method, error);
    } finally {
      openStreams -= 1;
    }
  };

  return {
    methods: [...methods.values()],
    unary: (method, call) =>
      observed(
        method,
        call,
        (invokable) => runUnary(invokable, call),
        (outcome) => ("refusal" in outcome ? outcome.refusal : undefined),
      ),
    stream: (method, call) =>
      observed(
        method,
        call,
        (invokable) => runStream(invokable, call),
        (refusal) => refusal,
      ),
    unexpected: (method, error) => refusalOfError(log, method, error),
    isImplemented: ({ path }) => {
      const method = methods.get(path);
      return (method?.unary ?? method?.streaming) !== undefined;
    },
    inFlight: () => inFlight,
    recordRefusal: (transport, method, refusal) =>
      record({ transport, method, refusal, durationMs: 0, call: undefined }),
    drain: () => draining.abort(),
  };
}

/** Runs a unary call; throws a Failure for a refusal. */
async function unaryOutcome(method: InvokableMethod, from: UnaryCall, draining: AbortSignal): Promise<CallOutcome> {
  checkScope(method, from);
  if (method.unary === undefined) throw notImplemented(method);
  if (from.bytes > method.maxBytes) throw tooLarge(method.maxBytes);
  const request = from.decode();
  method.canonicalizeIds?.(request);
  const found = method.check(request, "");
  if (found !== undefined) throw found;
  const abandoned = abandonedBecause(from);
  if (abandoned !== undefined) return { refusal: abandoned };
  const { call, release } = serviceCall(method, from, draining);
  try {
    const response = await method.unary(request, call);
    return { response: complete(method.desc.output, response), headers: call.responseHeaders };
  } finally {
    release();
  }
}

/**
 * Runs a streaming call; gives the refusal of one that a drain ended, and throws others as a
 * Failure.
 */
async function streamOutcome(
  method: InvokableMethod,
  from: StreamCall,
  draining: AbortSignal,
): Promise<Refusal | undefined> {
  checkScope(method, from);
  if (method.streaming === undefined) throw notImplemented(method);
  const { call, release } = serviceCall(method, from, draining);
  const { requests, areCut } = endedBy(draining, withCanonicalIds(method, from.requests));
  try {
    for await (const response of method.streaming(requests, call)) {
      await from.write(complete(method.desc.output, response));
    }
  } finally {
    release();
  }
  // A method that only responds to one request has ended its responses because of the drain.
  const isEndedByDrain = areCut() || (draining.aborted && method.desc.methodKind === "server_streaming");
  return isEndedByDrain ? DRAINING : undefined;
}

async function* withCanonicalIds(
  { canonicalizeIds }: InvokableMethod,
  requests: AsyncIterable<Message>,
): AsyncIterable<Message> {
  for await (const request of requests) {
    canonicalizeIds?.(request);
    yield request;
  }
}

/** A method may return the fields of its response alone. */
function complete(desc: DescMessage, response: MessageInitShape<DescMessage>): Message {
  return "$typeName" in response ? (response as Message) : create(desc, response);
}

const TOO_MANY_STREAMS: Refusal = {
  reason: ErrorReason.UNAVAILABLE,
  detail: "The server has its maximum of open streams; send without a stream, or try again later.",
  retryAfterMs: 1000,
};

function checkScope({ scope }: InvokableMethod, { caller }: TransportCall): void {
  if (!caller.scopes.has(scope)) throw lacksScope(scope);
}

function lacksScope(scope: Scope): Failure {
  const name = enumSpellings(ScopeSchema).written.get(scope);
  return failure(ErrorReason.PERMISSION_DENIED, `The API key lacks the scope \`${name}\`; use a key that has it.`);
}

function notImplemented({ desc }: InvokableMethod): Failure {
  return failure(ErrorReason.NOT_IMPLEMENTED, `${desc.name} is not implemented in this release.`);
}

function tooLarge(maxBytes: number): Failure {
  return failure(ErrorReason.REQUEST_TOO_LARGE, `The request is larger than ${maxBytes / 1024} KiB; make it smaller.`);
}
