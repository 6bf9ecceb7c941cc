import { create, type DescMessage, type Message } from "@bufbuild/protobuf";
import type { Refusal } from "../domain/failure.ts";

const REFUSED = new WeakMap<Message, Refusal>();

/** Stands in a list or stream for an item that cannot be decoded, so that its own result tells why and the others go on. */
export function refusedItem(desc: DescMessage, refusal: Refusal): Message {
  const item = create(desc);
  REFUSED.set(item, refusal);
  return item;
}

/** Why an item could not be decoded; undefined when it could. */
export function refusalOfItem(item: Message): Refusal | undefined {
  return REFUSED.get(item);
}
