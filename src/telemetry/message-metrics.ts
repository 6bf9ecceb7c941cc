import type { Counter, Registry } from "prom-client";
import type { MessageStatus } from "../domain/message.ts";
import type { Changes } from "../domain/plan/changes.ts";
import { addCounter } from "./metric-table.ts";

/** Receives the changes of each committed transaction. */
export type CommitObserver = (changes: Changes) => void;

/**
 * Adds the counter of messages to a registry, and gives its observer: it counts new messages by
 * status, and each event that changes a message's status.
 */
export function createMessageMetrics(registry: Registry): CommitObserver {
  const counter = addCounter(registry, "messages");
  // The library hashes the labels at every lookup, which is slow at the rate of messages.
  const series = new Map<MessageStatus, Counter.Internal>();
  const count = (status: MessageStatus) => {
    let counted = series.get(status);
    if (counted === undefined) {
      counted = counter.labels(status);
      series.set(status, counted);
    }
    counted.inc();
  };
  return ({ messages = [], events = [] }) => {
    for (const { status } of messages) count(status);
    for (const { event } of events) if (event.changesStatus) count(event.status);
  };
}
