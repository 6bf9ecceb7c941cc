import type { MessagingProfile } from "../domain/messaging-profile.ts";
import type { Counted, PageQuery } from "./pages.ts";

export type ProfileQuery = PageQuery & {
  readonly nameEquals: string | undefined;
  /** Ignores the case of ASCII letters. */
  readonly nameContains: string | undefined;
};

/** Messaging profiles. Where a method finds no profile, it gives undefined. */
export type ProfileStore = {
  readonly insertProfile: (profile: MessagingProfile) => Promise<void>;
  readonly getProfile: (organizationId: string, id: string) => Promise<MessagingProfile | undefined>;
  /** Newest first. */
  readonly listProfiles: (organizationId: string, query: ProfileQuery) => Promise<Counted<MessagingProfile>>;
  /** Gives the profile after the change; `change` that gives its argument back writes nothing. */
  readonly updateProfile: (
    organizationId: string,
    id: string,
    change: (profile: MessagingProfile) => MessagingProfile,
  ) => Promise<MessagingProfile | undefined>;
  /**
   * Deletes a profile and gives what it was. Readers miss the profile and its numbers' membership
   * at once; `unassignNumbers` rewrites the rows of the numbers later, in small steps.
   */
  readonly deleteProfile: (organizationId: string, id: string, at: number) => Promise<MessagingProfile | undefined>;
  /**
   * Rewrites at most `limit` numbers of a deleted profile. Gives their count, and whether to call
   * again.
   */
  readonly unassignNumbers: (limit: number) => Promise<{ readonly unassigned: number; readonly isMore: boolean }>;
};
