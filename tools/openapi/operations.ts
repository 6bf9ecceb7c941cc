import type { DescField, DescMessage, DescMethod, DescService } from "@bufbuild/protobuf";
import type { HttpRule } from "../../gen/google/api/http_pb.ts";
import { type Contract, commentOf, firstSentence, isRequired } from "./contract.ts";
import { contentOf, type Errors } from "./errors.ts";
import { isMask, isTime, type JsonObject, type Schemas } from "./schemas.ts";

/** The paths of a document: every JSON route of the contract, under its template and verb. */
export function pathsOf(contract: Contract, schemas: Schemas, errors: Errors): JsonObject {
  const paths: Record<string, Record<string, JsonObject>> = {};
  for (const service of contract.services) {
    for (const method of service.methods) {
      for (const [index, rule] of contract.routes(method).entries()) {
        const { case: verb, value: template } = rule.pattern;
        if (verb === undefined || verb === "custom") throw new Error(`${method} has a route without a known verb.`);
        // Each further route of a method needs its own name.
        const operationId = index === 0 ? method.name : `${method.name}At${pascalCase(template)}`;
        paths[template] ??= {};
        paths[template][verb] = { operationId, ...operationOf({ contract, schemas, errors }, service, method, rule) };
      }
    }
  }
  return paths;
}

/** The last part of a path: "LongCode" of "/v2/messages/long_code". */
function pascalCase(template: string): string {
  const last = template.slice(template.lastIndexOf("/") + 1);
  return last.replace(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** The header that makes a send idempotent. */
export const IDEMPOTENCY_KEY: JsonObject = {
  name: "Idempotency-Key",
  in: "header",
  description:
    "A repeat of the same request with the same key gets the first response, for 72 hours. The body can hold it as " +
    "`request_id` instead; if both are set, they must be equal.",
  schema: { type: "string", pattern: "^[!-~]{1,255}$" },
};

type Parts = { readonly contract: Contract; readonly schemas: Schemas; readonly errors: Errors };

function operationOf(parts: Parts, service: DescService, method: DescMethod, rule: HttpRule): JsonObject {
  const { contract, schemas } = parts;
  const comment = commentOf(method);
  const scope = contract.scope(method);
  const variables = variablesOf(rule);
  const parameters = [
    ...variables.map((name) => pathParameter(method, name)),
    ...(rule.body === "" ? queryParameters(method.input, variables, schemas) : []),
    ...(contract.acceptsMessages(method) ? [{ $ref: "#/components/parameters/IdempotencyKey" }] : []),
  ];
  return {
    tags: [service.name],
    summary: firstSentence(comment),
    description: `${comment}\n\nThe key needs the scope \`${scope}\`.`,
    security: [{ bearerAuth: [scope] }],
    parameters: parameters.length > 0 ? parameters : undefined,
    requestBody: rule.body === "" ? undefined : bodyOf(method, rule.body, variables, schemas),
    responses: responsesOf(parts, method, rule),
  };
}

function variablesOf(rule: HttpRule): string[] {
  return [...(rule.pattern.value as string).matchAll(/\{(\w+)\}/g)].map((match) => match[1] as string);
}

function pathParameter(method: DescMethod, name: string): JsonObject {
  const field = fieldOf(method.input, name);
  return { name, in: "path", required: true, description: commentOf(field), schema: { type: "string" } };
}

/**
 * Fields as query parameters, those of nested messages as `page[number]`. A plain string for a
 * message within a filter means its first field: `filter[name]` is `filter[name][eq]`.
 */
function queryParameters(desc: DescMessage, pathFields: readonly string[], schemas: Schemas): JsonObject[] {
  const fields = desc.fields.filter((field) => !pathFields.includes(field.name) && !isMask(field));
  return fields.flatMap((field) => parametersOf(field, field.name, schemas));
}

function parametersOf(field: DescField, name: string, schemas: Schemas): JsonObject[] {
  if (field.message === undefined || isTime(field.message)) return [queryParameter(field, name, schemas)];
  return field.message.fields.flatMap((inner, index) => {
    const own = parametersOf(inner, `${name}[${inner.name}]`, schemas);
    return index === 0 && name.includes("[") ? [queryParameter(inner, name, schemas), ...own] : own;
  });
}

function queryParameter(field: DescField, name: string, schemas: Schemas): JsonObject {
  return {
    name,
    in: "query",
    required: isRequired(field) ? true : undefined,
    description: commentOf(field),
    ...(field.fieldKind === "list" && { style: "form", explode: false }),
    schema: schemas.text(field),
  };
}

function bodyOf(method: DescMethod, body: string, variables: readonly string[], schemas: Schemas): JsonObject {
  const field = body === "*" ? undefined : fieldOf(method.input, body);
  if (field === undefined) {
    const schema = schemas.message(method.input, "request", variables);
    return { required: true, description: commentOf(method.input), content: contentOf(schema) };
  }
  const desc = messageOf(field);
  const required = desc.fields.filter((inner) => isRequired(inner, method)).map(({ name }) => name);
  const schema = { ...schemas.message(desc, "request"), required: required.length > 0 ? required : undefined };
  return { required: true, description: commentOf(field), content: contentOf(schema) };
}

function responsesOf({ contract, schemas, errors }: Parts, method: DescMethod, rule: HttpRule): JsonObject {
  const { output } = method;
  const content = rule.responseBody === "" ? output : messageOf(fieldOf(output, rule.responseBody));
  const isSend = contract.acceptsMessages(method);
  const refusal = (status?: number) => ({ $ref: `#/components/responses/${errors.nameOf(status)}` });
  const statuses = errors.statuses.filter((status) => occurs(status, rule, isSend));
  return {
    200: {
      description: commentOf(output),
      headers: isSend ? { "idempotent-replayed": { $ref: "#/components/headers/IdempotentReplayed" } } : undefined,
      content: contentOf(schemas.message(content, "answer")),
    },
    ...Object.fromEntries(statuses.map((status) => [status, refusal(status)])),
    default: refusal(),
  };
}

/** The header that marks the response to a repeat. */
export const IDEMPOTENT_REPLAYED: JsonObject = {
  description: "`true` when this is the response to an earlier request.",
  schema: { type: "string", const: "true" },
};

/**
 * Whether an operation can have a status: some need a created resource, some a body, some a send.
 */
function occurs(status: number, rule: HttpRule, isSend: boolean): boolean {
  switch (status) {
    case 405:
      return false;
    case 409:
      return rule.body !== "";
    case 413:
    case 415:
      // Except for GET, a body is read and can be refused even if the operation has none.
      return rule.pattern.case !== "get";
    case 422:
      return isSend;
    default:
      return true;
  }
}

function fieldOf(desc: DescMessage, name: string): DescField {
  const field = desc.fields.find((each) => each.name === name);
  if (field === undefined) throw new Error(`${desc} has no field ${name}, which its route names.`);
  return field;
}

function messageOf(field: DescField): DescMessage {
  if (field.fieldKind !== "message") throw new Error(`${field} is not a message, so it cannot be a whole body.`);
  return field.message;
}
