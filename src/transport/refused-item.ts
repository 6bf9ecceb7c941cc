import { create, type DescMessage, type Message } from "@bufbuild/protobuf";
import type { Refusal } from "../domain/failure.ts";

const REFUSED = new WeakMap<Message, Refusal>();

/**
 * A placeholder for an item that cannot be decoded: its own result has the refusal, the others
 * continue.
 */
export function refusedItem(desc: DescMessage, refusal: Refusal): Message {
  const item = create(desc);
  REFUSED.set(item, refusal);
  return item;
}

/** The refusal of an item that cannot be decoded; undefined for a decoded item. */
export function refusalOfItem(item: Message): Refusal | undefined {
  return REFUSED.get(item);
}
