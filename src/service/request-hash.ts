import { hash } from "node:crypto";
import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";

/** SHA-256 of `owner` and a request's content, equal for any order of fields and any transport. */
export function hashOfRequest(schema: DescMessage, request: Message, owner: string): Uint8Array {
  return hash("sha256", owner + JSON.stringify(contentOf(schema, request)), "buffer");
}

/** The values of a protobuf message in the order of its fields, without the idempotency key. */
function contentOf(schema: DescMessage, message: Message): unknown[] {
  const values = message as unknown as Record<string, unknown>;
  return schema.fields.map((field) =>
    field.name === "request_id" ? null : fieldContent(field, values[field.localName]),
  );
}

function fieldContent(field: DescField, value: unknown): unknown {
  if (value === undefined) return null;
  if (field.fieldKind === "message") return contentOf(field.message, value as Message);
  if (field.fieldKind === "list" && field.listKind === "message") {
    const { message } = field;
    return (value as Message[]).map((each) => contentOf(message, each));
  }
  return typeof value === "bigint" ? String(value) : value;
}
