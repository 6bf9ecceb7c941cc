import { create } from "@bufbuild/protobuf";
import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import {
  type ListNumberMessagingSettingsRequest,
  type ListNumbersRequest,
  type NumberService,
  SortDirection,
} from "../../gen/numberpool/v1/number_service_pb.ts";
import { MessagingNumberType, PhoneNumberInputSchema } from "../../gen/numberpool/v1/phone_number_pb.ts";
import { failure } from "../domain/failure.ts";
import { LIMITS } from "../domain/limits.ts";
import { ALL_PATHS, changeNumber, newNumber, type PhoneNumber, populatedPaths } from "../domain/phone-number-record.ts";
import { pathsOfUpdate } from "../domain/update.ts";
import type { NumberFound, NumberQuery, NumberWritten } from "../store/numbers.ts";
import type { PageQuery } from "../store/pages.ts";
import type { Methods } from "./call.ts";
import { toProtoMessagingSettings, toProtoNumber } from "./number-form.ts";
import { rowsOf, toProtoPageMeta } from "./page.ts";
import type { ServiceParts } from "./parts.ts";
import { unknownNumber, unknownProfile } from "./unknown.ts";
import { within } from "./within.ts";

/** The methods of NumberService. */
export function numberService(parts: ServiceParts): Methods<typeof NumberService> {
  const { store, clock, ids, carriers, mayShareNumbers } = parts;
  return {
    registerNumber: (request, call) =>
      within("number", async () => {
        const { organizationId } = call;
        const at = clock();
        const input = request.number ?? create(PhoneNumberInputSchema);
        const number = newNumber(input, { organizationId, id: ids(at), at }, carriers);
        return { data: toProtoNumber(writtenOrThrow(await store.insertNumber(number, mayShareNumbers)), at) };
      }),

    getNumber: async (request, call) => {
      return { data: toProtoNumber(await findNumber(store, call.organizationId, request.id), clock()) };
    },

    listNumbers: async (request, call) => {
      const page = rowsOf(request.page);
      const { rows, total } = await store.listNumbers(call.organizationId, queryOf(request, page));
      return { data: rows.map((row) => toProtoNumber(row, clock())), meta: toProtoPageMeta(page, total) };
    },

    updateNumber: async (request, call) => {
      const input = request.number ?? create(PhoneNumberInputSchema);
      const paths = pathsOfUpdate(request.updateMask, populatedPaths(input), ALL_PATHS);
      const result = await within("number", async () =>
        writtenOrThrow(
          await store.updateNumber(call.organizationId, request.id, (number) =>
            changeNumber(number, input, paths, carriers, clock()),
          ),
        ),
      );
      return { data: toProtoNumber(result, clock()) };
    },

    resetNumberHealth: async ({ id }, call) => {
      const at = clock();
      const reset = await store.resetHealth(call.organizationId, id, at);
      return { data: toProtoNumber(reset ?? unknownNumber(), at) };
    },

    removeNumber: async (request, call) => {
      const removed = await store.removeNumber(call.organizationId, request.id);
      return { data: toProtoNumber(removed ?? unknownNumber(), clock()) };
    },

    ...messagingSettingsMethods(parts),
  };
}

type SettingsMethods = Pick<
  Methods<typeof NumberService>,
  "getNumberMessagingSettings" | "listNumberMessagingSettings" | "updateNumberMessagingSettings"
>;

/** The methods of the numbers' messaging settings. */
function messagingSettingsMethods({ store, clock, carriers }: ServiceParts): SettingsMethods {
  return {
    getNumberMessagingSettings: async (request, call) => {
      return { data: toProtoMessagingSettings(await findNumber(store, call.organizationId, request.id), clock()) };
    },

    listNumberMessagingSettings: async (request, call) => {
      const page = rowsOf(request.page);
      const { rows, total } = await store.listNumbers(call.organizationId, queryOf(request, page));
      return { data: rows.map((row) => toProtoMessagingSettings(row, clock())), meta: toProtoPageMeta(page, total) };
    },

    updateNumberMessagingSettings: async (request, call) => {
      const settings = request.settings;
      if (settings?.messagingProduct !== undefined && settings.messagingProduct !== "A2P") {
        throw failure(
          ErrorReason.NOT_SUPPORTED,
          'messaging_product must be "A2P", the only supported value; omit it.',
          "/settings/messaging_product",
        );
      }
      const input = create(PhoneNumberInputSchema, {
        ...(settings?.messagingProfileId !== undefined && { messagingProfileId: settings.messagingProfileId }),
        tags: settings?.tags ?? [],
      });
      const maskPaths = pathsOfUpdate(request.updateMask, populatedPaths(input), ["messaging_profile_id", "tags"]);
      const paths = maskPaths.filter((path) => path !== "messaging_product");
      const result = await within("settings", async () =>
        writtenOrThrow(
          await store.updateNumber(call.organizationId, request.id, (number) =>
            changeNumber(number, input, paths, carriers, clock()),
          ),
        ),
      );
      return { data: toProtoMessagingSettings(result, clock()) };
    },
  };
}

async function findNumber(store: ServiceParts["store"], organizationId: string, id: string): Promise<NumberFound> {
  return (await store.getNumber(organizationId, id)) ?? unknownNumber();
}

type ListRequest = Pick<ListNumbersRequest | ListNumberMessagingSettingsRequest, "filter" | "sort">;

function queryOf({ filter, sort }: ListRequest, page: PageQuery): NumberQuery {
  const phoneNumbers = filter?.phoneNumber?.eq ?? [];
  if (phoneNumbers.length > LIMITS.pageSize) {
    throw failure(
      ErrorReason.INVALID_FILTER,
      `The phone_number filter must have at most ${LIMITS.pageSize} numbers.`,
      "/filter/phone_number",
    );
  }
  if (filter?.type === MessagingNumberType.SHORT_CODE) return { ...page, phoneNumbers: [] };
  return {
    ...page,
    messagingProfileId: filter?.messagingProfileId,
    phoneNumbers: phoneNumbers.length === 0 ? undefined : phoneNumbers,
    phoneNumberContains: filter?.phoneNumber?.contains,
    lineType: LINE_TYPE_FILTERS[filter?.type ?? MessagingNumberType.UNSPECIFIED],
    descending: sort?.phoneNumber === SortDirection.DESC,
  };
}

const LINE_TYPE_FILTERS: Readonly<Record<number, PhoneNumber["lineType"]>> = {
  [MessagingNumberType.LONG_CODE]: "long_code",
  [MessagingNumberType.TOLL_FREE]: "toll_free",
};

// The text must not reveal which organization it is.
const TAKEN_DETAIL =
  "Another organization of this installation has registered the phone number; " +
  "remove it there first, or have the operator set allow_shared_numbers.";

function writtenOrThrow(result: NumberWritten): NumberFound {
  switch (result.kind) {
    case "written":
      return result;
    case "exists":
      throw failure(
        ErrorReason.ALREADY_EXISTS,
        "The phone number is already registered; update it instead.",
        "/phone_number",
      );
    case "taken":
      throw failure(ErrorReason.ALREADY_EXISTS, TAKEN_DETAIL, "/phone_number");
    case "unknownNumber":
      return unknownNumber();
    case "unknownProfile":
      return unknownProfile("/messaging_profile_id");
  }
}
