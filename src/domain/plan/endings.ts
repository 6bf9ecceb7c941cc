import type { AppliedReport } from "../carrier-report.ts";
import { CANCELLABLE, type Message } from "../message.ts";
import { type Changes, type MessageKey, ownedEvent } from "./changes.ts";
import { expiredWhile, planEnd } from "./report.ts";

/** The result of a cancellation; `applied` is its effect on the pools. */
export type Cancelled =
  | { readonly kind: "cancelled"; readonly message: Message; readonly applied: AppliedReport }
  /** The message has left its queue or is final. */
  | { readonly kind: "tooLate"; readonly message: Message }
  | { readonly kind: "unknown" };

/** Plans the cancellation of a message; undefined: it does not exist. */
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

/** Plans the end of waiting messages whose valid_until has passed. */
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

/** Plans the return of claimed messages to their queues after a lost claim; none was submitted. */
export function planRequeue(messages: readonly MessageKey[], now: number): Changes {
  const cleared = { sentAt: undefined, completedAt: undefined, error: undefined };
  return {
    changed: messages.map(({ organizationId, id }) => {
      return { organizationId, id, progress: { status: "queued", ...cleared }, isSubmitUndone: true };
    }),
    events: messages.map((message) => ownedEvent(message, "requeued", now)),
  };
}
