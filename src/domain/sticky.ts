import type { MessagingProfile } from "./messaging-profile.ts";
import type { PickRequest } from "./pool/decide.ts";

/** A mapping as it was kept, as far as it decides anything. */
export type MappingFacts = {
  readonly phoneNumberId: string;
  readonly profileGeneration: number;
  readonly numberGeneration: number;
  readonly lastMessageAt: number;
};

/** What a mapping means to a pick: undefined when there is none, it is too old, or sticky was turned off since it was made. */
export function stickyOf(
  mapping: MappingFacts | undefined,
  profile: MessagingProfile,
  since: number,
): PickRequest["sticky"] {
  if (mapping === undefined || mapping.lastMessageAt <= since) return undefined;
  if (mapping.profileGeneration !== profile.stickyGeneration) return undefined;
  return { numberId: mapping.phoneNumberId, generation: mapping.numberGeneration };
}
