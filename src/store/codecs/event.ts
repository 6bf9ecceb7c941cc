import type { MessageStatus } from "../../domain/message.ts";
import type { MessageEvent, NewMessageEvent } from "../../domain/message-event.ts";
import type { Row } from "./row.ts";
import { errorFrom, optional } from "./row.ts";

/** The columns of a message event, in the order of `eventValues`. */
export const EVENT_COLUMNS = [
  "organization_id",
  "message_id",
  "kind",
  "status",
  "changes_status",
  "occurred_at",
  "carrier_message_id",
  "carrier_code",
  "error_reason",
  "detail",
] as const;

export function eventValues(organizationId: string, event: NewMessageEvent): unknown[] {
  const { messageId, kind, status, at, carrierMessageId, carrierCode, error } = event;
  const changesStatus = event.changesStatus ? 1 : 0;
  const about = [organizationId, messageId, kind, status, changesStatus, at];
  return [...about, carrierMessageId, carrierCode, error?.reason, error?.detail];
}

export function eventFrom(row: Row): MessageEvent {
  return {
    sequence: row.sequence as number,
    messageId: row.message_id as string,
    kind: row.kind as MessageEvent["kind"],
    status: row.status as MessageStatus,
    changesStatus: Boolean(row.changes_status),
    at: row.occurred_at as number,
    carrierMessageId: optional(row.carrier_message_id),
    carrierCode: optional(row.carrier_code),
    error: errorFrom(row.error_reason, row.detail),
  };
}
