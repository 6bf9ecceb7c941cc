import { create } from "@bufbuild/protobuf";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import type * as pb from "../../gen/numberpool/v1/opt_out_pb.ts";
import { OptOutSchema } from "../../gen/numberpool/v1/opt_out_pb.ts";
import type { OptOutService } from "../../gen/numberpool/v1/opt_out_service_pb.ts";
import { failure } from "../domain/failure.ts";
import { checkE164 } from "../domain/phone-number-record.ts";
import type { OptOut } from "../store/recipients.ts";
import type { Methods } from "./call.ts";
import { rowsOf, toProtoPageMeta } from "./page.ts";
import type { ServiceParts } from "./parts.ts";
import { unknownOptOut, unknownProfile } from "./unknown.ts";

/** The methods of OptOutService. */
export function optOutService({ store, clock }: ServiceParts): Methods<typeof OptOutService> {
  return {
    listOptOuts: async ({ filter, createdAt, page }, call) => {
      const rows = rowsOf(page);
      const list = await store.listOptOuts(call.organizationId, {
        ...rows,
        messagingProfileId: filter?.messagingProfileId,
        to: filter?.to,
        phoneNumber: filter?.from,
        createdSince: createdAt?.gte && timestampMs(createdAt.gte),
        createdUntil: createdAt?.lte && timestampMs(createdAt.lte),
      });
      return { data: list.rows.map(toProtoOptOut), meta: toProtoPageMeta(rows, list.total) };
    },

    addOptOut: async (request, call) => {
      const { organizationId } = call;
      const profileId = request.messagingProfileId;
      if (profileId === undefined || profileId === "") {
        throw failure(ErrorReason.MISSING_PARAMETER, "messaging_profile_id is required.", "/messaging_profile_id");
      }
      const to = checkE164(request.to, "to");
      const phoneNumber = request.from === undefined ? "" : checkE164(request.from, "from");
      const profile = (await store.getProfile(organizationId, profileId)) ?? unknownProfile("/messaging_profile_id");
      const optOut = {
        organizationId,
        messagingProfileId: profile.id,
        to,
        phoneNumber,
        keyword: "",
        createdAt: clock(),
      };
      return { data: toProtoOptOut(await store.addOptOut(optOut)) };
    },

    removeOptOut: async (request, call) => {
      const { organizationId } = call;
      const { messagingProfileId, to } = request;
      const removed = await store.removeOptOut({ organizationId, messagingProfileId, to });
      return { data: toProtoOptOut(removed ?? unknownOptOut()) };
    },
  };
}

function toProtoOptOut(optOut: OptOut): pb.OptOut {
  return create(OptOutSchema, {
    recordType: "messaging_optout",
    messagingProfileId: optOut.messagingProfileId,
    from: optOut.phoneNumber,
    to: optOut.to,
    keyword: optOut.keyword,
    createdAt: timestampFromMs(optOut.createdAt),
  });
}
