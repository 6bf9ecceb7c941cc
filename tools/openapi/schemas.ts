import { type DescEnum, type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { FeatureSet_FieldPresence } from "@bufbuild/protobuf/wkt";
import { type Contract, commentOf, isRequired } from "./contract.ts";

/** A JSON object; keys with the value undefined are omitted. */
export type Json = string | number | boolean | null | readonly Json[] | JsonObject;
export type JsonObject = { readonly [key: string]: Json | undefined };

/** The direction of a message: a type differs between a request and a response. */
export type Way = "request" | "answer";

/** The schemas of a document: a reference makes the component and those it refers to. */
export type Schemas = {
  /**
   * A reference to the schema of a message, without the request fields in `omitted`, which are
   * elsewhere, as in the path.
   */
  readonly message: (desc: DescMessage, way: Way, omitted?: readonly string[]) => JsonObject;
  /** The schema of a value in a path or query, where every value is a string and none is null. */
  readonly text: (field: DescField) => JsonObject;
  readonly enumeration: (desc: DescEnum, way: Way) => JsonObject;
  /** A reference to a schema that is not a message of the contract. */
  readonly add: (name: string, schema: JsonObject) => JsonObject;
  /** Every referenced component, by name. */
  readonly components: () => JsonObject;
};

/** Schemas of the contract's messages as the JSON transport reads and writes them. */
export function createSchemas(contract: Contract): Schemas {
  const answered = answeredTypes(contract);
  const components = new Map<string, { readonly of: string; schema: JsonObject }>();

  /**
   * A component, made at its first reference; registered before its fields, because a type may
   * contain itself.
   */
  const component = (name: string, of: string, make: () => JsonObject): JsonObject => {
    const known = components.get(name);
    if (known === undefined) {
      const entry = { of, schema: {} };
      components.set(name, entry);
      entry.schema = make();
    } else if (known.of !== of) throw new Error(`${known.of} and ${of} would both be named ${name}.`);
    return { $ref: `#/components/schemas/${name}` };
  };

  const componentOf = (desc: DescMessage | DescEnum, way: Way, make: () => JsonObject): JsonObject => {
    const name = desc.typeName.slice(desc.file.proto.package.length + 1);
    const isOther = way === "request" && answered.has(desc.typeName);
    return component(isOther ? `${name}Input` : name, `${desc.typeName} in a ${way}`, make);
  };

  const message = (desc: DescMessage, way: Way, omitted: readonly string[] = []): JsonObject =>
    componentOf(desc, way, () => {
      const fields = desc.fields.filter((field) => !omitted.includes(field.name) && !isMask(field));
      const required = fields.filter((field) => way === "answer" || isRequired(field)).map(({ name }) => name);
      return {
        type: "object",
        description: commentOf(desc),
        properties: Object.fromEntries(fields.map((field) => [field.name, property(field, way)])),
        required: required.length > 0 ? required : undefined,
      };
    });

  const enumeration = (desc: DescEnum, way: Way): JsonObject => {
    const spellings = contract.spellings(desc);
    const hasMore = way === "request" && spellings.some(({ alsoReadAs }) => alsoReadAs.length > 0);
    return componentOf(desc, hasMore ? "request" : "answer", () => {
      const lines = spellings.map(({ value, text, alsoReadAs }) => {
        const also = hasMore ? alsoReadAs.map((each) => ` or \`${each}\``).join("") : "";
        return `- \`${text}\`${also}: ${commentOf(value)}`;
      });
      return {
        type: "string",
        description: `${commentOf(desc)}\n\n${lines.join("\n")}`,
        enum: spellings.flatMap(({ text, alsoReadAs }) => (hasMore ? [text, ...alsoReadAs] : [text])),
      };
    });
  };

  const property = (field: DescField, way: Way): JsonObject => {
    const schema = content(field, way);
    const mayBeNull = way === "request" ? !isRequired(field) : isAbsentAtTimes(field, contract);
    return { description: commentOf(field), ...(mayBeNull ? orNull(schema) : schema) };
  };

  const content = (field: DescField, way: Way): JsonObject => {
    switch (field.fieldKind) {
      case "scalar":
        return way === "answer" ? { ...scalar(field, way), const: alwaysOf(field) } : scalar(field, way);
      case "enum":
        return enumeration(field.enum, way);
      case "message":
        return WELL_KNOWN[field.message.typeName] ?? message(field.message, way);
      case "list":
        return { type: "array", items: element(field, way) };
      default:
        throw new Error(`${field} is a map, which the JSON transport does not support.`);
    }
  };

  const element = (field: DescField & { fieldKind: "list" }, way: Way): JsonObject => {
    if (field.listKind === "enum") return enumeration(field.enum, way);
    if (field.listKind === "scalar") return scalar(field, way);
    return WELL_KNOWN[field.message.typeName] ?? message(field.message, way);
  };

  return {
    message,
    text: (field) => content(field, "request"),
    enumeration,
    add: (name, schema) => component(name, name, () => schema),
    components: () =>
      Object.fromEntries(
        [...components].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, { schema }]) => [name, schema]),
      ),
  };
}

/** Types of protobuf with a JSON form of their own. */
const WELL_KNOWN: Readonly<Record<string, JsonObject>> = {
  "google.protobuf.Timestamp": { type: "string", format: "date-time" },
  "google.protobuf.Struct": { type: "object", additionalProperties: true },
  "google.protobuf.ListValue": { type: "array", items: {} },
};

/** Whether a field is the mask of an update, which JSON expresses by the keys of its body. */
export function isMask(field: DescField): boolean {
  return field.message?.typeName === "google.protobuf.FieldMask";
}

/** Whether a message is a timestamp, which JSON writes as a string. */
export function isTime(desc: DescMessage): boolean {
  return desc.typeName === "google.protobuf.Timestamp";
}

/** The messages and enums that responses contain. */
function answeredTypes({ services, routes }: Contract): ReadonlySet<string> {
  const found = new Set<string>();
  const visit = (desc: DescMessage) => {
    if (found.has(desc.typeName) || desc.typeName in WELL_KNOWN) return;
    found.add(desc.typeName);
    for (const { message, enum: enumeration } of desc.fields) {
      if (message !== undefined) visit(message);
      if (enumeration !== undefined) found.add(enumeration.typeName);
    }
  };
  for (const method of services.flatMap((service) => service.methods)) {
    if (routes(method).length > 0) visit(method.output);
  }
  return found;
}

/**
 * Whether a field of a response may be null. The subject of a response is never null; an enum is
 * null at its zero value, unless that is never written.
 */
function isAbsentAtTimes(field: DescField, contract: Contract): boolean {
  switch (field.fieldKind) {
    case "scalar":
      return field.presence !== FeatureSet_FieldPresence.IMPLICIT;
    case "enum": {
      if (field.presence === FeatureSet_FieldPresence.EXPLICIT) return true;
      const zero = field.enum.values.find(({ number }) => number === 0);
      const isSpelled = contract.spellings(field.enum).some(({ value }) => value === zero);
      return !isSpelled && zero !== undefined && !commentOf(zero).startsWith("Never written");
    }
    case "message":
      return !isEnvelope(field.parent, contract);
    default:
      return false;
  }
}

function isEnvelope(desc: DescMessage, { services }: Contract): boolean {
  return services.some((service) => service.methods.some((method) => method.output === desc));
}

function scalar(field: DescField & { scalar: ScalarType }, way: Way): JsonObject {
  switch (field.scalar) {
    case ScalarType.STRING:
      return { type: "string" };
    case ScalarType.BOOL:
      return { type: "boolean" };
    case ScalarType.DOUBLE:
      return { type: "number", format: "double" };
    case ScalarType.INT32:
      return { type: "integer", format: "int32" };
    case ScalarType.UINT64:
      // Written as a string, because some JSON parsers lack 64-bit numbers; both forms are read.
      return way === "answer" ? UINT64 : { ...UINT64, type: ["string", "integer"], minimum: 0 };
    default:
      throw new Error(`${field} has a type that the JSON transport does not support.`);
  }
}

const UINT64: JsonObject = { type: "string", pattern: "^\\d{1,20}$" };

/** The constant value of a field in every response, by its comment. */
function alwaysOf(field: DescField): string | undefined {
  return /^Always "([^"]+)"\.$/.exec(commentOf(field))?.[1];
}

function orNull(schema: JsonObject): JsonObject {
  if (schema.$ref !== undefined) return { anyOf: [schema, { type: "null" }] };
  return { ...schema, type: [schema.type, "null"].flat() as Json };
}
