import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import { Encoding, MessageType } from "../../gen/numberpool/v1/message_pb.ts";
import type { Refusal } from "./failure.ts";
import { overlaysOf } from "./geography/overlays.ts";
import { LIMITS } from "./limits.ts";
import type { MessagingProfile } from "./messaging-profile.ts";
import { areaCodeOf, countryOf, e164Error, regionOf } from "./phone-number.ts";
import type { Near, PickRefusal } from "./pool/decide.ts";
import { type Segments, segment } from "./segments.ts";

/** The fields of a send that the checks read. */
export type SendContent = {
  readonly to?: string | undefined;
  readonly text?: string | undefined;
  readonly type: MessageType;
  readonly encoding: Encoding;
  readonly autoDetect?: boolean | undefined;
};

/** A send that passed every check that needs only its profile. */
export type CheckedSend = { readonly to: string; readonly text: string; readonly segments: Segments };

const ENCODINGS = new Map<Encoding, "auto" | "gsm7" | "ucs2">([
  [Encoding.UNSPECIFIED, "auto"],
  [Encoding.AUTO, "auto"],
  [Encoding.GSM7, "gsm7"],
  [Encoding.UCS2, "ucs2"],
]);

/**
 * Checks a send against its profile in the documented order: enabled, content, recipient,
 * destination.
 */
export function checkSend(profile: MessagingProfile, content: SendContent): CheckedSend | Refusal {
  if (!profile.enabled) {
    return {
      reason: ErrorReason.PROFILE_DISABLED,
      detail: "The messaging profile is disabled; set its `enabled` to true to send.",
      pointer: "/messaging_profile_id",
    };
  }
  const segments = checkContent(content);
  if ("reason" in segments) return segments;
  const to = checkRecipient(content.to);
  if (typeof to !== "string") return to;
  const refusal = checkDestination(profile, to);
  return refusal ?? { to, text: content.text as string, segments };
}

/** Refuses a `sendAt` (milliseconds since 1970) that is too near or too far. */
export function checkSendAt(sendAt: number | undefined, now: number): Refusal | undefined {
  if (sendAt === undefined) return undefined;
  if (sendAt >= now + LIMITS.minScheduleMs && sendAt <= now + LIMITS.maxScheduleMs) return undefined;
  return {
    reason: ErrorReason.OUT_OF_RANGE,
    detail: "send_at must be 5 minutes to 5 days ahead; leave it out to send at once.",
    pointer: "/send_at",
  };
}

/** The refusal when the recipient opted out. */
export const OPTED_OUT: Refusal = {
  reason: ErrorReason.OPTED_OUT,
  detail: "The recipient opted out of this messaging profile's messages; do not text them until they write START.",
  pointer: "/to",
};

/** The refusal when the named sender does not belong to the profile. */
export const FROM_UNKNOWN: Refusal = {
  reason: ErrorReason.INVALID_FROM,
  detail:
    "`from` is not a number of this messaging profile; assign it to the profile, or leave `from` out to use the pool.",
  pointer: "/from",
};

/** The refusal when the named sender is the recipient. */
export const TO_IS_FROM: Refusal = {
  reason: ErrorReason.INVALID_TO,
  detail: "to is the sender itself; name another recipient.",
  pointer: "/to",
};

/** The recipient's geography for geomatch; undefined when it has none. */
export function nearOf(to: string): Near | undefined {
  const areaCode = areaCodeOf(to);
  return areaCode === undefined ? undefined : { areaCode, overlays: overlaysOf(areaCode), region: regionOf(areaCode) };
}

/** A pool's refusal as a refusal of the catalogue, with the cause and the counts. */
export function poolRefusal(refused: PickRefusal): Refusal {
  const { because, retryAfterMs } = refused;
  switch (because) {
    case "fromUnknown":
      return FROM_UNKNOWN;
    case "fromPaused":
      return {
        reason: ErrorReason.FROM_TEMPORARILY_UNUSABLE,
        detail: "The `from` number is paused; set its state to active, or send through the pool.",
        pointer: "/from",
      };
    case "fromUnreachable":
      return {
        reason: ErrorReason.FROM_TEMPORARILY_UNUSABLE,
        detail: "The carrier of the `from` number is not configured; configure it, or send through the pool.",
        pointer: "/from",
      };
    case "fromUnhealthy":
      return {
        reason: ErrorReason.UNHEALTHY_FROM,
        detail:
          "The `from` number is unhealthy and the profile skips unhealthy numbers; its health says when it recovers. Send through the pool.",
        pointer: "/from",
      };
    case "full":
      return {
        reason: ErrorReason.QUEUE_FULL,
        detail: `No number has room in its queue, or the wait exceeds the validity period: ${countsOf(refused)}. Try again in ${Math.ceil((retryAfterMs ?? 0) / 1000)} s, add numbers, or raise segments_per_second.`,
        retryAfterMs,
      };
    case "poolOff":
      return noNumbers("the number pool is off. Set the profile's number_pool_settings");
    case "noNumbers":
      return noNumbers("no long code or toll-free number is assigned to it. Assign one");
    case "nothingUsable":
      return noNumbers(`${countsOf(refused)}. Fix the causes, or add numbers`);
  }
}

function noNumbers(because: string): Refusal {
  return {
    reason: ErrorReason.NO_USABLE_NUMBERS,
    detail: `The messaging profile has no number to send from: ${because}.`,
    pointer: "/messaging_profile_id",
  };
}

const CAUSE_WORDS = {
  weightZero: "of a type with weight 0",
  paused: "paused",
  carrierUnavailable: "whose carrier is not configured",
  draining: "draining",
  unhealthy: "unhealthy",
  onTrial: "on trial after being unhealthy, with a message unreported",
  dailyLimit: "at their daily_segment_limit",
  full: "with a full queue",
} as const;

function countsOf(refused: PickRefusal): string {
  const counts = Object.entries(CAUSE_WORDS)
    .map(([cause, words]) => [refused.excluded[cause as keyof typeof CAUSE_WORDS], words] as const)
    .filter(([count]) => count > 0)
    .map(([count, words]) => `${count} ${words}`);
  const rest =
    refused.eligible > 0
      ? [
          `${refused.eligible} that cannot send this message because of its length, the wait, or because they are its recipient`,
        ]
      : [];
  return `of ${refused.poolSize} numbers, ${[...counts, ...rest].join(", ")}`;
}

function checkContent(content: SendContent): Segments | Refusal {
  if (content.type === MessageType.MMS) {
    return {
      reason: ErrorReason.NOT_SUPPORTED,
      detail: 'type "MMS" is not supported; leave it out, or use "SMS".',
      pointer: "/type",
    };
  }
  if (content.text === undefined || content.text === "") {
    return { reason: ErrorReason.NO_CONTENT, detail: "text is required and must not be empty.", pointer: "/text" };
  }
  const encoding = ENCODINGS.get(content.encoding);
  if (encoding === undefined) {
    return { reason: ErrorReason.INVALID_ENUM, detail: "encoding must be auto, gsm7 or ucs2.", pointer: "/encoding" };
  }
  const segments = segment(content.text, encoding);
  if ("unencodable" in segments) {
    return {
      reason: ErrorReason.ENCODING_ERROR,
      detail: `text has a character outside GSM-7, ${codePoint(segments.unencodable)}; use encoding "auto" or "ucs2".`,
      pointer: "/text",
    };
  }
  if (segments.parts > LIMITS.parts) {
    return {
      reason: ErrorReason.MESSAGE_TOO_LARGE,
      detail: `text needs ${segments.parts} parts in ${segments.encoding}, but at most ${LIMITS.parts} are allowed; shorten it.`,
      pointer: "/text",
    };
  }
  if (content.autoDetect && segments.parts > LIMITS.recommendedParts) {
    return {
      reason: ErrorReason.RECOMMENDED_SIZE_EXCEEDED,
      detail: `text needs ${segments.parts} parts, more than the recommended ${LIMITS.recommendedParts}; shorten it, or leave auto_detect out.`,
      pointer: "/text",
    };
  }
  return segments;
}

function checkRecipient(to: string | undefined): string | Refusal {
  if (to === undefined) {
    return { reason: ErrorReason.MISSING_PARAMETER, detail: "to is required: the recipient's number.", pointer: "/to" };
  }
  const detail = e164Error(to, "to");
  return detail === undefined ? to : { reason: ErrorReason.INVALID_TO, detail, pointer: "/to" };
}

function checkDestination(profile: MessagingProfile, to: string): Refusal | undefined {
  const allowed = profile.whitelistedDestinations;
  if (allowed.length === 0) {
    return {
      reason: ErrorReason.MISSING_DESTINATIONS,
      detail: "The messaging profile has no whitelisted_destinations; list the countries that may be texted.",
      pointer: "/messaging_profile_id",
    };
  }
  if (allowed.includes("*")) return undefined;
  const country = countryOf(to);
  if (country !== undefined && allowed.includes(country)) return undefined;
  return {
    reason: ErrorReason.DESTINATION_NOT_ALLOWED,
    detail: `to is a number of ${country ?? "no country"}, which the profile's whitelisted_destinations do not list; add it to send there.`,
    pointer: "/to",
  };
}

function codePoint(character: string): string {
  return `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}`;
}
