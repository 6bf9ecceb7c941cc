import { type DescMethod, type DescService, getOption, hasOption } from "@bufbuild/protobuf";
import { accepts_messages, scope as scopeOption } from "../../gen/numberpool/v1/call_options_pb.ts";
import type { Scope } from "../../gen/numberpool/v1/scope_pb.ts";
import type { StreamingMethod, UnaryMethod } from "../service/call.ts";
import type { Service } from "../service/services.ts";
import { type CanonicalizeIds, canonicalizeIdsOf } from "./canonical-ids.ts";
import { TRANSPORT_LIMITS } from "./limits.ts";
import { type RequestCheck, requestCheckOf } from "./request-checks.ts";

/** A method of the contract, as every transport sees it. */
export type Method = {
  readonly desc: DescMethod;
  readonly service: DescService;
  /** "/numberpool.v1.PoolSendService/SendMessage". */
  readonly path: string;
  /** The body limit, bytes. */
  readonly maxBytes: number;
};

/** A method with what `invoke` needs to run it; without its implementation if there is none. */
export type InvokableMethod = Method & {
  readonly scope: Scope;
  readonly acceptsMessages: boolean;
  readonly check: RequestCheck;
  readonly canonicalizeIds: CanonicalizeIds | undefined;
  readonly unary: UnaryMethod | undefined;
  readonly streaming: StreamingMethod | undefined;
};

/** The methods of the services. Throws when one has no scope in the contract. */
export function invokableMethods(services: readonly Service[]): InvokableMethod[] {
  return services.flatMap(({ service, methods }) =>
    service.methods.map((desc) => {
      const implementation = (methods as Record<string, unknown>)[desc.localName];
      return invokableMethod(service, desc, implementation);
    }),
  );
}

function invokableMethod(service: DescService, desc: DescMethod, implementation: unknown): InvokableMethod {
  if (!hasOption(desc, scopeOption)) throw new Error(`${service.typeName}.${desc.name} has no scope in the contract.`);
  const acceptsMessages = getOption(desc, accepts_messages);
  const isUnary = desc.methodKind === "unary";
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
    unary: isUnary ? (implementation as UnaryMethod | undefined) : undefined,
    streaming: isUnary ? undefined : (implementation as StreamingMethod | undefined),
  };
}
