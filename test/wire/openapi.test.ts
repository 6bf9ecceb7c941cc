import { readFileSync } from "node:fs";
import { createRegistry } from "@bufbuild/protobuf";
import { Validator } from "@seriousme/openapi-schema-validator";
import { Ajv2020, type ErrorObject, type ValidateFunction } from "ajv/dist/2020.js";
import formats from "ajv-formats";
import Telnyx from "telnyx";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hashOfToken } from "../../src/domain/api-key.ts";
import type { ServiceParts } from "../../src/service/parts.ts";
import { createServices } from "../../src/service/services.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import { enumSpellings } from "../../src/transport/enum-spelling.ts";
import { routesOf } from "../../src/transport/json/routes.ts";
import { API_KEY, type JsonAnswer, startServer, type TestServer, temporaryFolder } from "../server.ts";
import { until } from "./pools.ts";

const TEXT = readFileSync(new URL("../../gen/openapi.json", import.meta.url), "utf8");
const UNKNOWN_ID = "01900000-0000-7000-8000-000000000000";
const READ_KEY = "a-key-with-the-scope-read-only";

type Schema = { readonly [keyword: string]: unknown };
type Parameter = { name: string; in: string; required?: boolean; schema: Schema };
type Content = { content: { "application/json": { schema: Schema } } };
type Response = Content & { headers?: Record<string, { schema: Schema }> };
type Operation = {
  operationId: string;
  tags: string[];
  summary: string;
  description: string;
  security: object[];
  parameters?: Parameter[];
  requestBody?: Content;
  responses: Record<string, Response>;
};
type Document = {
  info: { title: string; version: string; license: object };
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Schema>; securitySchemes: object };
};

const document: Document = JSON.parse(TEXT);
const operations = Object.entries(document.paths).flatMap(([template, item]) =>
  Object.entries(item).map(([verb, operation]) => ({ template, verb: verb.toUpperCase(), operation })),
);

/** One call of the JSON transport: request and response. */
type Exchange = {
  readonly verb: string;
  /** From the root, with its query. */
  readonly path: string;
  readonly body?: unknown;
  readonly status: number;
  readonly headers: Headers;
  readonly answer: unknown;
};

/** The differences of an exchange from the document; empty: none. */
function judgeOf(text: string) {
  const open: Document = JSON.parse(text);
  const closed: Document = JSON.parse(text);
  // The document allows further properties in the future; one that it lacks today is a gap.
  for (const schema of Object.values(closed.components.schemas)) close(schema);
  const ajv = new Ajv2020({ allErrors: true, allowUnionTypes: true, strictTypes: false });
  // Paths, queries and headers are text.
  const ajvOfText = new Ajv2020({ allErrors: true, allowUnionTypes: true, strictTypes: false, coerceTypes: true });
  for (const each of [ajv, ajvOfText]) {
    formats.default(each);
    each.addVocabulary(Object.keys(open));
    each.addSchema(open, "open");
    each.addSchema(closed, "closed");
  }

  const compiled = new Map([ajv, ajvOfText].map((each) => [each, new Map<string, ValidateFunction>()]));
  const complaintsOf = (validator: Ajv2020, where: string, schema: Schema, root: string, value: unknown): string[] => {
    const known = compiled.get(validator) as Map<string, ValidateFunction>;
    const key = `${root} ${JSON.stringify(schema)}`;
    const validate =
      known.get(key) ?? validator.compile({ type: "object", properties: { value: rooted(schema, root) } });
    known.set(key, validate);
    if (validate({ value })) return [];
    return (validate.errors as ErrorObject[]).map(
      ({ instancePath, message, params }) =>
        `${where}${instancePath.slice("/value".length)} ${message} ${JSON.stringify(params)}`,
    );
  };

  const resolve = <Value>(value: Value): Value => {
    const { $ref } = value as { $ref?: string };
    return $ref === undefined ? value : (target(open, $ref) as Value);
  };

  const operationAt = (verb: string, path: string): Operation | undefined => {
    const found = Object.entries(open.paths)
      .filter(([template]) => new RegExp(`^${template.replaceAll(/\{\w+\}/g, "[^/]+")}$`).test(path))
      .sort(([a], [b]) => a.split("{").length - b.split("{").length);
    return found[0]?.[1][verb.toLowerCase()];
  };

  const requestComplaints = (operation: Operation, query: URLSearchParams, body: unknown): string[] => {
    const content = operation.requestBody?.content["application/json"].schema;
    const aboutBody =
      content === undefined
        ? [body].filter((each) => each !== undefined).map(() => "there is a body")
        : complaintsOf(ajv, "body", content, "open", body);
    const declared = (operation.parameters ?? []).map(resolve).filter((parameter) => parameter.in === "query");
    const aboutQuery = [...query].flatMap(([name, value]) => {
      const schema = declared.find((parameter) => parameter.name === name)?.schema;
      if (schema === undefined) return [`query ${name} is missing`];
      return complaintsOf(ajvOfText, name, schema, "open", schema.type === "array" ? value.split(",") : value);
    });
    return [...aboutBody, ...aboutQuery];
  };

  const judge = ({ verb, path, body, status, headers, answer }: Exchange): string[] => {
    const [plain, query] = path.split("?") as [string, string?];
    const operation = operationAt(verb, plain);
    if (operation === undefined) return [`${verb} ${plain} is missing`];
    const responses = operation.responses;
    const declared = resolve(responses[status] ?? (responses.default as Response));
    const aboutHeaders = Object.entries(declared.headers ?? {}).flatMap(([name, header]) => {
      const value = headers.get(name);
      return value === null ? [] : complaintsOf(ajvOfText, name, resolve(header).schema, "open", value);
    });
    return [
      ...(responses[status] === undefined ? [`status ${status} is missing`] : []),
      ...(headers.get("content-type")?.startsWith("application/json") ? [] : ["the answer is not JSON"]),
      ...complaintsOf(ajv, "answer", declared.content["application/json"].schema, "closed", answer),
      ...aboutHeaders,
      // An accepted request must be valid by the document.
      ...(status < 400 ? requestComplaints(operation, new URLSearchParams(query), body) : []),
    ].map((complaint) => `${verb} ${path} ${status}: ${complaint}`);
  };

  return { judge, operationAt };
}

/** Closes a schema and its inner objects against properties that they do not name. */
function close(schema: unknown): void {
  if (typeof schema !== "object" || schema === null) return;
  const object = schema as Record<string, unknown>;
  if (object.type === "object" && object.properties !== undefined) object.additionalProperties = false;
  for (const value of Object.values(object)) close(value);
}

/** A schema of the document, with its references leading into one of the two roots. */
function rooted(schema: Schema, root: string): Schema {
  return JSON.parse(JSON.stringify(schema).replaceAll('"$ref":"#/', `"$ref":"${root}#/`));
}

/** The target of a reference within a document. */
function target(root: unknown, reference: string): unknown {
  const keys = reference.slice(2).split("/");
  return keys.reduce(
    (at, key) => (at as Record<string, unknown> | undefined)?.[key.replaceAll("~1", "/").replaceAll("~0", "~")],
    root,
  );
}

describe("the OpenAPI document", () => {
  it("is OpenAPI 3.1 by its own schema", async () => {
    const validator = new Validator();
    expect(await validator.validate(JSON.parse(TEXT))).toEqual({ valid: true });
    expect(validator.version).toBe("3.1");
  });

  it("names the program, its version and its licence", () => {
    const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
    expect(document.info).toMatchObject({ title: "Numberpool", version, license: { identifier: "Apache-2.0" } });
    expect(document.components.securitySchemes).toMatchObject({ bearerAuth: { type: "http", scheme: "bearer" } });
  });

  it("has no dangling reference, and no unused schema", () => {
    const references = new Set([...TEXT.matchAll(/"\$ref": "([^"]+)"/g)].map((match) => match[1] as string));
    expect([...references].filter((reference) => target(document, reference) === undefined)).toEqual([]);
    const names = Object.keys(document.components.schemas);
    expect(names.filter((name) => !references.has(`#/components/schemas/${name}`))).toEqual([]);
  });

  it("has exactly the routes that the transport serves", () => {
    const methods = createServices({} as ServiceParts).flatMap(({ service }) =>
      service.methods.map((desc) => ({ desc, service, path: "", maxBytes: 0 })),
    );
    const served = routesOf(methods).map(({ verb, template, method }) => `${verb} ${template} ${method.desc.name}`);
    // A further route of a method has the method's name with a suffix.
    const methodOf = (operationId: string) => operationId.replace(/At[A-Z]\w+$/, "");
    const documented = operations.map(
      ({ verb, template, operation }) => `${verb} ${template} ${methodOf(operation.operationId)}`,
    );
    expect(documented).toEqual(expect.arrayContaining(served));
    expect(operations).toHaveLength(served.length);
    expect(new Set(operations.map(({ operation }) => operation.operationId)).size).toBe(served.length);
  });

  it.each(operations.map((each) => [each.operation.operationId, each] as const))(
    "%s declares its path, and has a description",
    (_name, { template, operation }) => {
      const parameters = (operation.parameters ?? []).map((each) =>
        "$ref" in each ? (target(document, each.$ref as string) as Parameter) : each,
      );
      const inPath = parameters.filter((parameter) => parameter.in === "path");
      expect(inPath.map(({ name }) => `{${name}}`)).toEqual(template.match(/\{\w+\}/g) ?? []);
      expect(inPath.every(({ required }) => required)).toBe(true);
      const names = parameters.map((parameter) => `${parameter.in} ${parameter.name}`);
      expect(new Set(names).size).toBe(names.length);
      expect(operation.description.startsWith(operation.summary)).toBe(true);
      expect(operation.tags).toHaveLength(1);
      expect(operation.security).toHaveLength(1);
      expect(Object.keys(operation.responses)).toEqual(expect.arrayContaining(["200", "400", "401", "404", "default"]));
    },
  );

  it("spells enums as the transport does, and accepts more in requests only", () => {
    const files = createServices({} as ServiceParts).flatMap(({ service: { file } }) => [file, ...file.dependencies]);
    const registry = createRegistry(...files);
    const enums = Object.entries(document.components.schemas).flatMap(([name, schema]) => {
      const desc = registry.getEnum(`numberpool.v1.${name.replace(/Input$/, "")}`);
      return desc === undefined ? [] : [{ name, schema, spellings: enumSpellings(desc) }];
    });
    expect(enums.length).toBeGreaterThan(12);
    for (const { name, schema, spellings } of enums) {
      const expected = name.endsWith("Input") ? [...spellings.read.keys()] : spellings.names;
      expect(schema.enum).toEqual(expected);
    }
  });
});

describe("the document is true", () => {
  const { judge, operationAt } = judgeOf(TEXT);
  const folder = temporaryFolder();
  const database = `${folder.path}/numberpool.db`;
  const answered = new Map<string, Set<number>>();
  let server: TestServer;
  let registered = 0;

  beforeAll(async () => {
    await installReadKey(database);
    server = await startServer({ database });
  });

  afterAll(async () => {
    expect(await server.stop()).toBe(0);
    folder.remove();
  });

  function see(exchange: Exchange): void {
    expect(judge(exchange)).toEqual([]);
    const name = operationAt(exchange.verb, exchange.path.split("?")[0] as string)?.operationId as string;
    answered.set(name, (answered.get(name) ?? new Set()).add(exchange.status));
  }

  /** Calls the JSON transport and checks the exchange; a string is sent unchanged. */
  async function call(verb: string, path: string, body?: unknown, headers?: Record<string, string>) {
    const { status, headers: answerHeaders, body: answer } = await server.json(verb, path, body, headers);
    see({ verb, path, body, status, headers: answerHeaders, answer });
    return { status, headers: answerHeaders, body: answer } as JsonAnswer;
  }

  /** A call that must succeed; gives `data`. */
  async function done(verb: string, path: string, body?: unknown) {
    const answer = await call(verb, path, body);
    expect([path, answer.status]).toEqual([path, 200]);
    return answer.body.data;
  }

  /** A call of an unimplemented method. */
  async function lacking(verb: string, path: string, body?: unknown) {
    const answer = await call(verb, path, body);
    expect([path, answer.body.errors?.[0].meta.reason]).toEqual([path, "NOT_IMPLEMENTED"]);
  }

  async function refused(status: number, verb: string, path: string, body?: unknown, headers?: Record<string, string>) {
    const answer = await call(verb, path, body, headers);
    expect(answer.status).toBe(status);
    return answer.body.errors[0];
  }

  const ON = { long_code_weight: 1, toll_free_weight: 1 };
  const makeProfile = (fields: object = {}) =>
    done("POST", "/v2/messaging_profiles", {
      name: "True",
      whitelisted_destinations: ["US"],
      number_pool_settings: ON,
      ...fields,
    });
  const register = (messaging_profile_id: string, fields: object = {}) => {
    registered += 1;
    const phone_number = `+1212557${String(registered).padStart(4, "0")}`;
    return done("POST", "/v2/phone_numbers", { phone_number, messaging_profile_id, ...fields });
  };
  const send = (messaging_profile_id: string, fields: object = {}) =>
    done("POST", "/v2/messages/number_pool", {
      messaging_profile_id,
      to: "+13125550100",
      text: "Hello, World!",
      ...fields,
    });
  const final = (id: string) =>
    until(
      () => done("GET", `/v2/messages/${id}`),
      ({ completed_at }) => completed_at !== null,
    );

  it("of profiles", async () => {
    await done("POST", "/v2/messaging_profiles", { name: "Least", whitelisted_destinations: ["*"] });
    const { id } = await makeProfile({
      enabled: true,
      webhook_url: "https://example.com/hook",
      webhook_failover_url: null,
      webhook_api_version: "2",
      number_pool_settings: { ...ON, skip_unhealthy: true, sticky_sender: null },
      validity_period_seconds: 60,
      alpha_sender: null,
      mobile_only: false,
    });
    await done("GET", `/v2/messaging_profiles/${id}`);
    await done("GET", "/v2/messaging_profiles");
    await done("GET", "/v2/messaging_profiles?filter[name]=True&filter[name][contains]=r&page[number]=1&page[size]=5");
    await done("GET", "/v2/messaging_profiles?filter%5Bname%5D%5Beq%5D=True&page%5Bsize%5D=250");
    await done("PATCH", `/v2/messaging_profiles/${id}`, { number_pool_settings: { geomatch: true } });
    await done("PATCH", `/v2/messaging_profiles/${id}`, { number_pool_settings: {} });
    await done("PATCH", `/v2/messaging_profiles/${id}`, { number_pool_settings: null, webhook_url: null, more: 1 });
    await register(id);
    await done("GET", `/v2/messaging_profiles/${id}/phone_numbers?page[size]=10`);
    await done("GET", `/v2/messaging_profiles/${id}/number_pool?page[number]=1`);
    await done("DELETE", `/v2/messaging_profiles/${id}`);

    const path = "/v2/messaging_profiles";
    const required = { name: "Refused", whitelisted_destinations: ["US"] };
    expect((await refused(400, "POST", path, {})).meta.reason).toBe("MISSING_PARAMETER");
    expect((await refused(400, "POST", path, "{")).meta.reason).toBe("INVALID_JSON");
    expect((await refused(400, "POST", path, { ...required, name: 5 })).meta.reason).toBe("INVALID_TYPE");
    expect((await refused(400, "POST", path, { ...required, webhook_url: "x" })).meta.reason).toBe("INVALID_URL");
    await refused(400, "POST", path, { ...required, number_pool_settings: { long_code_weight: -1 } });
    await refused(400, "POST", path, { ...required, alpha_sender: "Numberpool" });
    await refused(400, "GET", `${path}?page[size]=251`);
    expect(await refused(400, "GET", `${path}?page[number]=x`)).toMatchObject({
      source: { parameter: "page[number]" },
    });
    await refused(415, "POST", path, "name=x", { "content-type": "application/x-www-form-urlencoded" });
    await refused(401, "GET", path, undefined, { authorization: "Bearer nobody's" });
    await refused(403, "POST", path, required, { authorization: `Bearer ${READ_KEY}` });
    for (const verb of ["GET", "DELETE"]) await refused(404, verb, `${path}/${UNKNOWN_ID}`);
    await refused(404, "PATCH", `${path}/${UNKNOWN_ID}`, {});
    for (const part of ["phone_numbers", "number_pool"]) {
      await refused(404, "GET", `${path}/${UNKNOWN_ID}/${part}`);
    }
  });

  it("of numbers", async () => {
    const { id: profile } = await makeProfile();
    const number = await register(profile, {
      carrier: "sandbox",
      line_type: "toll-free",
      segments_per_second: 2.5,
      daily_segment_limit: 100,
      state: "draining",
      tags: ["vip"],
    });
    expect(number).toMatchObject({ line_type: "toll_free", state: "draining" });
    await done("POST", "/v2/phone_numbers", { phone_number: "+442071838750", line_type: null });
    await done("GET", `/v2/phone_numbers/${number.id}`);
    await done("GET", `/v2/phone_numbers/${number.phone_number}`);
    await done("GET", `/v2/phone_numbers?filter[messaging_profile_id]=${profile}&sort[phone_number]=desc`);
    await done("GET", "/v2/phone_numbers?filter[phone_number]=%2B12125570001,%2B12125570002&page[size]=2");
    await done("GET", "/v2/phone_numbers?filter[phone_number][eq]=%2B12125570001&filter[type]=long-code");
    await done("PATCH", `/v2/phone_numbers/${number.id}`, { daily_segment_limit: null, state: "active", tags: [] });
    await done("GET", `/v2/phone_numbers/${number.id}/messaging`);
    await done("GET", "/v2/phone_numbers/messaging?filter[phone_number][contains]=557&filter[type]=shortcode");
    await done("GET", "/v2/phone_numbers/messaging?sort[phone_number]=asc&page[number]=1");
    const path = `/v2/phone_numbers/${number.id}/messaging`;
    await done("PATCH", path, { messaging_profile_id: null, messaging_product: "A2P", tags: ["spring"] });
    await done("PATCH", path, { messaging_profile_id: "" });
    const reset = await done("POST", `/v2/phone_numbers/${number.id}/actions/reset_health`, {});
    expect(reset.health_reset_at).not.toBeNull();
    await done("DELETE", `/v2/phone_numbers/${number.id}`);

    const again = { phone_number: "+442071838750" };
    const { headers } = await call("POST", "/v2/phone_numbers", again);
    expect(headers.get("x-should-retry")).toBe("false");
    await refused(409, "POST", "/v2/phone_numbers", again);
    await refused(400, "POST", "/v2/phone_numbers", {});
    await refused(400, "POST", "/v2/phone_numbers", { phone_number: "555" });
    await refused(400, "POST", "/v2/phone_numbers", { phone_number: "+12125559999", line_type: "landline" });
    await refused(400, "POST", "/v2/phone_numbers", { phone_number: "+12125559999", segments_per_second: 0 });
    await refused(404, "POST", "/v2/phone_numbers", { phone_number: "+12125559999", messaging_profile_id: UNKNOWN_ID });
    await refused(400, "GET", "/v2/phone_numbers?sort[phone_number]=up");
    await refused(400, "GET", "/v2/phone_numbers/messaging?filter[type]=landline");
    for (const verb of ["GET", "DELETE"]) await refused(404, verb, `/v2/phone_numbers/${UNKNOWN_ID}`);
    await refused(404, "POST", `/v2/phone_numbers/${UNKNOWN_ID}/actions/reset_health`, {});
    await refused(404, "GET", `/v2/phone_numbers/${UNKNOWN_ID}/messaging`);
    for (const part of ["", "/messaging"]) await refused(404, "PATCH", `/v2/phone_numbers/${UNKNOWN_ID}${part}`, {});
    await refused(415, "DELETE", `/v2/phone_numbers/${UNKNOWN_ID}`, "x", { "content-type": "text/plain" });
  });

  it("of messages with every outcome", async () => {
    const { id: profile } = await makeProfile({ number_pool_settings: { ...ON, geomatch: true, sticky_sender: true } });
    const { phone_number: from } = await register(profile, { segments_per_second: 1000 });
    const all = {
      type: "SMS",
      encoding: "ucs2",
      auto_detect: null,
      use_profile_webhooks: false,
      webhook_url: "https://example.com/message",
      send_at: null,
      media_urls: [],
      subject: "",
    };
    const first = await send(profile, all);
    await final(first.id);
    for (const digits of ["01", "02", "04", "05", "09"]) {
      const { status } = (await final((await send(profile, { to: `+131255501${digits}` })).id)).to[0];
      expect(status).toBe({ "04": "delivered", "05": "sending_failed" }[digits] ?? "delivery_failed");
    }
    await done("POST", "/v2/messages", { from, to: "+13125550100", text: "Named" });
    await done("POST", "/v2/messages/long_code", { from, to: "+13125550100", text: "Named" });
    const send_at = new Date(Date.now() + 3_600_000).toISOString();
    await done("POST", "/v2/messages/schedule", { from, to: "+13125550100", text: "Later", send_at });
    await done("POST", "/v2/messages", {
      messaging_profile_id: profile,
      from: null,
      to: "+13125550100",
      text: "Pooled",
    });
    const items = [
      { messaging_profile_id: profile, to: "+13125550100", text: "One" },
      { messaging_profile_id: profile, to: "nobody", text: "Two" },
    ];
    const results = await done("POST", "/v2/messages/number_pool/batch", { messages: items });
    expect(results).toMatchObject([
      { error: null },
      { message: null, error: { reason: "INVALID_TO", pointer: "/to" } },
    ]);
    await done("POST", "/v2/messages/number_pool/preview", { messaging_profile_id: profile, to: "+13125550100" });
    await done("POST", "/v2/messages/number_pool/preview", {
      messaging_profile_id: (await makeProfile()).id,
      to: "+13125550100",
      text: "Nobody could send this",
      encoding: "gsm7",
    });
    await done("GET", "/v2/messages");
    await done("GET", `/v2/messages?filter[messaging_profile_id]=${profile}&filter[status]=delivered&page[size]=1`);
    await done("GET", "/v2/messages?filter[to]=%2B13125550100&filter[from]=%2B12125570001");
    await done("GET", `/v2/messages/${first.id}/events?page[size]=2`);
    await done("GET", `/v2/messages/${first.id}/events`);
  });

  it("of numbers with health from their messages' outcomes", async () => {
    const { id: profile } = await makeProfile({ number_pool_settings: { ...ON, skip_unhealthy: true } });
    const number = await register(profile, { segments_per_second: 1000 });
    const failing = { messaging_profile_id: profile, to: "+13125550109", text: "I fail" };
    await done("POST", "/v2/messages/number_pool/batch", { messages: Array.from({ length: 14 }, () => failing) });
    const path = `/v2/phone_numbers/${number.id}`;
    const unhealthy = await until(
      () => done("GET", path),
      ({ health }) => !health.healthy,
    );
    expect(unhealthy.health).toMatchObject({ unhealthy_reason: "delivery", healthy_again_at: expect.any(String) });
    await done("GET", `${path}/messaging`);
    await done("GET", `/v2/messaging_profiles/${profile}/number_pool`);
    const body = { messaging_profile_id: profile, to: "+13125550100", text: "Who?" };
    expect((await refused(400, "POST", "/v2/messages/number_pool", body)).code).toBe("40321");
    expect((await refused(400, "POST", "/v2/messages", { ...body, from: number.phone_number })).code).toBe("40315");
  });

  it("of repeated sends", async () => {
    const { id: profile } = await makeProfile();
    await register(profile);
    const body = { messaging_profile_id: profile, to: "+13125550100", text: "Once" };
    const key = { "idempotency-key": "true-1" };
    const first = await call("POST", "/v2/messages/number_pool", body, key);
    const second = await call("POST", "/v2/messages/number_pool", body, key);
    expect(second.headers.get("idempotent-replayed")).toBe("true");
    expect(second.body).toEqual(first.body);
    await refused(422, "POST", "/v2/messages/number_pool", { ...body, text: "Twice" }, key);
    await refused(422, "POST", "/v2/messages/number_pool/batch", { messages: [body], request_id: "true-2" }, key);
    await refused(400, "POST", "/v2/messages", { ...body, request_id: "not visible: ä" });
  });

  it("of refused sends", async () => {
    const { id: profile } = await makeProfile();
    await register(profile, { segments_per_second: 0.001 });
    const path = "/v2/messages/number_pool";
    const body = { messaging_profile_id: profile, to: "+13125550100", text: "Refused" };
    const reasonOf = async (status: number, fields: object) =>
      (await refused(status, "POST", path, { ...body, ...fields })).meta.reason;
    expect(await reasonOf(400, { to: undefined })).toBe("MISSING_PARAMETER");
    expect(await reasonOf(400, { to: 5 })).toBe("INVALID_TO");
    expect(await reasonOf(400, { to: "+442071838750" })).toBe("DESTINATION_NOT_ALLOWED");
    expect(await reasonOf(400, { text: null })).toBe("NO_CONTENT");
    expect(await reasonOf(400, { text: "x".repeat(2000) })).toBe("MESSAGE_TOO_LARGE");
    expect(await reasonOf(400, { text: "ж", encoding: "gsm7" })).toBe("ENCODING_ERROR");
    expect(await reasonOf(400, { encoding: "ascii" })).toBe("INVALID_ENUM");
    expect(await reasonOf(404, { messaging_profile_id: UNKNOWN_ID })).toBe("NOT_FOUND");
    expect(await reasonOf(413, { text: "x".repeat(70_000) })).toBe("REQUEST_TOO_LARGE");
    expect(await reasonOf(400, { media_urls: ["https://example.com/a.png"] })).toBe("NOT_SUPPORTED");
    expect(await reasonOf(409, { messaging_profile_id: (await makeProfile({ enabled: false })).id })).toBe(
      "PROFILE_DISABLED",
    );
    await refused(403, "POST", path, body, { authorization: `Bearer ${READ_KEY}` });
    await refused(400, "POST", "/v2/messages", { to: body.to, text: body.text });
    await refused(404, "GET", `/v2/messages/${UNKNOWN_ID}`);
    await refused(400, "POST", `${path}/batch`, { messages: [] });

    const long = "x".repeat(1530);
    expect((await call("POST", path, { ...body, text: long })).body.data.wait_seconds).toBe(0);
    const full = await call("POST", path, { ...body, text: long });
    expect(full.status).toBe(429);
    expect(Number(full.headers.get("retry-after"))).toBeGreaterThan(0);
    const [result] = await done("POST", `${path}/batch`, { messages: [{ ...body, text: long }] });
    expect(result.error.retry_after_seconds).toBeGreaterThan(0);
  });

  it("of messages cancelled, in time and too late", async () => {
    const { id: profile } = await makeProfile();
    await register(profile, { segments_per_second: 0.001 });
    const [sent, waiting] = [await send(profile), await send(profile)];
    await final(sent.id);
    const scheduled = await send(profile, { send_at: new Date(Date.now() + 3_600_000).toISOString() });
    expect(scheduled).toMatchObject({ from: null, decision: null, to: [{ status: "scheduled" }] });
    await done("GET", `/v2/messages/${scheduled.id}`);
    await done("GET", "/v2/messages?filter[status]=scheduled");
    for (const { id } of [waiting, scheduled]) {
      const cancelled = await call("DELETE", `/v2/messages/${id}`);
      expect([cancelled.status, cancelled.body.to[0].status]).toEqual([200, "cancelled"]);
      await done("GET", `/v2/messages/${id}/events`);
    }
    await refused(403, "DELETE", `/v2/messages/${sent.id}`);
    await refused(404, "DELETE", `/v2/messages/${UNKNOWN_ID}`);
    const path = "/v2/messages/number_pool";
    const tooLate = {
      messaging_profile_id: profile,
      to: "+13125550100",
      text: "Never",
      send_at: "2001-01-01T00:00:00Z",
    };
    expect((await refused(400, "POST", path, tooLate)).meta.reason).toBe("OUT_OF_RANGE");
  });

  it("of mappings and opt-outs", async () => {
    const { id: profile } = await makeProfile({ number_pool_settings: { ...ON, sticky_sender: true } });
    const { phone_number } = await register(profile);
    const path = `/v2/messaging_profiles/${profile}`;
    await done("PUT", `${path}/sticky_mappings/%2B13125550100`, { phone_number });
    await done("GET", `${path}/sticky_mappings?page[size]=1`);
    await done("GET", `${path}/sticky_mappings?phone_number=${encodeURIComponent(phone_number)}`);
    await done("DELETE", `${path}/sticky_mappings/%2B13125550100`);

    await done("POST", "/v2/messaging_optouts", {
      messaging_profile_id: profile,
      from: phone_number,
      to: "+13125550100",
    });
    await done("GET", "/v2/messaging_optouts?redaction_enabled=false&page[size]=5");
    await done(
      "GET",
      `/v2/messaging_optouts?filter[messaging_profile_id]=${profile}&filter[from]=${encodeURIComponent(phone_number)}&filter[to]=%2B13125550100`,
    );
    await done(
      "GET",
      "/v2/messaging_optouts?created_at[gte]=2020-01-01T00:00:00Z&created_at[lte]=2100-01-01T00:00:00Z",
    );
    await done("DELETE", `${path}/messaging_optouts/%2B13125550100`);
    for (const part of ["sticky_mappings", "messaging_optouts"]) {
      await refused(404, "DELETE", `${path}/${part}/%2B13125550199`);
    }
  });

  it("of carriers' reports and of webhooks", async () => {
    const receipt = { carrier_message_id: "7f", status: "delivered", occurred_at: "2030-01-31T18:00:00.123+01:00" };
    expect(await done("POST", "/v2/carriers/sandbox/receipts", receipt)).toEqual({ message_id: null });
    const { id: profile } = await makeProfile();
    await register(profile);
    const { id } = await send(profile, { to: "+13125550103" });
    const events = await until(
      () => done("GET", `/v2/messages/${id}/events`),
      ({ length }) => length === 3,
    );
    const { carrier_message_id } = events[2];
    for (const [status, carrier_code] of [
      ["buffered", "enroute"],
      ["failed", "EX-7"],
      ["failed", "40002"],
      ["delivered", null],
    ]) {
      const reported = { carrier_message_id, status, carrier_code };
      expect(await done("POST", "/v2/carriers/sandbox/receipts", reported)).toEqual({ message_id: id });
    }
    expect(await done("GET", `/v2/messages/${id}/events`)).toHaveLength(7);
    await done("GET", `/v2/messages/${id}/events?page[size]=1&page[after]=${Buffer.from("0").toString("base64url")}`);
    await refused(404, "GET", `/v2/messages/${UNKNOWN_ID}/events`);
    await refused(400, "GET", `/v2/messages/${id}/events?page[after]=nothing`);
    await refused(400, "POST", "/v2/carriers/sandbox/receipts", { ...receipt, status: null });
    await refused(404, "POST", "/v2/carriers/nobody/receipts", receipt);
    await done("GET", "/v2/delivery");
    await done("POST", "/v2/delivery/actions/resume", {});
    await lacking("POST", "/v2/carriers/sandbox/inbound_messages", { from: "+13125550100", to: "+12125570001" });
    await lacking("GET", "/v2/webhook_deliveries?filter[status]=failed&page[size]=1");
    await lacking("GET", `/v2/webhook_deliveries/${UNKNOWN_ID}`);
    await lacking("POST", `/v2/webhook_deliveries/${UNKNOWN_ID}/actions/redeliver`, {});
  });

  it("of the official client's calls", async () => {
    const seen: Exchange[] = [];
    const client = new Telnyx({
      apiKey: API_KEY,
      baseURL: `${server.url}/v2`,
      maxRetries: 0,
      fetch: async (input, init) => {
        const answer = await fetch(input, init);
        const { pathname, search } = new URL(String(input));
        const body = typeof init?.body === "string" ? JSON.parse(init.body) : undefined;
        const text = await answer.clone().text();
        const verb = (init?.method ?? "GET").toUpperCase();
        const { status, headers } = answer;
        seen.push({ verb, path: pathname + search, body, status, headers, answer: JSON.parse(text) });
        return answer;
      },
    });
    const settings = { long_code_weight: 5, toll_free_weight: 1, skip_unhealthy: true, geomatch: true };
    const { data: profile } = await client.messagingProfiles.create({
      name: "Official",
      whitelisted_destinations: ["US"],
      webhook_url: "https://example.com/hook",
      number_pool_settings: settings,
    });
    const messaging_profile_id = profile?.id as string;
    const { phone_number } = await register(messaging_profile_id);
    await client.messagingProfiles.retrieve(messaging_profile_id);
    await client.messagingProfiles.update(messaging_profile_id, { name: "Official, still" });
    await client.messagingProfiles.list({ filter: { name: "Official, still" }, "page[size]": 1 });
    await client.messagingProfiles.list({ "filter[name][contains]": "official", "page[number]": 1 });
    await client.messagingProfiles.listPhoneNumbers(messaging_profile_id, { "page[size]": 3 });
    await client.phoneNumbers.messaging.retrieve(phone_number);
    await client.phoneNumbers.messaging.update(phone_number, { messaging_profile_id, tags: ["official"] });
    await client.phoneNumbers.messaging.list({
      "filter[messaging_profile_id]": messaging_profile_id,
      "filter[phone_number]": phone_number,
      "filter[type]": "longcode",
      "sort[phone_number]": "asc",
    });
    const { data: message } = await client.messages.sendNumberPool({
      messaging_profile_id,
      to: "+13125550100",
      text: "Hello, World!",
      type: "SMS",
      encoding: "auto",
      auto_detect: true,
      use_profile_webhooks: true,
    });
    await client.messages.send({ from: phone_number, to: "+13125550100", text: "Hello again" });
    await client.messages.retrieve(message?.id as string);
    await client.messagingOptouts.list({ filter: { messaging_profile_id } }).catch((error) => error);
    await client.messages.cancelScheduled(message?.id as string).catch((error) => error);
    await client.messages.sendNumberPool({ messaging_profile_id, to: "nobody", text: "?" }).catch((error) => error);
    await client.messagingProfiles.delete(messaging_profile_id);

    expect(seen).toHaveLength(16);
    expect(seen.filter(({ status }) => status === 200).length).toBeGreaterThanOrEqual(13);
    for (const exchange of seen) see(exchange);
  });

  it("and they cover every operation and every status that a caller can cause", () => {
    const unanswered = operations
      .map(({ operation }) => operation.operationId)
      // An unimplemented method refuses every request.
      .filter((name) => !answered.get(name)?.has(200) && [...(answered.get(name) ?? [])].join() !== "501");
    expect(unanswered).toEqual([]);
    const statuses = new Set([...answered.values()].flatMap((each) => [...each]));
    expect([...statuses].sort()).toEqual([200, 400, 401, 403, 404, 409, 413, 415, 422, 429, 501]);
  });

  it("and an untrue one is detected", async () => {
    const { id: profile } = await makeProfile();
    await register(profile);
    const path = "/v2/messages/number_pool";
    const body = { messaging_profile_id: profile, to: "+13125550100", text: "True" };
    const { status, headers, body: answer } = await call("POST", path, body);
    const exchange = { verb: "POST", path, body, status, headers, answer };
    const { decision, ...rest } = answer.data;
    const untrue: readonly (readonly [Partial<Exchange>, RegExp])[] = [
      [{ answer: { data: rest } }, /'decision'/],
      [{ answer: { data: { ...answer.data, more: 1 } } }, /additional properties.*"more"/],
      [{ answer: { data: { ...answer.data, parts: "1" } } }, /\/data\/parts must be integer/],
      [{ answer: { data: { ...answer.data, direction: null } } }, /\/data\/direction must be/],
      [{ answer: { data: { ...answer.data, received_at: "yesterday" } } }, /date-time/],
      [{ answer: { data: null } }, /\/data must be object/],
      [{ status: 402, answer: {} }, /status 402 is missing/],
      [{ status: 404, answer: { errors: [{ code: "40310", title: "", detail: "", meta: {} }] } }, /'reason'/],
      [{ path: "/v2/nowhere" }, /is missing/],
      [{ path: `${path}?page[size]=1` }, /query page\[size\] is missing/],
      [{ body: { ...body, to: undefined } }, /'to'/],
      [{ body: { ...body, auto_detect: "yes" } }, /auto_detect/],
      [{ headers: new Headers() }, /not JSON/],
    ];
    expect(decision).toBeDefined();
    for (const [change, complaint] of untrue) expect(judge({ ...exchange, ...change }).join("\n")).toMatch(complaint);

    const { judge: stricter } = judgeOf(TEXT.replace('"decision": {', '"decided": {'));
    expect(stricter(exchange).join("\n")).toMatch(/additional properties.*"decision"/);
  });

  it("and is served without a key", async () => {
    const answer = await fetch(`${server.url}/openapi.json`);
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-type")).toMatch(/^application\/json/);
    expect(await answer.text()).toBe(TEXT);
    const wrong = await fetch(`${server.url}/openapi.json`, { method: "POST" });
    expect(wrong.status).toBe(405);
    expect(wrong.headers.get("allow")).toBe("GET, HEAD");
  });
});

/** Puts a read-only key into a new database. */
async function installReadKey(database: string): Promise<void> {
  const store = openSqliteStore(database, { onLost: () => {} });
  const organization = { id: "01900000-0000-7000-8000-000000000001", name: "readers", createdAt: 0 };
  await store.insertOrganization(organization);
  await store.insertApiKey({
    id: "reader",
    organizationId: organization.id,
    name: "reader",
    secretHash: hashOfToken(READ_KEY),
    scopes: ["read"],
    createdAt: 0,
    revokedAt: undefined,
  });
  await store.close();
}
