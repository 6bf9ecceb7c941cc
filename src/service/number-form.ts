import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  LineType,
  MessagingNumberType,
  type NumberHealth,
  NumberHealthSchema,
  NumberState,
  type PhoneNumber as PhoneNumberMessage,
  type PhoneNumberMessagingSettings,
  PhoneNumberMessagingSettingsSchema,
  PhoneNumberSchema,
  UnhealthyReason,
} from "../../gen/numberpool/v1/phone_number_pb.ts";
import { type HealthCounts, healthFigures, judge } from "../domain/health.ts";
import type { PhoneNumber } from "../domain/phone-number-record.ts";
import type { NumberFound } from "../store/numbers.ts";

/** How a number of no country is kept; its country_code is absent. */
const NO_COUNTRY = "001";

/** The documented view of a number, at a moment. */
export function messagingSettings({ number, health }: NumberFound, now: number): PhoneNumberMessagingSettings {
  return create(PhoneNumberMessagingSettingsSchema, {
    recordType: "messaging_settings",
    id: number.id,
    phoneNumber: number.phoneNumber,
    ...(number.messagingProfileId !== undefined && { messagingProfileId: number.messagingProfileId }),
    organizationId: number.organizationId,
    ...(number.countryCode !== NO_COUNTRY && { countryCode: number.countryCode }),
    type: number.lineType === "toll_free" ? MessagingNumberType.TOLL_FREE : MessagingNumberType.LONG_CODE,
    health: healthMessage(health, now),
    eligibleMessagingProducts: ["A2P"],
    trafficType: "A2P",
    messagingProduct: "A2P",
    features: { sms: { domesticTwoWay: true, internationalInbound: true, internationalOutbound: true } },
    tags: [...number.tags],
    createdAt: timestampFromMs(number.createdAt),
    updatedAt: timestampFromMs(number.updatedAt),
  });
}

/** Our own view of a number, at a moment. */
export function toProtoNumber({ number, health }: NumberFound, now: number): PhoneNumberMessage {
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
    state: STATE_MESSAGES[number.state],
    ...(number.countryCode !== NO_COUNTRY && { countryCode: number.countryCode }),
    health: healthMessage(health, now),
    tags: [...number.tags],
    createdAt: timestampFromMs(number.createdAt),
    updatedAt: timestampFromMs(number.updatedAt),
    ...(health.resetAt !== undefined && { healthResetAt: timestampFromMs(health.resetAt) }),
  });
}

/** A line type in the contract's words. */
export function toProtoLineType(lineType: PhoneNumber["lineType"]): LineType {
  return lineType === "toll_free" ? LineType.TOLL_FREE : LineType.LONG_CODE;
}

const STATE_MESSAGES = {
  active: NumberState.ACTIVE,
  draining: NumberState.DRAINING,
  paused: NumberState.PAUSED,
} as const;

function healthMessage(counts: HealthCounts, now: number): NumberHealth {
  const standing = judge(counts, now);
  const health = create(NumberHealthSchema, { ...healthFigures(counts, now), healthy: true });
  if (standing.standing !== "unhealthy") return health;
  health.healthy = false;
  health.unhealthyReason = standing.reason === "spam" ? UnhealthyReason.SPAM : UnhealthyReason.DELIVERY;
  health.healthyAgainAt = timestampFromMs(standing.until);
  return health;
}
