import type { Message } from "../domain/message.ts";
import type { RecipientFacts, StickyMapping } from "../domain/recipient.ts";

export type DueMessages = {
  readonly messages: readonly ScheduledRead[];
  /** Undefined: none is scheduled beyond those. */
  readonly nextAt: number | undefined;
};

/** A scheduled message by name. */
export type ScheduledRead = {
  readonly organizationId: string;
  readonly id: string;
  readonly messagingProfileId: string;
};

export type ScheduledFacts = { readonly message: Message; readonly recipient: RecipientFacts };

/** Due messages that wait for room in one profile's pool, or at one number that their callers named. */
export type WaitingLane = {
  readonly organizationId: string;
  readonly messagingProfileId: string;
  /** Undefined: any number of the pool. */
  readonly phoneNumberId: string | undefined;
};

/**
 * Messages as they are since `at`: `queued`, `sending_failed`, or still `scheduled`, to be decided again at `retryAt`. Undefined
 * `retryAt`: when their lane has room.
 */
export type ScheduledWrites = {
  readonly mappings: readonly StickyMapping[];
  /** See `Trials`. */
  readonly trials?: readonly string[] | undefined;
  readonly messages: readonly {
    readonly message: Message;
    readonly at: number;
    readonly retryAt: number | undefined;
  }[];
};

/** A lane as one text, by which lanes are ordered. */
export function laneText({ organizationId, messagingProfileId, phoneNumberId = "" }: WaitingLane): string {
  return `${organizationId} ${messagingProfileId} ${phoneNumberId}`;
}
