import { type DescField, type DescMessage, getOption, hasOption } from "@bufbuild/protobuf";
import { http } from "../../../gen/google/api/annotations_pb.ts";
import type { HttpRule } from "../../../gen/google/api/http_pb.ts";
import { path_not_implemented, required_field } from "../../../gen/numberpool/v1/call_options_pb.ts";
import type { Method } from "../method.ts";

export type Verb = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

/** A JSON route of the contract. */
export type Route = {
  readonly method: Method;
  readonly verb: Verb;
  /** "/v2/messages/{id}". */
  readonly template: string;
  /** The fields that the path fills, in order. */
  readonly variables: readonly string[];
  /**
   * "*": the body is the request; a field's name: the body is that field; undefined: there is no
   * body.
   */
  readonly body: string | undefined;
  /** Whether the body has fields, so that an empty body is refused. */
  readonly needsBody: boolean;
  /** The response's field that is the body; undefined: the whole response. */
  readonly responseBody: string | undefined;
  /** Whether the response is a list: a misspelled filter must not list everything. */
  readonly isList: boolean;
  /** The field that only this path requires. */
  readonly required: DescField | undefined;
  /** The local name of the update mask, which the keys of the body fill. */
  readonly mask: string | undefined;
};

/**
 * The JSON routes of the methods' google.api.http annotations. Template segments are literals or
 * `{field}`. Throws for an unsupported rule, an unknown field, and a duplicate route.
 */
export function routesOf(methods: readonly Method[]): Route[] {
  const routes = methods.flatMap((method) => {
    if (method.desc.methodKind !== "unary" || !hasOption(method.desc, http)) return [];
    const rule = getOption(method.desc, http);
    return [rule, ...rule.additionalBindings].map((each) => routeOf(method, each));
  });
  const seen = new Set<string>();
  for (const { verb, template, method } of routes) {
    const shape = `${verb} ${template.replaceAll(/\{[^}]*\}/g, "{}")}`;
    if (seen.has(shape)) throw new Error(`${method.path}: another method already has ${shape}.`);
    seen.add(shape);
  }
  return routes;
}

/** Documented paths that this release does not implement, by verb and template. */
export function pathsNotImplemented(methods: readonly Method[]): { readonly verb: Verb; readonly template: string }[] {
  const services = new Set(methods.map(({ service }) => service));
  return [...services].flatMap((service) =>
    getOption(service, path_not_implemented).map((text) => {
      const [verb, template] = text.split(" ") as [Verb, string];
      return { verb, template };
    }),
  );
}

/** A template as a regular expression over a whole path. */
export function patternOf(template: string): RegExp {
  const escaped = template.split("/").map((part) => (part.startsWith("{") ? "[^/]+" : part.replaceAll(".", "\\.")));
  return new RegExp(`^${escaped.join("/")}$`);
}

function routeOf(method: Method, rule: HttpRule): Route {
  const { input, output } = method.desc;
  const { case: kind, value: template } = rule.pattern;
  if (kind === undefined || kind === "custom") throw new Error(`${method.path}: the HTTP rule has an unknown verb.`);
  if (!/^(\/([\w.-]+|\{\w+\}))+$/.test(template))
    throw new Error(`${method.path}: the template ${template} is not supported.`);
  const variables = [...template.matchAll(/\{(\w+)\}/g)].map((match) => match[1] as string);
  for (const variable of variables) fieldOf(method, input, variable);
  if (rule.body !== "" && rule.body !== "*") fieldOf(method, input, rule.body);
  if (rule.responseBody !== "") fieldOf(method, output, rule.responseBody);
  const requirement = getOption(method.desc, required_field).find(({ path }) => path === template);
  const mask = input.fields.find((field) => field.message?.typeName === "google.protobuf.FieldMask");
  return {
    method,
    verb: kind.toUpperCase() as Verb,
    template,
    variables,
    body: rule.body === "" ? undefined : rule.body,
    needsBody: rule.body !== "*" || input.fields.some(({ name }) => !variables.includes(name)),
    responseBody: rule.responseBody === "" ? undefined : rule.responseBody,
    isList: output.fields.some(({ name, fieldKind }) => name === "data" && fieldKind === "list"),
    required: requirement && fieldOf(method, input, requirement.field),
    mask: mask?.localName,
  };
}

function fieldOf(method: Method, message: DescMessage, name: string): DescField {
  const field = message.fields.find((each) => each.name === name);
  if (field !== undefined) return field;
  throw new Error(`${method.path}: the HTTP rule has ${name}, but ${message.typeName} does not.`);
}
