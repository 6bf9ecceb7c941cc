import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type * as pb from "../../gen/numberpool/v1/phone_number_pb.ts";
import {
  LineType,
  MessagingNumberType,
  NumberHealthSchema,
  NumberState,
  PhoneNumberMessagingSettingsSchema,
  PhoneNumberSchema,
  UnhealthyReason,
} from "../../gen/numberpool/v1/phone_number_pb.ts";
import { type HealthCounts, healthFigures, judge } from "../domain/health.ts";
import type { PhoneNumber } from "../domain/phone-number-record.ts";
import type { NumberFound } from "../store/numbers.ts";

/** The stored country code of a number without a country. The API omits it. */
const NO_COUNTRY_CODE = "001";

/** The protobuf form of a number's messaging settings, with its health at `now`. */
export function toProtoMessagingSettings(
  { number, health }: NumberFound,
  now: number,
): pb.PhoneNumberMessagingSettings {
  return create(PhoneNumberMessagingSettingsSchema, {
    recordType: "messaging_settings",
    id: number.id,
    phoneNumber: number.phoneNumber,
    ...(number.messagingProfileId !== undefined && { messagingProfileId: number.messagingProfileId }),
    organizationId: number.organizationId,
    ...(number.countryCode !== NO_COUNTRY_CODE && { countryCode: number.countryCode }),
    type: number.lineType === "toll_free" ? MessagingNumberType.TOLL_FREE : MessagingNumberType.LONG_CODE,
    health: toProtoHealth(health, now),
    eligibleMessagingProducts: ["A2P"],
    trafficType: "A2P",
    messagingProduct: "A2P",
    features: { sms: { domesticTwoWay: true, internationalInbound: true, internationalOutbound: true } },
    tags: [...number.tags],
    createdAt: timestampFromMs(number.createdAt),
    updatedAt: timestampFromMs(number.updatedAt),
  });
}

/** The protobuf form of a number, with its health at `now`. */
export function toProtoNumber({ number, health }: NumberFound, now: number): pb.PhoneNumber {
  return create(PhoneNumberSchema, {
    recordType: "phone_number",
    id: number.id,
    organizationId: number.organizationId,
    phoneNumber: number.phoneNumber,
    ...(number.messagingProfileId !== undefined && { messagingProfileId: number.messagingProfileId }),
    carrier: number.carrier,
    lineType: toProtoLineType(number.lineType),
    segmentsPerSecond: number.segmentsPerSecond,
    ...(number.dailySegmentLimit !== undefined && { dailySegmentLimit: number.dailySegmentLimit }),
    state: STATES[number.state],
    ...(number.countryCode !== NO_COUNTRY_CODE && { countryCode: number.countryCode }),
    health: toProtoHealth(health, now),
    tags: [...number.tags],
    createdAt: timestampFromMs(number.createdAt),
    updatedAt: timestampFromMs(number.updatedAt),
    ...(health.resetAt !== undefined && { healthResetAt: timestampFromMs(health.resetAt) }),
  });
}

/** The protobuf form of a line type. */
export function toProtoLineType(lineType: PhoneNumber["lineType"]): LineType {
  return lineType === "toll_free" ? LineType.TOLL_FREE : LineType.LONG_CODE;
}

const STATES = {
  active: NumberState.ACTIVE,
  draining: NumberState.DRAINING,
  paused: NumberState.PAUSED,
} as const;

function toProtoHealth(counts: HealthCounts, now: number): pb.NumberHealth {
  const standing = judge(counts, now);
  const health = create(NumberHealthSchema, { ...healthFigures(counts, now), healthy: true });
  if (standing.standing !== "unhealthy") return health;
  health.healthy = false;
  health.unhealthyReason = standing.reason === "spam" ? UnhealthyReason.SPAM : UnhealthyReason.DELIVERY;
  health.healthyAgainAt = timestampFromMs(standing.until);
  return health;
}
