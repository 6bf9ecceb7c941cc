/**
 * Writes the OpenAPI document of the JSON transport, `gen/openapi.json`, from the protos and their
 * comments. buf runs it as a plugin: `npm run generate`.
 */
import { readFileSync } from "node:fs";
import { createEcmaScriptPlugin, runNodeJs, type Schema } from "@bufbuild/protoplugin";
import { commentOf, readContract } from "./openapi/contract.ts";
import { errorsOf } from "./openapi/errors.ts";
import { IDEMPOTENCY_KEY, IDEMPOTENT_REPLAYED, pathsOf } from "./openapi/operations.ts";
import { createSchemas, type JsonObject } from "./openapi/schemas.ts";

const { version, description, license } = JSON.parse(
  readFileSync(new URL("../package.json", import.meta.url), "utf8"),
) as { version: string; description: string; license: string };

/** What applies to every operation. */
const CONVENTIONS = `${description}

An answer holds every field; what is absent is null. In a request a key that holds null is as good as left out, but in
a PATCH, where it clears a field that can be null and is refused for any other. Unknown keys are ignored; known ones are obeyed
or refused by name. A field that this release cannot obey is refused with 400 and
\`NOT_SUPPORTED\`, a method that it does not serve yet with 501 and \`NOT_IMPLEMENTED\`. Times are RFC
3339, in answers in UTC with milliseconds.

A refused call is answered with \`{"errors": [{code, title, detail, source, meta}]}\`; programs go by \`meta.reason\`.`;

function documentOf({ files, allFiles }: Schema): JsonObject {
  const contract = readContract(files, allFiles);
  const schemas = createSchemas(contract);
  const errors = errorsOf(contract, schemas);
  const paths = pathsOf(contract, schemas, errors);
  return {
    openapi: "3.1.0",
    info: {
      title: "Numberpool",
      version,
      description: CONVENTIONS.replaceAll(/(?<!\n)\n(?!\n)/g, " "),
      license: { name: license, identifier: license },
    },
    servers: [{ url: "/", description: "The server that this document came from." }],
    tags: contract.services.map((service) => ({ name: service.name, description: commentOf(service) })),
    paths,
    components: {
      schemas: schemas.components(),
      responses: errors.responses,
      parameters: { IdempotencyKey: IDEMPOTENCY_KEY },
      headers: { IdempotentReplayed: IDEMPOTENT_REPLAYED },
      securitySchemes: {
        bearerAuth: {
          type: "http",
          scheme: "bearer",
          description: "An API key; each operation names the scope it needs.",
        },
      },
    },
  };
}

runNodeJs(
  createEcmaScriptPlugin({
    name: "openapi",
    version,
    generateTs: (schema) => {
      schema.generateFile("openapi.json").print(JSON.stringify(documentOf(schema), undefined, 2));
    },
  }),
);
