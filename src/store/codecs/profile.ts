import type { MessagingProfile } from "../../domain/messaging-profile.ts";
import type { Row } from "./row.ts";
import { optional } from "./row.ts";

/** The columns of a profile, in the order of `profileValues`. */
export const PROFILE_COLUMNS = [
  "organization_id",
  "id",
  "name",
  "enabled",
  "webhook_url",
  "webhook_failover_url",
  "whitelisted_destinations",
  "number_pool_settings",
  "validity_period_seconds",
  "sticky_generation",
  "created_at",
  "updated_at",
] as const;

export function profileValues(profile: MessagingProfile): unknown[] {
  return [
    profile.organizationId,
    profile.id,
    profile.name,
    profile.enabled ? 1 : 0,
    profile.webhookUrl,
    profile.webhookFailoverUrl,
    JSON.stringify(profile.whitelistedDestinations),
    profile.poolSettings === undefined ? undefined : JSON.stringify(profile.poolSettings),
    profile.validityPeriodSeconds,
    profile.stickyGeneration,
    profile.createdAt,
    profile.updatedAt,
  ];
}

export function profileFrom(row: Row): MessagingProfile {
  return {
    organizationId: row.organization_id as string,
    id: row.id as string,
    name: row.name as string,
    enabled: Boolean(row.enabled),
    webhookUrl: optional(row.webhook_url),
    webhookFailoverUrl: optional(row.webhook_failover_url),
    whitelistedDestinations: JSON.parse(row.whitelisted_destinations as string),
    poolSettings: row.number_pool_settings === null ? undefined : JSON.parse(row.number_pool_settings as string),
    validityPeriodSeconds: row.validity_period_seconds as number,
    stickyGeneration: row.sticky_generation as number,
    createdAt: row.created_at as number,
    updatedAt: row.updated_at as number,
  };
}
