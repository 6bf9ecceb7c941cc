import { create, type Message } from "@bufbuild/protobuf";
import { pino } from "pino";
import { describe, expect, it } from "vitest";
import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import {
  PoolSendService,
  SendMessageRequestSchema,
  StreamMessagesRequestSchema,
  StreamMessagesResponseSchema,
} from "../../gen/numberpool/v1/pool_send_service_pb.ts";
import { Scope } from "../../gen/numberpool/v1/scope_pb.ts";
import type { Failure } from "../../src/domain/failure.ts";
import type { Call, Methods } from "../../src/service/call.ts";
import type { Service } from "../../src/service/services.ts";
import { createInvoke, type Invoke, type UnaryCall } from "../../src/transport/invoke.ts";
import { TRANSPORT_LIMITS } from "../../src/transport/limits.ts";
import type { Method } from "../../src/transport/method.ts";

const { CANCELLED, INTERNAL, TIMEOUT, UNAVAILABLE } = ErrorReason;
const caller = { organizationId: "organization", apiKeyId: "key", scopes: new Set([Scope.SEND]) };

/** `invoke` over PoolSendService with these methods, and the lines of its log. */
function invokeOver(methods: Methods<typeof PoolSendService>) {
  const lines: Record<string, unknown>[] = [];
  const codes: string[] = [];
  const invoke = createInvoke({
    services: [{ service: PoolSendService, methods } as unknown as Service],
    log: pino({}, { write: (line: string) => lines.push(JSON.parse(line)) }),
    observe: ({ code }) => codes.push(code),
  });
  return { invoke, lines, codes };
}

const methodOf = (invoke: Invoke, name: string) => invoke.methods.find(({ desc }) => desc.name === name) as Method;

/** A call of SendMessage that a test can cancel. */
function unaryCall(fields: Partial<UnaryCall> = {}): { readonly call: UnaryCall; readonly cancel: () => void } {
  const listeners: (() => void)[] = [];
  let isCancelled = false;
  const call: UnaryCall = {
    transport: "grpc",
    caller,
    header: () => undefined,
    deadlineMs: Number.POSITIVE_INFINITY,
    isCancelled: () => isCancelled,
    onCancelled: (listener) => listeners.push(listener),
    bytes: 0,
    decode: () => create(SendMessageRequestSchema),
    ...fields,
  };
  const cancel = () => {
    isCancelled = true;
    for (const listener of listeners) listener();
  };
  return { call, cancel };
}

/** A method that waits for its signal, and the call that it got. */
function waiting() {
  const started = Promise.withResolvers<Call>();
  const sendMessage = async (_request: Message, call: Call) => {
    started.resolve(call);
    await new Promise((resolve) => call.signal.addEventListener("abort", resolve));
    throw call.signal.reason;
  };
  return { sendMessage, started: started.promise };
}

describe("the signal of a call", () => {
  it("aborts when the caller cancels", async () => {
    const { sendMessage, started } = waiting();
    const { invoke, codes } = invokeOver({ sendMessage });
    const { call, cancel } = unaryCall();
    const outcome = invoke.unary(methodOf(invoke, "SendMessage"), call);
    expect((await started).signal.aborted).toBe(false);
    cancel();
    expect(await outcome).toMatchObject({ refusal: { reason: CANCELLED } });
    expect(codes).toEqual(["CANCELLED"]);
  });

  it("aborts when the deadline passes", async () => {
    const { sendMessage, started } = waiting();
    const { invoke } = invokeOver({ sendMessage });
    const { call } = unaryCall({ deadlineMs: performance.now() + 50 });
    const outcome = invoke.unary(methodOf(invoke, "SendMessage"), call);
    expect((await started).abandoned()).toBeUndefined();
    expect(await outcome).toMatchObject({ refusal: { reason: TIMEOUT } });
    expect((await started).abandoned()).toMatchObject({ reason: TIMEOUT });
  });

  it("aborts on drain, although the caller still waits", async () => {
    const { sendMessage, started } = waiting();
    const { invoke } = invokeOver({ sendMessage });
    const outcome = invoke.unary(methodOf(invoke, "SendMessage"), unaryCall().call);
    const seen = await started;
    invoke.drain();
    expect(seen.abandoned()).toBeUndefined();
    expect(await outcome).toMatchObject({ refusal: { reason: UNAVAILABLE } });
  });

  it("is aborted from the start in a drain", async () => {
    const { invoke } = invokeOver({
      sendMessage: async (_request, { signal }) => {
        expect((signal.reason as Failure).refusal.reason).toBe(UNAVAILABLE);
        return {};
      },
    });
    invoke.drain();
    expect(await invoke.unary(methodOf(invoke, "SendMessage"), unaryCall().call)).toHaveProperty("response");
  });
});

it("a method sets headers of its response", async () => {
  const { invoke } = invokeOver({
    sendMessage: async (_request, { responseHeaders }) => {
      responseHeaders.set("idempotent-replayed", "true");
      return {};
    },
  });
  const outcome = await invoke.unary(methodOf(invoke, "SendMessage"), unaryCall().call);
  expect("headers" in outcome && [...outcome.headers]).toEqual([["idempotent-replayed", "true"]]);
});

/** A stream of which a test writes the requests one by one. */
function openStream(invoke: Invoke, header: (name: string) => string | undefined = () => undefined) {
  const unread: Message[] = [];
  const written: Message[] = [];
  let wake = () => {};
  let hasEnded = false;
  const requests = (async function* () {
    for (;;) {
      const next = unread.shift();
      if (next !== undefined) yield next;
      else if (hasEnded) return;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  })();
  const { bytes: _bytes, decode: _decode, ...call } = unaryCall({ header }).call;
  const refusal = invoke.stream(methodOf(invoke, "StreamMessages"), {
    ...call,
    requests,
    write: async (response) => {
      written.push(response);
    },
  });
  return {
    refusal,
    written,
    write: () => {
      unread.push(create(StreamMessagesRequestSchema));
      wake();
    },
    end: () => {
      hasEnded = true;
      wake();
    },
  };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

describe("a streaming call", () => {
  const echo: Methods<typeof PoolSendService> = {
    streamMessages: async function* (requests) {
      for await (const _request of requests) yield create(StreamMessagesResponseSchema);
    },
  };

  it("is counted while it is open, and recorded when it ends", async () => {
    const { invoke, lines, codes } = invokeOver(echo);
    const stream = openStream(invoke);
    stream.write();
    await settled();
    expect([invoke.inFlight(), stream.written.length, codes.length]).toEqual([1, 1, 0]);
    stream.end();
    expect(await stream.refusal).toBeUndefined();
    expect([invoke.inFlight(), codes]).toEqual([0, ["OK"]]);
    expect(lines).toEqual([
      expect.objectContaining({
        event: "call_ended",
        rpc_method: "/numberpool.v1.PoolSendService/StreamMessages",
        code: "OK",
        organization_id: "organization",
      }),
    ]);
  });

  it("has no idempotency key of its own", async () => {
    const keys: unknown[] = [];
    const { invoke } = invokeOver({
      streamMessages: async function* (requests, call) {
        keys.push(call.idempotencyKey);
        for await (const _request of requests) yield create(StreamMessagesResponseSchema);
      },
    });
    const stream = openStream(invoke, (name) => (name === "idempotency-key" ? "key" : undefined));
    stream.end();
    await stream.refusal;
    expect(keys).toEqual([undefined]);
  });

  it("ends on drain after the responses to the requests that were read", async () => {
    const reading = Promise.withResolvers<void>();
    const { invoke } = invokeOver({
      streamMessages: async function* (requests) {
        for await (const _request of requests) {
          await reading.promise;
          yield create(StreamMessagesResponseSchema);
        }
      },
    });
    const stream = openStream(invoke);
    stream.write();
    await settled();
    invoke.drain();
    stream.write();
    reading.resolve();
    expect(await stream.refusal).toMatchObject({ reason: UNAVAILABLE });
    expect(stream.written).toHaveLength(1);
    expect(invoke.inFlight()).toBe(0);
  });

  it("completes in a drain when the client has ended it", async () => {
    const { invoke } = invokeOver(echo);
    const stream = openStream(invoke);
    stream.write();
    stream.end();
    await settled();
    invoke.drain();
    expect(await stream.refusal).toBeUndefined();
  });

  it("is refused above the limit of open streams", async () => {
    const { invoke } = invokeOver(echo);
    const streams = Array.from({ length: TRANSPORT_LIMITS.openStreams }, () => openStream(invoke));
    expect(await openStream(invoke).refusal).toMatchObject({ reason: UNAVAILABLE, retryAfterMs: 1000 });
    streams[0]?.end();
    await streams[0]?.refusal;
    const next = openStream(invoke);
    next.end();
    expect(await next.refusal).toBeUndefined();
    for (const stream of streams) stream.end();
    await Promise.all(streams.map(({ refusal }) => refusal));
    expect(invoke.inFlight()).toBe(0);
  });

  it("that fails unexpectedly is INTERNAL, and no longer counted", async () => {
    const { invoke, lines } = invokeOver({
      // biome-ignore lint/correctness/useYield: it fails before its first response.
      streamMessages: async function* () {
        throw new Error("a bug");
      },
    });
    expect(await openStream(invoke).refusal).toMatchObject({ reason: INTERNAL });
    expect(invoke.inFlight()).toBe(0);
    expect(lines.map(({ event }) => event)).toEqual(["call_failed", "call_ended"]);
  });
});
