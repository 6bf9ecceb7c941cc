import type { MessageEvent } from "../domain/message-event.ts";
import type { Continued } from "./pages.ts";

/** A page of a message's history to read; the cursor is a sequence. */
export type EventQuery = { readonly after: string | undefined; readonly limit: number };

/** The history of messages. */
export type EventStore = {
  /** The events of a message, oldest first; none for an unknown message. */
  readonly listMessageEvents: (
    organizationId: string,
    messageId: string,
    query: EventQuery,
  ) => Promise<Continued<MessageEvent>>;
};
