import { create } from "@bufbuild/protobuf";
import { FieldMaskSchema } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { MessagingProfileInputSchema } from "../../gen/numberpool/v1/messaging_profile_pb.ts";
import {
  ListNumbersRequestSchema,
  UpdateNumberMessagingSettingsRequestSchema,
  UpdateNumberRequestSchema,
} from "../../gen/numberpool/v1/number_service_pb.ts";
import { ListMessagesRequestSchema } from "../../gen/numberpool/v1/pool_send_service_pb.ts";
import { CreateProfileRequestSchema, UpdateProfileRequestSchema } from "../../gen/numberpool/v1/profile_service_pb.ts";
import { apiKeyId } from "../../src/domain/api-key.ts";
import { ALL_PATHS, changeProfile, newProfile, populatedPaths } from "../../src/domain/messaging-profile.ts";
import { pathsOfUpdate } from "../../src/domain/update.ts";
import { traceIdOf } from "../../src/telemetry/call-span.ts";
import { parseBody } from "../../src/transport/json/body.ts";
import { decodeInto, maskOf, refuseUnknownQuery } from "../../src/transport/json/decode.ts";
import { parseQuery, restorePlus } from "../../src/transport/json/query.ts";
import { patternOf } from "../../src/transport/json/routes.ts";
import { timestampOf } from "../../src/transport/json/time.ts";
import { requestCheckOf } from "../../src/transport/request-checks.ts";

/** The factor between two inputs' sizes. */
const GROWTH = 4;
/** Linear time grows by 4, quadratic time by 16. */
const MAX_TIMES = 9;
/**
 * Below this many milliseconds of CPU the larger input is cheap in any case, and too short to
 * measure.
 */
const NEGLIGIBLE = 15;

/** Milliseconds of CPU of the quickest of some runs; refusals count as results. */
function cpuTime(run: () => unknown): number {
  const times = Array.from({ length: 12 }, () => {
    const before = process.cpuUsage();
    try {
      run();
    } catch {}
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1_000;
  });
  return Math.min(...times);
}

const repeat = (text: string, size: number) => text.repeat(Math.ceil(size / text.length));
const list = (value: string, size: number) => Array<string>(Math.ceil(size / (value.length + 3))).fill(value);
const mask = (path: string, size: number) => create(FieldMaskSchema, { paths: list(path, size) });
const body = (content: unknown) => parseBody(Buffer.from(JSON.stringify(content)));
const keys = (size: number) => Object.fromEntries(Array.from({ length: size / 12 }, (_, index) => [`key${index}`, 1]));
const input = create(MessagingProfileInputSchema, {
  name: "Many",
  whitelistedDestinations: Array<string>(300).fill("US"),
});
const profile = newProfile(input, { organizationId: "o", id: "p", at: 0 });

/**
 * The readers of an input of this many bytes, by name. Sizes: above a header block, or the largest
 * body.
 */
const READERS: Readonly<Record<string, (size: number) => () => unknown>> = {
  "a query of one key, again and again": (size) => () => parseQuery(repeat("a&", size)),
  "a query of one key with values": (size) => () => parseQuery(repeat("a=1&", size)),
  "a query of many keys": (size) => () => parseQuery(Object.keys(keys(size)).join("&")),
  "a query of nothing": (size) => () => parseQuery(repeat("&", size)),
  "a query of brackets": (size) => () => parseQuery(repeat("[", size)),
  "a query of closing brackets": (size) => () => parseQuery(`a[${repeat("]", size)}`),
  "a query of escapes": (size) => () => parseQuery(`a=${repeat("%41", size)}`),
  "a query of broken escapes": (size) => () => parseQuery(`a=${repeat("%", size)}`),
  "a query of phone numbers": (size) => () => restorePlus(parseQuery(`filter[phone_number]=${repeat("+1,", size)}`)),
  "a long filter": (size) => {
    const query = parseQuery(`filter[status]=${repeat("sent,", size)}`);
    return () => decodeInto(ListMessagesRequestSchema, create(ListMessagesRequestSchema), query, "text");
  },
  "a long page number": (size) => {
    const query = parseQuery(`page[number]=${repeat("1", size)}x`);
    return () => decodeInto(ListNumbersRequestSchema, create(ListNumbersRequestSchema), query, "text");
  },
  "unknown keys of a list": (size) => {
    const query = keys(size);
    return () => refuseUnknownQuery(ListNumbersRequestSchema, query);
  },
  "a body of unknown keys": (size) => () => {
    decodeInto(CreateProfileRequestSchema, create(CreateProfileRequestSchema), body(keys(size)), "body");
  },
  "an object of unknown keys": (size) => () => {
    const json = body({ profile: keys(size), number_pool_settings: keys(size) });
    decodeInto(MessagingProfileInputSchema, create(MessagingProfileInputSchema), json, "rpc");
  },
  "the keys of an update": (size) => () => maskOf(MessagingProfileInputSchema, body(keys(size))),
  "a list of destinations": (size) => () => {
    const json = body({ name: "Many", whitelisted_destinations: list("US", size) });
    const message = create(MessagingProfileInputSchema);
    decodeInto(MessagingProfileInputSchema, message, json, "body");
    requestCheckOf(MessagingProfileInputSchema)(message, "");
    newProfile(message, { organizationId: "o", id: "p", at: 0 });
  },
  "a list of tags": (size) => () => {
    const message = create(UpdateNumberMessagingSettingsRequestSchema);
    decodeInto(
      UpdateNumberMessagingSettingsRequestSchema,
      message,
      body({ settings: { tags: list("a", size) } }),
      "rpc",
    );
    requestCheckOf(UpdateNumberMessagingSettingsRequestSchema)(message, "");
  },
  "a mask of one path, again and again": (size) => {
    const request = create(UpdateProfileRequestSchema, { updateMask: mask("whitelisted_destinations", size) });
    return () => requestCheckOf(UpdateProfileRequestSchema)(request, "");
  },
  "a mask of unknown paths": (size) => {
    const request = create(UpdateNumberRequestSchema, { updateMask: mask(repeat("a.", 1_000), size) });
    return () => requestCheckOf(UpdateNumberRequestSchema)(request, "");
  },
  "a moment": (size) => () => timestampOf(`2026-01-01T00:00:00.${repeat("1", size)}x`),
  "an API key": (size) => () => apiKeyId(`np_live_${repeat("a_", size)}`),
  "a traceparent": (size) => () => traceIdOf(() => repeat("0", size)),
  "a path": (size) => () => patternOf("/v2/phone_numbers/{id}/messaging").test(repeat("/v2/phone_numbers", size)),
};

describe("time is linear in the input:", () => {
  it.each(Object.keys(READERS))("%s", (name) => {
    const reader = READERS[name] as (size: number) => () => unknown;
    const [small, large] = [65_536, 65_536 * GROWTH].map((size) => cpuTime(reader(size))) as [number, number];
    expect(large < NEGLIGIBLE || large / small < MAX_TIMES, `${small} ms, then ${large} ms`).toBe(true);
  });

  it("a mask with one field ten thousand times costs one check of the field", () => {
    const named = (times: number) => ({ paths: Array<string>(times).fill("whitelisted_destinations") });
    const change = (times: number) =>
      cpuTime(() => changeProfile(profile, input, pathsOfUpdate(named(times), populatedPaths(input), ALL_PATHS), 1));
    expect(change(10_000)).toBeLessThan(Math.max(NEGLIGIBLE, 20 * change(1)));
  });
});
