import type { Message } from "../domain/message.ts";
import type { AcceptWrites, RecipientFacts } from "./store.ts";

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

/** Messages as they are since `at`: `queued`, `sending_failed`, `expired`, or still `scheduled` to be looked at again at `retryAt`. */
export type ScheduledWrites = Pick<AcceptWrites, "mappings" | "usage"> & {
  readonly messages: readonly {
    readonly message: Message;
    readonly at: number;
    readonly retryAt: number | undefined;
  }[];
};
