import { hash } from "node:crypto";
import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";

/** SHA-256 of a request's content, whatever the order of its fields and whichever transport it came through; of its `owner` too. */
export function hashOfRequest(schema: DescMessage, request: Message, owner: string): Uint8Array {
  return hash("sha256", owner + JSON.stringify(contentOf(schema, request)), "buffer");
}

/** The values of a message in the order of its fields; where the idempotency key stood is no content. */
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
