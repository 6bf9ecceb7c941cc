import type { Message } from "../domain/message.ts";
import type { Changes } from "../domain/plan/changes.ts";
import type { RecipientFacts } from "../domain/recipient.ts";
import type { Trials } from "./trials.ts";

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

/** Decides scheduled messages; runs again when numbers on trial that it picked are occupied. */
export type DecideScheduled = (facts: readonly ScheduledFacts[], occupied: readonly string[]) => Changes & Trials;

/** A lane as one text, by which lanes are ordered. */
export function laneText({ organizationId, messagingProfileId, phoneNumberId = "" }: WaitingLane): string {
  return `${organizationId} ${messagingProfileId} ${phoneNumberId}`;
}
