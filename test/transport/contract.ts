import { readdirSync } from "node:fs";
import { type DescMethod, type DescService, getOption } from "@bufbuild/protobuf";
import { http } from "../../gen/google/api/annotations_pb.ts";
import { error } from "../../gen/numberpool/v1/enum_options_pb.ts";
import { ErrorReasonSchema } from "../../gen/numberpool/v1/error_reason_pb.ts";

const GEN = new URL("../../gen/numberpool/v1/", import.meta.url);

/**
 * Every service of the contract, found in the generated files, so that a new one cannot be
 * forgotten.
 */
export const SERVICES: readonly DescService[] = (
  await Promise.all(
    readdirSync(GEN)
      .filter((name) => name.endsWith("_service_pb.ts"))
      .sort()
      .map((name) => import(new URL(name, GEN).href) as Promise<Record<string, unknown>>),
  )
).flatMap((module) => Object.values(module).filter(isService));

/** Every RPC of the contract. */
export const METHODS: readonly DescMethod[] = SERVICES.flatMap((service) => service.methods);

/** "SendMessage": no two services have a method of the same name. */
export function methodOf(name: string): DescMethod {
  const found = METHODS.find((method) => method.name === name);
  if (found === undefined) throw new Error(`there is no RPC ${name}`);
  return found;
}

/** "/numberpool.v1.PoolSendService/SendMessage". */
export function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

/** A reason's public form in the error catalogue. */
export type Form = {
  readonly httpStatus: number;
  readonly code: string;
  readonly title: string;
  readonly rpcCode: number;
};

/** The error catalogue by the names of its reasons. */
export const CATALOGUE: ReadonlyMap<string, Form> = new Map(
  ErrorReasonSchema.values
    .filter((value) => value.number !== 0)
    .map((value) => [value.name.replace(/^ERROR_REASON_/, ""), getOption(value, error)]),
);

/** Values as JSON has them. */
export type Json = null | boolean | number | string | Json[] | JsonObject;
export type JsonObject = { [key: string]: Json };

/** An HTTP request of the JSON transport. */
export type HttpRequest = { readonly verb: string; readonly path: string; readonly body: Json | undefined };

/**
 * A request with the contract's field names as the JSON transport takes it: fields of the path
 * there, the rest as body or query.
 */
export function httpRequestOf(method: DescMethod, request: JsonObject): HttpRequest {
  const rule = getOption(method, http);
  const { case: verb, value: template } = rule.pattern;
  if (verb === undefined || verb === "custom") throw new Error(`${method.name} has no JSON route`);
  const rest: JsonObject = { ...request };
  const path = template.replaceAll(/\{(\w+)\}/g, (_braces, name: string) => {
    const value = rest[name] ?? "-";
    delete rest[name];
    return escaped(String(value));
  });
  if (rule.body === "*") return { verb: verb.toUpperCase(), path, body: rest };
  if (rule.body !== "") return { verb: verb.toUpperCase(), path, body: rest[rule.body] ?? {} };
  const query = new URLSearchParams(flat(rest)).toString();
  return { verb: verb.toUpperCase(), path: query === "" ? path : `${path}?${query}`, body: undefined };
}

/** A string for a path; other values become bytes that are not UTF-8. */
function escaped(text: string): string {
  return text.isWellFormed() ? encodeURIComponent(text) : `${encodeURIComponent(text.toWellFormed())}%ED%A0%80`;
}

function flat(value: Json, name = ""): [string, string][] {
  if (value === null || typeof value !== "object") return [[name, String(value)]];
  if (Array.isArray(value)) return value.flatMap((each) => flat(each, name));
  return Object.entries(value).flatMap(([key, each]) => flat(each, name === "" ? key : `${name}[${key}]`));
}

function isService(value: unknown): value is DescService {
  return typeof value === "object" && value !== null && (value as { kind?: unknown }).kind === "service";
}
