import type { HealthCounts } from "../domain/health.ts";
import type { MessagingProfile } from "../domain/messaging-profile.ts";
import type { NumberTraffic, PhoneNumber } from "../domain/phone-number-record.ts";
import type { Continued } from "./pages.ts";

/** The health of a number and the profile whose pool contains it. */
export type AssignedHealth = {
  readonly organizationId: string;
  readonly messagingProfileId: string;
  readonly health: HealthCounts;
};

/** A number as a pool contains it. */
export type PoolRow = { readonly number: PhoneNumber; readonly traffic: NumberTraffic };

/** The rows from which a pool is built. */
export type PoolRows = { readonly profile: MessagingProfile; readonly numbers: PoolRow[] };

/** What pools read. */
export type PoolRowStore = {
  /** A profile with all its numbers; undefined when the profile does not exist. */
  readonly loadPool: (organizationId: string, profileId: string) => Promise<PoolRows | undefined>;
  /** One number with its traffic, in any organization; undefined when it does not exist. */
  readonly loadPoolNumber: (id: string) => Promise<PoolRow | undefined>;
  /**
   * The health of assigned numbers of all organizations, by id. One call reads at most `limit`
   * numbers.
   */
  readonly listHealth: (limit: number, after?: string) => Promise<Continued<AssignedHealth>>;
  /**
   * Recent messages of each number of a profile (see `HALF_LIFE_MS`), by number; numbers without
   * any are absent.
   */
  readonly listTraffic: (
    organizationId: string,
    profileId: string,
    now: number,
  ) => Promise<ReadonlyMap<string, number>>;
};
