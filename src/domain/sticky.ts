import type { MessagingProfile } from "./messaging-profile.ts";
import type { PickRequest } from "./pool/decide.ts";

/** The fields of a stored mapping that a pick reads. */
export type MappingFacts = {
  readonly phoneNumberId: string;
  readonly profileGeneration: number;
  readonly numberGeneration: number;
  readonly lastMessageAt: number;
};

/**
 * The sticky part of a pick request; undefined without a mapping, or if it is too old or from before
 * sticky sender was turned off.
 */
export function stickyOf(
  mapping: MappingFacts | undefined,
  profile: MessagingProfile,
  since: number,
): PickRequest["sticky"] {
  if (mapping === undefined || mapping.lastMessageAt <= since) return undefined;
  if (mapping.profileGeneration !== profile.stickyGeneration) return undefined;
  return { numberId: mapping.phoneNumberId, generation: mapping.numberGeneration };
}
