import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import type * as pb from "../../gen/numberpool/v1/sticky_mapping_pb.ts";
import { StickyMappingSchema } from "../../gen/numberpool/v1/sticky_mapping_pb.ts";
import type { StickyMappingService } from "../../gen/numberpool/v1/sticky_mapping_service_pb.ts";
import { failure } from "../domain/failure.ts";
import { checkE164 } from "../domain/phone-number-record.ts";
import type { StickyMapping } from "../domain/recipient.ts";
import type { Methods } from "./call.ts";
import { fillPage, type RowMeasures } from "./fill-page.ts";
import { CURSOR_ROWS, rowsAfter, toProtoCursorMeta } from "./page.ts";
import type { ServiceParts } from "./parts.ts";
import { unknownMapping, unknownProfile } from "./unknown.ts";

/** Every field of a mapping has a fixed size. */
const MAPPINGS: RowMeasures<StickyMapping> = { cursorOf: ({ to }) => to, bytesOf: () => 400 };

/** The methods of StickyMappingService. */
export function stickyMappingService({
  store,
  clock,
  stickyLifetimeMs,
}: ServiceParts): Methods<typeof StickyMappingService> {
  const profileOf = async (organizationId: string, id: string) =>
    (await store.getProfile(organizationId, id)) ?? unknownProfile();

  const toProtoWithNumber = async (mapping: StickyMapping): Promise<pb.StickyMapping> => {
    const found = await store.getNumber(mapping.organizationId, mapping.phoneNumberId);
    return toProtoMapping(mapping, found?.number.phoneNumber ?? "", stickyLifetimeMs);
  };

  return {
    listStickyMappings: async (request, call) => {
      const { organizationId } = call;
      const page = rowsAfter(request.page, CURSOR_ROWS.to);
      const profile = await profileOf(organizationId, request.messagingProfileId);
      const { phoneNumber } = request;
      const number = phoneNumber === undefined ? undefined : await store.getNumber(organizationId, phoneNumber);
      if (phoneNumber !== undefined && number === undefined) return { data: [], meta: toProtoCursorMeta(undefined) };
      const list = {
        organizationId,
        messagingProfileId: profile.id,
        profileGeneration: profile.stickyGeneration,
        since: clock() - stickyLifetimeMs,
      };
      const phoneNumberId = number?.number.id;
      const { rows, next } = await fillPage(
        page,
        (part) => store.listMappings(list, { ...part, phoneNumberId }),
        MAPPINGS,
      );
      return { data: await Promise.all(rows.map(toProtoWithNumber)), meta: toProtoCursorMeta(next) };
    },

    setStickyMapping: async (request, call) => {
      const { organizationId } = call;
      const profile = await profileOf(organizationId, request.messagingProfileId);
      const to = checkE164(request.to, "to");
      if (request.phoneNumber === undefined || request.phoneNumber === "") {
        throw failure(ErrorReason.MISSING_PARAMETER, "phone_number is required.", "/phone_number");
      }
      const number = (await store.getNumber(organizationId, request.phoneNumber))?.number;
      if (number === undefined || number.messagingProfileId !== profile.id) {
        throw failure(
          ErrorReason.INVALID_FROM,
          "phone_number is not a number of this messaging profile; assign it to the profile first.",
          "/phone_number",
        );
      }
      const mapping: StickyMapping = {
        organizationId,
        messagingProfileId: profile.id,
        to,
        phoneNumberId: number.id,
        profileGeneration: profile.stickyGeneration,
        numberGeneration: number.generation,
        lastMessageAt: clock(),
      };
      await store.putMapping(mapping);
      return { data: toProtoMapping(mapping, number.phoneNumber, stickyLifetimeMs) };
    },

    clearStickyMapping: async (request, call) => {
      const { organizationId } = call;
      const profile = await profileOf(organizationId, request.messagingProfileId);
      const removed = await store.removeMapping({ organizationId, messagingProfileId: profile.id, to: request.to });
      return { data: await toProtoWithNumber(removed ?? unknownMapping()) };
    },
  };
}

function toProtoMapping(mapping: StickyMapping, phoneNumber: string, stickyLifetimeMs: number): pb.StickyMapping {
  return create(StickyMappingSchema, {
    recordType: "sticky_mapping",
    messagingProfileId: mapping.messagingProfileId,
    to: mapping.to,
    phoneNumber,
    phoneNumberId: mapping.phoneNumberId,
    lastMessageAt: timestampFromMs(mapping.lastMessageAt),
    expiresAt: timestampFromMs(mapping.lastMessageAt + stickyLifetimeMs),
  });
}
