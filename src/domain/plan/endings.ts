import type { AppliedReport } from "../carrier-report.ts";
import { CANCELLABLE, type Message, type QueuedMessage } from "../message.ts";
import { dayOf } from "../pool/room.ts";
import { type Changes, type MessageKey, type NumberReturn, ownedEvent } from "./changes.ts";
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

/** A claimed message, as a requeue needs it. */
export type ClaimedMessage = MessageKey &
  Pick<QueuedMessage, "phoneNumberId" | "parts"> & {
    /** When it was claimed, milliseconds since 1970. */
    readonly submittedAt: number;
  };

/**
 * Plans the return of claimed messages to their queues after a lost claim; none was submitted. The
 * daily limits of their numbers get back what the claim took.
 */
export function planRequeue(messages: readonly ClaimedMessage[], now: number): Changes {
  const cleared = { sentAt: undefined, completedAt: undefined, error: undefined };
  const returns = new Map<string, NumberReturn>();
  for (const { phoneNumberId, parts, submittedAt } of messages) {
    const day = dayOf(submittedAt);
    const name = `${phoneNumberId} ${day}`;
    const { messages: before, segments } = returns.get(name) ?? { messages: 0, segments: 0 };
    returns.set(name, { phoneNumberId, day, messages: before + 1, segments: segments + parts });
  }
  return {
    changed: messages.map(({ organizationId, id }) => {
      return { organizationId, id, progress: { status: "queued", ...cleared }, isSubmitUndone: true };
    }),
    events: messages.map((message) => ownedEvent(message, "requeued", now)),
    returns: [...returns.values()],
  };
}
