import type { HealthCounts } from "../../domain/health.ts";
import type { PhoneNumber } from "../../domain/phone-number-record.ts";
import { unassigned } from "../../domain/phone-number-record.ts";
import type { Pace } from "../../domain/plan/claim.ts";
import type { Continued } from "../pages.ts";
import type { AssignedHealth } from "../pool-rows.ts";
import type { Row } from "./row.ts";
import { optional } from "./row.ts";

/** The columns of a number, in the order of `numberValues`. */
export const NUMBER_COLUMNS = [
  "organization_id",
  "id",
  "phone_number",
  "messaging_profile_id",
  "carrier",
  "line_type",
  "segments_per_second",
  "daily_segment_limit",
  "state",
  "country_code",
  "tags",
  "generation",
  "created_at",
  "updated_at",
] as const;

export function numberValues(number: PhoneNumber): unknown[] {
  return [
    number.organizationId,
    number.id,
    number.phoneNumber,
    number.messagingProfileId,
    number.carrier,
    number.lineType,
    number.segmentsPerSecond,
    number.dailySegmentLimit,
    number.state,
    number.countryCode,
    JSON.stringify(number.tags),
    number.generation,
    number.createdAt,
    number.updatedAt,
  ];
}

/**
 * A number from its row. `profile_deleted_at` means that its profile is deleted, although the row
 * still names it.
 */
export function numberFrom(row: Row): PhoneNumber {
  const deletedAt = optional(row.profile_deleted_at) as number | undefined;
  const number: PhoneNumber = {
    organizationId: row.organization_id as string,
    id: row.id as string,
    phoneNumber: row.phone_number as string,
    messagingProfileId: optional(row.messaging_profile_id),
    carrier: row.carrier as string,
    lineType: row.line_type as PhoneNumber["lineType"],
    segmentsPerSecond: row.segments_per_second as number,
    dailySegmentLimit: optional(row.daily_segment_limit),
    state: row.state as PhoneNumber["state"],
    countryCode: row.country_code as string,
    tags: JSON.parse(row.tags as string),
    generation: row.generation as number,
    createdAt: row.created_at as number,
    updatedAt: row.updated_at as number,
  };
  return deletedAt === undefined ? number : unassigned(number, deletedAt);
}

/** The pace of a number, from its row. */
export function paceFrom(row: Row, isDeliveryHeld: boolean): Pace {
  return {
    carrier: row.carrier as string,
    segmentsPerSecond: row.segments_per_second as number,
    isPaused: isDeliveryHeld || row.state === "paused",
    dueAt: row.due_at as number,
    dailySegmentLimit: optional(row.daily_segment_limit),
    usedDay: row.used_day as number,
    usedSegments: row.used_segments as number,
  };
}

/** The counts of a row joined with `number_health`; 0 for a number without outcomes. */
export function healthFrom(row: Row): HealthCounts {
  return {
    delivered: (row.delivered as number | null) ?? 0,
    failed: (row.failed as number | null) ?? 0,
    spam: (row.spam as number | null) ?? 0,
    inbound: (row.inbound as number | null) ?? 0,
    asOf: (row.as_of as number | null) ?? 0,
    resetAt: (row.reset_at as number | null) ?? undefined,
  };
}

/**
 * A page of numbers' health from its rows, of which at most `limit` were read; numbers outside
 * pools are absent.
 */
export function assignedHealth(rows: readonly Row[], limit: number): Continued<AssignedHealth> {
  const assigned = rows.flatMap((row) => {
    const messagingProfileId = optional<string>(row.messaging_profile_id);
    if (messagingProfileId === undefined) return [];
    return [{ organizationId: row.organization_id as string, messagingProfileId, health: healthFrom(row) }];
  });
  return { rows: assigned, next: rows.length === limit ? (rows.at(-1)?.phone_number_id as string) : undefined };
}
