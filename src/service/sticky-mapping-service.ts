import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import {
  type StickyMapping as StickyMappingMessage,
  StickyMappingSchema,
} from "../../gen/numberpool/v1/sticky_mapping_pb.ts";
import type { StickyMappingService } from "../../gen/numberpool/v1/sticky_mapping_service_pb.ts";
import { failure } from "../domain/failure.ts";
import { checkE164 } from "../domain/phone-number-record.ts";
import type { StickyMapping } from "../domain/recipient.ts";
import type { Methods } from "./call.ts";
import { fillPage, type RowMeasures } from "./fill-page.ts";
import { CURSOR_ROWS, cursorMeta, rowsAfter } from "./page.ts";
import type { ServiceParts } from "./parts.ts";
import { unknownMapping, unknownProfile } from "./unknown.ts";

/** A mapping has fields of a fixed size only. */
const MAPPINGS: RowMeasures<StickyMapping> = { cursorOf: ({ to }) => to, bytesOf: () => 400 };

/** The methods of StickyMappingService. */
export function stickyMappingService({
  store,
  clock,
  stickyLifetimeMs,
}: ServiceParts): Methods<typeof StickyMappingService> {
  const profileOf = async (organizationId: string, id: string) =>
    (await store.getProfile(organizationId, id)) ?? unknownProfile();

  const message = (mapping: StickyMapping, phoneNumber: string): StickyMappingMessage =>
    create(StickyMappingSchema, {
      recordType: "sticky_mapping",
      messagingProfileId: mapping.messagingProfileId,
      to: mapping.to,
      phoneNumber,
      phoneNumberId: mapping.phoneNumberId,
      lastMessageAt: timestampFromMs(mapping.lastMessageAt),
      expiresAt: timestampFromMs(mapping.lastMessageAt + stickyLifetimeMs),
    });

  const withNumber = async (mapping: StickyMapping): Promise<StickyMappingMessage> => {
    const found = await store.getNumber(mapping.organizationId, mapping.phoneNumberId);
    return message(mapping, found?.number.phoneNumber ?? "");
  };

  return {
    listStickyMappings: async (request, call) => {
      const { organizationId } = call;
      const page = rowsAfter(request.page, CURSOR_ROWS.to);
      const profile = await profileOf(organizationId, request.messagingProfileId);
      const wanted = request.phoneNumber;
      const number = wanted === undefined ? undefined : await store.getNumber(organizationId, wanted);
      if (wanted !== undefined && number === undefined) return { data: [], meta: cursorMeta(undefined) };
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
      return { data: await Promise.all(rows.map(withNumber)), meta: cursorMeta(next) };
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
      return { data: message(mapping, number.phoneNumber) };
    },

    clearStickyMapping: async (request, call) => {
      const { organizationId } = call;
      const profile = await profileOf(organizationId, request.messagingProfileId);
      const removed = await store.removeMapping({ organizationId, messagingProfileId: profile.id, to: request.to });
      return { data: await withNumber(removed ?? unknownMapping()) };
    },
  };
}
