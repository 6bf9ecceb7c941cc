import type { Contract, Reason } from "./contract.ts";
import type { JsonObject, Schemas } from "./schemas.ts";

/** The error responses of a document, as components for its operations. */
export type Errors = {
  /** Every status of the catalogue, ascending. */
  readonly statuses: readonly number[];
  /** The name of the response with a status; undefined: any other status. */
  readonly nameOf: (status: number | undefined) => string;
  readonly responses: JsonObject;
};

/** The error responses: one for each status of the catalogue with its reasons, and one for all. */
export function errorsOf({ reasons, catalogue }: Contract, schemas: Schemas): Errors {
  const error = schemas.add("Error", errorSchema(schemas.enumeration(catalogue, "answer")));
  const answer = schemas.add("ErrorAnswer", answerSchema(error));
  const statuses = [...new Set(reasons.map(({ form }) => form.httpStatus))].sort((a, b) => a - b);
  const nameOf = (status: number | undefined) => `Error${status ?? ""}`;
  const responses = statuses.map((status) => {
    const own = reasons.filter(({ form }) => form.httpStatus === status);
    return [nameOf(status), responseOf(own, answer, HEADERS[status])] as const;
  });
  const other = { description: "Any other refusal, in the same form.", content: contentOf(answer) };
  return { statuses, nameOf, responses: Object.fromEntries([...responses, [nameOf(undefined), other]]) };
}

/** The content of a response or a body with a schema. */
export function contentOf(schema: JsonObject): JsonObject {
  return { "application/json": { schema } };
}

const RETRY_AFTER: JsonObject = {
  description: "Seconds until a repeat makes sense.",
  schema: { type: "integer", minimum: 1 },
};

/** The response headers of some statuses. */
const HEADERS: Readonly<Record<number, JsonObject>> = {
  401: { "www-authenticate": { description: "Always `Bearer`.", schema: { type: "string", const: "Bearer" } } },
  409: {
    "x-should-retry": {
      description: "Always `false`: a repeat is refused like the first.",
      schema: { type: "string", const: "false" },
    },
  },
  429: {
    "retry-after": RETRY_AFTER,
    "x-ratelimit-limit": rateLimit(
      "Calls a second that the key may make; with TOO_MANY_REQUESTS only, as the next two.",
    ),
    "x-ratelimit-remaining": rateLimit("Calls that the key may make now."),
    "x-ratelimit-reset": rateLimit("Seconds until the key may call again."),
  },
  503: { "retry-after": RETRY_AFTER },
};

function rateLimit(description: string): JsonObject {
  return { description, schema: { type: "number", minimum: 0 } };
}

function responseOf(reasons: readonly Reason[], answer: JsonObject, headers: JsonObject | undefined): JsonObject {
  const lines = reasons.map(({ name, form, comment }) => `- \`${name}\` (${form.code}, ${form.title}): ${comment}`);
  const codes = [...new Set(reasons.map(({ form }) => form.code))];
  const names = reasons.map(({ name }) => name);
  const item = { properties: { code: { enum: codes }, meta: { properties: { reason: { enum: names } } } } };
  const schema = { ...answer, properties: { errors: { items: item } } };
  return { description: lines.join("\n"), headers, content: contentOf(schema) };
}

function answerSchema(error: JsonObject): JsonObject {
  return {
    type: "object",
    description: "ErrorAnswer is what every refused call is answered with.",
    properties: {
      errors: {
        type: "array",
        description: "What is wrong: the first thing that was found.",
        items: error,
        minItems: 1,
      },
    },
    required: ["errors"],
  };
}

function errorSchema(reason: JsonObject): JsonObject {
  return {
    type: "object",
    description: "Error is one thing that is wrong with a call.",
    properties: {
      code: { type: "string", description: "The documented code of the reason.", pattern: "^\\d{5}$" },
      title: { type: "string", description: "The documented title of the reason." },
      detail: { type: "string", description: "What is wrong and what to do about it, for a person." },
      source: {
        type: "object",
        description: "The field at fault; left out when none is.",
        properties: {
          pointer: { type: "string", description: "Where it is in the body, as a JSON pointer." },
          parameter: { type: "string", description: "Its name in the path or query." },
        },
        minProperties: 1,
        maxProperties: 1,
      },
      meta: {
        type: "object",
        description: "What programs go by.",
        properties: { reason: { description: "The reason of the catalogue.", ...reason } },
        required: ["reason"],
      },
    },
    required: ["code", "title", "detail", "meta"],
  };
}
