import type { Message, MessageStatus } from "../domain/message.ts";
import type { Cancelled } from "../domain/plan/endings.ts";
import type { Continued } from "./pages.ts";

export type MessageQuery = {
  /** The cursor: an id; the list continues with older messages. */
  readonly after: string | undefined;
  readonly limit: number;
  readonly messagingProfileId?: string | undefined;
  readonly to?: string | undefined;
  readonly from?: string | undefined;
  readonly status?: MessageStatus | undefined;
  /**
   * The ids from which and before which a span of time lies, or prefixes of ids: see `earliestId`.
   */
  readonly fromId?: string | undefined;
  readonly beforeId?: string | undefined;
};

/** Messages as callers read and cancel them. */
export type MessageStore = {
  readonly getMessage: (organizationId: string, id: string) => Promise<Message | undefined>;
  /** Newest first. One call reads at most `LIST_SCAN` messages. */
  readonly listMessages: (organizationId: string, query: MessageQuery) => Promise<Continued<Message>>;
  /** Cancels a message that is still scheduled or queued. */
  readonly cancelMessage: (organizationId: string, id: string, at: number) => Promise<Cancelled>;
};

/** The bounds of the scan of a list: it reads ids below `below`, down to `fromId`. */
export function scanOf({ after, fromId = "", beforeId = AFTER_ALL }: MessageQuery): { below: string; fromId: string } {
  return { below: after !== undefined && after < beforeId ? after : beforeId, fromId };
}

/** Sorts after every id. */
const AFTER_ALL = "g";
