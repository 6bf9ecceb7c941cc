import type { HealthCounts } from "../domain/health.ts";
import type { MessagingProfile } from "../domain/messaging-profile.ts";
import type { NumberTraffic, PhoneNumber } from "../domain/phone-number-record.ts";

/** The health of a number and the profile whose pool it is in. */
export type AssignedHealth = {
  readonly organizationId: string;
  readonly messagingProfileId: string;
  readonly health: HealthCounts;
};

/** A number as a pool takes it in. */
export type PoolRow = { readonly number: PhoneNumber; readonly traffic: NumberTraffic };
/** What a pool is built from. */
export type PoolRows = { readonly profile: MessagingProfile; readonly numbers: PoolRow[] };
