import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import { canonicalId } from "../domain/ids.ts";

/**
 * Brings the ids in a decoded request into canonical form, so that UUIDs are accepted in any case.
 */
export type CanonicalizeIds = (request: Message) => void;

/** The fields that hold UUIDs. Carriers and callers choose the values of other `_id` fields. */
const ID_FIELDS = new Set(["id", "messaging_profile_id", "message_id"]);

const CACHE = new Map<string, CanonicalizeIds | undefined>();

/** The canonicalization for a request type; undefined when the type has no id. */
export function canonicalizeIdsOf(desc: DescMessage): CanonicalizeIds | undefined {
  if (CACHE.has(desc.typeName)) return CACHE.get(desc.typeName);
  const steps = desc.fields.flatMap((field) => {
    const step = stepOf(field);
    return step === undefined ? [] : [step];
  });
  const canonicalize =
    steps.length === 0
      ? undefined
      : (message: Message) => {
          for (const step of steps) step(message as unknown as Record<string, unknown>);
        };
  CACHE.set(desc.typeName, canonicalize);
  return canonicalize;
}

function stepOf(field: DescField): ((message: Record<string, unknown>) => void) | undefined {
  const { localName } = field;
  if (field.fieldKind === "scalar" && ID_FIELDS.has(field.name)) {
    return (message) => {
      const id = message[localName];
      if (typeof id === "string") message[localName] = canonicalId(id);
    };
  }
  const inner = field.message === undefined ? undefined : canonicalizeIdsOf(field.message);
  if (inner === undefined) return undefined;
  return (message) => {
    const content = message[localName];
    if (Array.isArray(content)) content.forEach(inner);
    else if (content !== undefined) inner(content as Message);
  };
}
