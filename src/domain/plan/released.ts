import type { Message } from "../message.ts";
import { type Changes, ownedEvent } from "./changes.ts";

/**
 * A scheduled message after the decision at `at`. It is `queued`, `sending_failed` or `expired`; or
 * it is still `scheduled` and retried at `retryAt`, or when its lane has room (undefined).
 */
export type ReleasedMessage = {
  readonly message: Message;
  readonly at: number;
  readonly retryAt: number | undefined;
};

/** The changes of decisions about scheduled messages. */
export function changesOfReleased(released: readonly ReleasedMessage[]): Changes {
  const decided = released.filter(({ message }) => message.status !== "scheduled");
  const waiting = released.filter(({ message }) => message.status === "scheduled");
  return {
    rewritten: decided.map(({ message }) => message),
    changed: waiting.map(({ message: { organizationId, id }, retryAt }) => {
      return { organizationId, id, nextSubmitAt: retryAt ?? "never" };
    }),
    events: decided.map(({ message, at }) => {
      const kind = message.status === "queued" ? "decided" : (message.status as "expired" | "sending_failed");
      return ownedEvent(message, kind, at, message.error);
    }),
  };
}
