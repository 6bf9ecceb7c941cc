import type {
  DescMessage,
  DescMethod,
  DescMethodUnary,
  DescService,
  Message,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import type { ClientAttempt } from "../domain/client-attempt.ts";
import type { Refusal } from "../domain/failure.ts";

/** An authenticated call, as its service method sees it. */
export type Call = {
  readonly organizationId: string;
  readonly apiKeyId: string;
  /** The header `Idempotency-Key` of a unary call, unchecked; undefined when absent. */
  readonly idempotencyKey: string | undefined;
  /**
   * The attempt of the official client, which retries sends without a key; undefined for other
   * clients.
   */
  readonly attempt: ClientAttempt | undefined;
  /**
   * Checks a protobuf message against the contract. The transport has checked the request of a
   * unary method, but not items of a batch or requests of a stream: each has its own refusal.
   */
  readonly check: (desc: DescMessage, message: Message) => Refusal | undefined;
  /**
   * Aborts, with a Failure as its reason, when the deadline passes, the caller cancels, or the
   * server drains.
   */
  readonly signal: AbortSignal;
  /**
   * Why the caller no longer waits: its deadline passed, or it cancelled. Exact to the moment.
   * Undefined while it waits, also during a drain.
   */
  readonly abandoned: () => Refusal | undefined;
  /** The headers of the response, by their names in lower case. */
  readonly responseHeaders: Map<string, string>;
};

/** A unary method. It returns a response, or only the fields of one. */
export type UnaryMethod<In extends DescMessage = DescMessage, Out extends DescMessage = DescMessage> = (
  request: MessageShape<In>,
  call: Call,
) => Promise<MessageInitShape<Out>>;

/**
 * A streaming method, of either direction. The requests end when the client or the server ends
 * them. An aborted `call.signal` means that the server did.
 */
export type StreamingMethod<In extends DescMessage = DescMessage, Out extends DescMessage = DescMessage> = (
  requests: AsyncIterable<MessageShape<In>>,
  call: Call,
) => AsyncIterable<MessageInitShape<Out>>;

/** The methods of a service that this release implements. */
export type Methods<Service extends DescService> = {
  readonly [Name in keyof Service["method"]]?: MethodOf<Service["method"][Name]>;
};

type MethodOf<Desc extends DescMethod> =
  Desc extends DescMethodUnary<infer In, infer Out>
    ? UnaryMethod<In, Out>
    : StreamingMethod<Desc["input"], Desc["output"]>;

/** The header of a response that replays an earlier one. */
export const REPLAYED_HEADER = "idempotent-replayed";
