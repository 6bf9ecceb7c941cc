import { carrierMessageKey } from "../../domain/carrier-message-id.ts";
import type { MessageChange } from "../../domain/plan/changes.ts";

/** The columns and values that a change of a message sets, and the difference of `submits`. */
export type ChangedColumns = {
  readonly columns: readonly (keyof typeof CHANGE_TYPES)[];
  readonly values: readonly unknown[];
  readonly submits: -1 | 0 | 1;
};

/** The columns that changes of messages may set, with their types in PostgreSQL. */
export const CHANGE_TYPES = {
  status: "text",
  sent_at: "bigint",
  completed_at: "bigint",
  error_reason: "integer",
  error_detail: "text",
  owner: "text",
  carrier: "text",
  submitted_at: "bigint",
  next_submit_at: "bigint",
  carrier_message_id: "text",
  carrier_message_key: "text",
} as const;

export function changedColumns(change: MessageChange): ChangedColumns {
  const columns: (keyof typeof CHANGE_TYPES)[] = [];
  const values: unknown[] = [];
  const set = (column: keyof typeof CHANGE_TYPES, value: unknown) => {
    columns.push(column);
    values.push(value);
  };
  const { progress, submit, nextSubmitAt, carrierMessageId } = change;
  if (progress !== undefined) {
    set("status", progress.status);
    set("sent_at", progress.sentAt);
    set("completed_at", progress.completedAt);
    set("error_reason", progress.error?.reason);
    set("error_detail", progress.error?.detail);
  }
  if (submit !== undefined) {
    set("owner", submit.owner);
    set("carrier", submit.carrier);
    set("submitted_at", submit.at);
  }
  if (nextSubmitAt !== undefined) set("next_submit_at", nextSubmitAt === "never" ? undefined : nextSubmitAt);
  if (carrierMessageId !== undefined) {
    set("carrier_message_id", carrierMessageId);
    set("carrier_message_key", carrierMessageKey(carrierMessageId));
  }
  return { columns, values, submits: submit !== undefined ? 1 : change.isSubmitUndone ? -1 : 0 };
}
