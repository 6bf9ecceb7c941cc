import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import { LineType, NumberState, type PhoneNumberInput } from "../../gen/numberpool/v1/phone_number_pb.ts";
import { failure } from "./failure.ts";
import type { HealthCounts } from "./health.ts";
import { LIMITS } from "./limits.ts";
import { areaCodeOf, countryOf, e164Error, lineTypeOf, regionOf } from "./phone-number.ts";
import { dayOf, segmentsAfter } from "./pool/room.ts";
import type { PoolNumber } from "./pool/state.ts";
import { checkTags } from "./text.ts";
import { unlessSame } from "./update.ts";

/** A phone number as stored. Times are milliseconds since 1970. */
export type PhoneNumber = {
  readonly organizationId: string;
  readonly id: string;
  readonly phoneNumber: string;
  readonly messagingProfileId: string | undefined;
  readonly carrier: string;
  readonly lineType: "long_code" | "toll_free";
  readonly segmentsPerSecond: number;
  readonly dailySegmentLimit: number | undefined;
  readonly state: "active" | "draining" | "paused";
  readonly countryCode: string;
  readonly tags: readonly string[];
  /** Increments when the number leaves a profile; older mappings are void. */
  readonly generation: number;
  readonly createdAt: number;
  readonly updatedAt: number;
};

/** A number's traffic: what a store holds besides its record. */
export type NumberTraffic = {
  readonly health: HealthCounts;
  /** Unique, increasing with each registration: unused numbers are picked in this order. */
  readonly sequence: number;
  /** When the dispatcher may next claim it. */
  readonly dueAt: number;
  readonly queuedSegments: number;
  /** Messages without an outcome; Infinity for more than `MAX_UNREPORTED_COUNTED`. */
  readonly unreported: number;
  readonly usedToday: number;
  readonly usedDay: number;
};

/**
 * The most unreported messages that loading a number counts, so that no load grows with history.
 * Only a number on trial needs the count; it is counted every second until it is small.
 */
export const MAX_UNREPORTED_COUNTED = 100;

/** A number's `unreported` from a count of messages that stops one above the maximum. */
export function unreportedCount(messages: number): number {
  return messages > MAX_UNREPORTED_COUNTED ? Number.POSITIVE_INFINITY : messages;
}

const STATES = new Map<NumberState, PhoneNumber["state"]>([
  [NumberState.ACTIVE, "active"],
  [NumberState.DRAINING, "draining"],
  [NumberState.PAUSED, "paused"],
]);
const DEFAULT_RATE = { long_code: 1, toll_free: 3 } as const;

/**
 * Makes a number from an input; throws a failure that names the field. `carriers` are the
 * configured names.
 */
export function newNumber(
  input: PhoneNumberInput,
  creation: { organizationId: string; id: string; at: number },
  carriers: readonly string[],
): PhoneNumber {
  const phoneNumber = checkE164(input.phoneNumber, "phone_number");
  const lineType = input.lineType === LineType.UNSPECIFIED ? lineTypeOf(phoneNumber) : lineTypeFrom(input.lineType);
  const blank: PhoneNumber = {
    organizationId: creation.organizationId,
    id: creation.id,
    phoneNumber,
    messagingProfileId: undefined,
    carrier: checkCarrier(input.carrier, carriers),
    lineType,
    segmentsPerSecond: DEFAULT_RATE[lineType],
    dailySegmentLimit: undefined,
    state: "active",
    countryCode: countryOf(phoneNumber) ?? "001",
    tags: [],
    generation: 0,
    createdAt: creation.at,
    updatedAt: creation.at,
  };
  const paths = populatedPaths(input).filter((path) => !["phone_number", "carrier", "line_type"].includes(path));
  return changeNumber(blank, input, paths, carriers, creation.at);
}

/**
 * Replaces the fields that `paths` names (snake_case paths of the contract) by those of `input`. A
 * named field that is absent gets its default, except messaging_profile_id, which stays. Returns
 * the same object when nothing changes; throws a failure that names the field.
 */
export function changeNumber(
  number: PhoneNumber,
  input: PhoneNumberInput,
  paths: readonly string[],
  carriers: readonly string[],
  at: number,
): PhoneNumber {
  const changed = { ...number, updatedAt: at };
  for (const path of paths) {
    if (path === "messaging_profile_id") {
      if (input.messagingProfileId !== undefined) changed.messagingProfileId = input.messagingProfileId || undefined;
    } else if (path === "carrier") changed.carrier = checkCarrier(input.carrier, carriers);
    else if (path === "segments_per_second") {
      changed.segmentsPerSecond = checkRate(input.segmentsPerSecond ?? DEFAULT_RATE[number.lineType]);
    } else if (path === "daily_segment_limit")
      changed.dailySegmentLimit = checkDailySegmentLimit(input.dailySegmentLimit);
    else if (path === "state") changed.state = stateFrom(input.state);
    else if (path === "tags") changed.tags = checkTags(input.tags);
    else refuseChange(number, input, path);
  }
  return unlessSame(number, leaveProfile(number, changed));
}

/** Every field that an update can change: the meaning of the mask `*`. */
export const ALL_PATHS: readonly string[] = [
  ...["messaging_profile_id", "carrier", "segments_per_second", "daily_segment_limit", "state", "tags"],
];

/** Voids the sticky mappings of a number that left its profile. */
export function leaveProfile(before: PhoneNumber, after: PhoneNumber): PhoneNumber {
  const left = before.messagingProfileId !== undefined && before.messagingProfileId !== after.messagingProfileId;
  return left ? { ...after, generation: before.generation + 1 } : after;
}

/** The number after the deletion of its profile. */
export function unassigned(number: PhoneNumber, at: number): PhoneNumber {
  return leaveProfile(number, { ...number, messagingProfileId: undefined, updatedAt: at });
}

/** The populated fields of an input, as mask paths: what an update without a mask changes. */
export function populatedPaths(input: PhoneNumberInput): string[] {
  const paths: string[] = [];
  if (input.phoneNumber !== undefined) paths.push("phone_number");
  if (input.messagingProfileId !== undefined) paths.push("messaging_profile_id");
  if (input.carrier !== undefined) paths.push("carrier");
  if (input.lineType !== LineType.UNSPECIFIED) paths.push("line_type");
  if (input.segmentsPerSecond !== undefined) paths.push("segments_per_second");
  if (input.dailySegmentLimit !== undefined) paths.push("daily_segment_limit");
  if (input.state !== NumberState.UNSPECIFIED) paths.push("state");
  if (input.tags.length > 0) paths.push("tags");
  return paths;
}

/**
 * Returns a possible +E.164 number in its canonical spelling; throws a failure that names the
 * field.
 */
export function checkE164(value: string | undefined, field: string): string {
  if (value === undefined) throw failure(ErrorReason.MISSING_PARAMETER, `${field} is required.`, `/${field}`);
  const detail = e164Error(value, field);
  if (detail === undefined) return value;
  throw failure(ErrorReason.INVALID_PHONE_NUMBER, detail, `/${field}`);
}

/** The number as a pool's entry at a moment. */
export function poolNumber(number: PhoneNumber, traffic: NumberTraffic, now: number): PoolNumber {
  const areaCode = number.lineType === "toll_free" ? undefined : areaCodeOf(number.phoneNumber);
  const segmentMs = 1000 / number.segmentsPerSecond;
  // The queue starts to drain when the number is due, not now.
  const queue = traffic.queuedSegments * segmentMs;
  const nextFree = queue === 0 ? traffic.dueAt : Math.max(traffic.dueAt, now) + queue;
  // The day on which the next message leaves, and the segments that leave before it on that day.
  const day = dayOf(Math.max(nextFree, now));
  const sent = traffic.usedDay === day ? traffic.usedToday : 0;
  return {
    id: number.id,
    phoneNumber: number.phoneNumber,
    lineType: number.lineType,
    areaCode,
    region: areaCode === undefined ? undefined : regionOf(areaCode),
    state: number.state,
    segmentsPerSecond: number.segmentsPerSecond,
    dailySegmentLimit: number.dailySegmentLimit,
    generation: number.generation,
    health: traffic.health,
    nextFree,
    lastUsed: traffic.sequence,
    usedToday: day === dayOf(now) ? sent + traffic.queuedSegments : segmentsAfter(day, nextFree, segmentMs),
    day,
    unreported: traffic.unreported,
    queuedSegments: traffic.queuedSegments,
  };
}

function lineTypeFrom(lineType: LineType): PhoneNumber["lineType"] {
  if (lineType === LineType.LONG_CODE) return "long_code";
  if (lineType === LineType.TOLL_FREE) return "toll_free";
  throw failure(ErrorReason.INVALID_ENUM, "line_type must be long_code or toll_free.", "/line_type");
}

function stateFrom(state: NumberState): PhoneNumber["state"] {
  if (state === NumberState.UNSPECIFIED) return "active";
  const known = STATES.get(state);
  if (known !== undefined) return known;
  throw failure(ErrorReason.INVALID_ENUM, "state must be active, draining or paused.", "/state");
}

function checkCarrier(carrier: string | undefined, carriers: readonly string[]): string {
  if (carrier !== undefined && carriers.includes(carrier)) return carrier;
  const names = carriers.join(", ");
  if (carrier !== undefined) {
    throw failure(ErrorReason.BAD_REQUEST, `carrier must be one of the configured carriers: ${names}.`, "/carrier");
  }
  // A number that silently got the sandbox would report false receipts.
  if (carriers.length === 1) return carriers[0] as string;
  throw failure(
    ErrorReason.MISSING_PARAMETER,
    `carrier is required; the configured carriers are ${names}.`,
    "/carrier",
  );
}

function checkRate(rate: number): number {
  if (rate >= LIMITS.minRate && rate <= LIMITS.maxRate) return rate;
  throw failure(
    ErrorReason.OUT_OF_RANGE,
    `segments_per_second must be a number from ${LIMITS.minRate} to ${LIMITS.maxRate}.`,
    "/segments_per_second",
  );
}

function checkDailySegmentLimit(limit: number | undefined): number | undefined {
  if (limit === undefined || (limit >= 0 && limit <= LIMITS.dailySegmentLimit)) return limit;
  throw failure(
    ErrorReason.OUT_OF_RANGE,
    `daily_segment_limit must be an integer from 0 to ${LIMITS.dailySegmentLimit}, or null for no limit.`,
    "/daily_segment_limit",
  );
}

/** Refuses a change of the phone number or its line type; the same value is not a change. */
function refuseChange(number: PhoneNumber, input: PhoneNumberInput, path: string): void {
  const isSame =
    (path === "phone_number" && (input.phoneNumber ?? number.phoneNumber) === number.phoneNumber) ||
    (path === "line_type" &&
      (input.lineType === LineType.UNSPECIFIED || lineTypeFrom(input.lineType) === number.lineType));
  // Any other field is one that is not supported, with its zero value: others are refused before.
  if (isSame || (path !== "phone_number" && path !== "line_type")) return;
  throw failure(
    ErrorReason.BAD_REQUEST,
    `${path} cannot be changed; remove the number and register it again.`,
    `/${path}`,
  );
}
