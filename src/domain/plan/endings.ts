import type { AppliedReport } from "../carrier-report.ts";
import { CANCELLABLE, type Message } from "../message.ts";
import { type Changes, type MessageKey, ownedEvent } from "./changes.ts";
import { expiredWhile, planEnd } from "./report.ts";

/** What became of a message that a caller cancels; `applied` for the pools. */
export type Cancelled =
  | { readonly kind: "cancelled"; readonly message: Message; readonly applied: AppliedReport }
  /** It is not scheduled or queued any more. */
  | { readonly kind: "tooLate"; readonly message: Message }
  | { readonly kind: "unknown" };

/** Plans the cancelling of a message; undefined: there is none. */
export function planCancel(message: Message | undefined, at: number): { cancelled: Cancelled; changes: Changes } {
  if (message === undefined) return { cancelled: { kind: "unknown" }, changes: {} };
  if (!CANCELLABLE.has(message.status)) return { cancelled: { kind: "tooLate", message }, changes: {} };
  const { organizationId, id } = message;
  const { progress, event, applied } = planEnd(message, "cancelled", at, undefined);
  return {
    cancelled: { kind: "cancelled", message: { ...message, ...progress }, applied },
    changes: { changed: [{ organizationId, id, progress }], events: [{ organizationId, event }] },
  };
}

/** Plans the end of messages that wait although their valid_until has passed. */
export function planExpiry(messages: readonly Message[], now: number): { applied: AppliedReport[]; changes: Changes } {
  const ends = messages.map((message) => ({ message, ...planEnd(message, "expired", now, expiredWhile(message)) }));
  return {
    applied: ends.map(({ applied }) => applied),
    changes: {
      changed: ends.map(({ message: { organizationId, id }, progress }) => ({ organizationId, id, progress })),
      events: ends.map(({ message: { organizationId }, event }) => ({ organizationId, event })),
    },
  };
}

/** Plans that messages wait in their queues again, because the answer to their claim was lost and nothing was submitted. */
export function planRequeue(messages: readonly MessageKey[], now: number): Changes {
  const none = { sentAt: undefined, completedAt: undefined, error: undefined };
  return {
    changed: messages.map(({ organizationId, id }) => {
      return { organizationId, id, progress: { status: "queued", ...none }, isSubmitUndone: true };
    }),
    events: messages.map((message) => ownedEvent(message, "requeued", now)),
  };
}
