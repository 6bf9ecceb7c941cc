import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import type { MessagingProfileInput, NumberPoolSettings } from "../../gen/numberpool/v1/messaging_profile_pb.ts";
import { failure } from "./failure.ts";
import { isRegion, suggestedRegion } from "./geography/regions.ts";
import { LIMITS } from "./limits.ts";
import type { PoolSettings } from "./pool/state.ts";
import { checkText, checkUrl, quoted } from "./text.ts";
import { unlessSame } from "./update.ts";

/** A messaging profile as stored. Times are milliseconds since 1970. */
export type MessagingProfile = {
  readonly organizationId: string;
  readonly id: string;
  readonly name: string;
  readonly enabled: boolean;
  readonly webhookUrl: string | undefined;
  readonly webhookFailoverUrl: string | undefined;
  readonly whitelistedDestinations: readonly string[];
  /** Undefined: the pool is off. */
  readonly poolSettings: PoolSettings | undefined;
  readonly validityPeriodSeconds: number;
  /** Increments when sticky sender is turned off; older mappings are void. */
  readonly stickyGeneration: number;
  readonly createdAt: number;
  readonly updatedAt: number;
};

/** Defaults of settings that were never set. */
const DEFAULT_SETTINGS: PoolSettings = {
  longCodeWeight: 1,
  tollFreeWeight: 1,
  skipUnhealthy: false,
  stickySender: false,
  geomatch: false,
};

const SETTINGS_FIELDS = ["longCodeWeight", "tollFreeWeight", "skipUnhealthy", "stickySender", "geomatch"] as const;

/** Makes a profile from an input; throws a failure that names the field. */
export function newProfile(
  input: MessagingProfileInput,
  creation: { organizationId: string; id: string; at: number },
): MessagingProfile {
  if (input.name === undefined) throw missing("name");
  if (input.whitelistedDestinations.length === 0) {
    throw failure(
      ErrorReason.MISSING_PARAMETER,
      'whitelisted_destinations is required: list the countries that may be texted, or "*" for all.',
      "/whitelisted_destinations",
    );
  }
  const blank: MessagingProfile = {
    organizationId: creation.organizationId,
    id: creation.id,
    name: "",
    enabled: true,
    webhookUrl: "",
    webhookFailoverUrl: "",
    whitelistedDestinations: [],
    poolSettings: undefined,
    validityPeriodSeconds: LIMITS.defaultValiditySeconds,
    stickyGeneration: 0,
    createdAt: creation.at,
    updatedAt: creation.at,
  };
  return changeProfile(blank, input, populatedPaths(input), creation.at);
}

/**
 * Replaces the fields that `paths` names (snake_case paths of the contract) by those of `input`. A
 * named field that is absent gets its default. Returns the same object when nothing changes; throws
 * a failure that names the field.
 */
export function changeProfile(
  profile: MessagingProfile,
  input: MessagingProfileInput,
  paths: readonly string[],
  at: number,
): MessagingProfile {
  const changed = { ...profile, updatedAt: at };
  for (const path of paths) {
    if (path === "name") changed.name = checkName(input.name);
    else if (path === "enabled") changed.enabled = input.enabled ?? true;
    else if (path === "webhook_url") changed.webhookUrl = checkUrl(input.webhookUrl, "webhook_url");
    else if (path === "webhook_failover_url") {
      changed.webhookFailoverUrl = checkUrl(input.webhookFailoverUrl, "webhook_failover_url");
    } else if (path === "webhook_api_version") checkWebhookVersion(input.webhookApiVersion);
    else if (path === "whitelisted_destinations") {
      changed.whitelistedDestinations = checkDestinations(input.whitelistedDestinations);
    } else if (path === "validity_period_seconds") {
      changed.validityPeriodSeconds = checkValidity(input.validityPeriodSeconds ?? LIMITS.defaultValiditySeconds);
    } else if (path === "redaction_level") checkRedactionLevel(input.redactionLevel);
    else if (path === "number_pool_settings" || path.startsWith("number_pool_settings.")) {
      changed.poolSettings = mergeSettings(changed.poolSettings, input.numberPoolSettings, path);
    }
    // Other paths are not supported; the caller has already refused values other than zero.
  }
  if (profile.poolSettings?.stickySender && !changed.poolSettings?.stickySender) changed.stickyGeneration += 1;
  return unlessSame(profile, changed);
}

/** Every field that an update can change: the meaning of the mask `*`. */
export const ALL_PATHS: readonly string[] = [
  ...["name", "enabled", "webhook_url", "webhook_failover_url", "whitelisted_destinations", "number_pool_settings"],
  "validity_period_seconds",
];

/** The populated fields of an input, as mask paths: what an update without a mask changes. */
export function populatedPaths(input: MessagingProfileInput): string[] {
  const paths: string[] = [];
  if (input.name !== undefined) paths.push("name");
  if (input.enabled !== undefined) paths.push("enabled");
  if (input.webhookUrl !== undefined) paths.push("webhook_url");
  if (input.webhookFailoverUrl !== undefined) paths.push("webhook_failover_url");
  if (input.webhookApiVersion !== undefined) paths.push("webhook_api_version");
  if (input.whitelistedDestinations.length > 0) paths.push("whitelisted_destinations");
  if (input.numberPoolSettings !== undefined) paths.push("number_pool_settings");
  if (input.validityPeriodSeconds !== undefined) paths.push("validity_period_seconds");
  if (input.redactionLevel !== undefined) paths.push("redaction_level");
  return paths;
}

function mergeSettings(
  stored: PoolSettings | undefined,
  input: NumberPoolSettings | undefined,
  path: string,
): PoolSettings | undefined {
  if (path === "number_pool_settings") {
    const set = SETTINGS_FIELDS.filter((field) => input?.[field] !== undefined);
    if (input === undefined || set.length === 0) return undefined;
    return checkSettings({ ...DEFAULT_SETTINGS, ...stored, ...Object.fromEntries(set.map((f) => [f, input[f]])) });
  }
  const named = SETTINGS_FIELDS.filter((field) => path === `number_pool_settings.${snakeCase(field)}`);
  const values = named.map((field) => [field, input?.[field] ?? DEFAULT_SETTINGS[field]]);
  return checkSettings({ ...DEFAULT_SETTINGS, ...stored, ...Object.fromEntries(values) });
}

function checkSettings(settings: PoolSettings): PoolSettings {
  for (const field of ["longCodeWeight", "tollFreeWeight"] as const) {
    const weight = settings[field];
    if (!(weight >= 0 && weight <= LIMITS.weight)) {
      throw failure(
        ErrorReason.OUT_OF_RANGE,
        `number_pool_settings.${snakeCase(field)} must be a number from 0 to ${LIMITS.weight}.`,
        `/number_pool_settings/${snakeCase(field)}`,
      );
    }
  }
  return settings;
}

function checkName(name: string | undefined): string {
  if (name === undefined) throw missing("name");
  return checkText(name, "name", 1, LIMITS.nameCharacters);
}

function checkDestinations(destinations: readonly string[]): readonly string[] {
  const pointer = "/whitelisted_destinations";
  if (destinations.length === 0 || destinations.length > LIMITS.destinations) {
    throw failure(
      ErrorReason.INVALID_LENGTH,
      `whitelisted_destinations must hold 1 to ${LIMITS.destinations} entries; "*" allows every country.`,
      pointer,
    );
  }
  destinations.forEach((entry, index) => {
    if (entry === "*" || isRegion(entry)) return;
    const suggestion = suggestedRegion(entry);
    throw failure(
      ErrorReason.BAD_REQUEST,
      `whitelisted_destinations[${index}] is ${quoted(entry)}, which is not the ISO 3166-1 alpha-2 code of a country in upper case; use ${
        suggestion === undefined ? 'one such as "US"' : `"${suggestion}"`
      }, or "*" for every country.`,
      `${pointer}/${index}`,
    );
  });
  return destinations;
}

function checkValidity(seconds: number): number {
  if (seconds >= 1 && seconds <= LIMITS.validitySeconds) return seconds;
  throw failure(
    ErrorReason.OUT_OF_RANGE,
    `validity_period_seconds must be an integer from 1 to ${LIMITS.validitySeconds}.`,
    "/validity_period_seconds",
  );
}

function checkWebhookVersion(version: string | undefined): void {
  if (version === undefined || version === "2") return;
  throw failure(
    ErrorReason.NOT_SUPPORTED,
    'webhook_api_version must be "2", the only supported version; leave it out.',
    "/webhook_api_version",
  );
}

function checkRedactionLevel(level: number | undefined): void {
  if (level === undefined || level === REDACTION_LEVEL) return;
  throw failure(
    ErrorReason.NOT_SUPPORTED,
    `redaction_level is ${level}, but only ${REDACTION_LEVEL} is supported; leave it out.`,
    "/redaction_level",
  );
}

/** The documented level without redaction. */
export const REDACTION_LEVEL = 2;

function missing(field: string) {
  return failure(ErrorReason.MISSING_PARAMETER, `${field} is required.`, `/${field}`);
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
