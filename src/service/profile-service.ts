import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type * as pb from "../../gen/numberpool/v1/messaging_profile_pb.ts";
import { MessagingProfileInputSchema, MessagingProfileSchema } from "../../gen/numberpool/v1/messaging_profile_pb.ts";
import type { ProfileService } from "../../gen/numberpool/v1/profile_service_pb.ts";
import {
  ALL_PATHS,
  changeProfile,
  type MessagingProfile,
  newProfile,
  populatedPaths,
  REDACTION_LEVEL,
} from "../domain/messaging-profile.ts";
import { pathsOfUpdate } from "../domain/update.ts";
import type { Methods } from "./call.ts";
import { toProtoMessagingSettings } from "./number-form.ts";
import { rowsOf, toProtoPageMeta } from "./page.ts";
import type { ServiceParts } from "./parts.ts";
import { poolView } from "./pool-view.ts";
import { unknownProfile } from "./unknown.ts";
import { within } from "./within.ts";

/** The methods of ProfileService. */
export function profileService(parts: ServiceParts): Methods<typeof ProfileService> {
  const { store, clock, ids } = parts;
  return {
    ...poolView(parts),

    createProfile: async (request, call) => {
      const { organizationId } = call;
      const at = clock();
      const input = request.profile ?? create(MessagingProfileInputSchema);
      const profile = await within("profile", async () => newProfile(input, { organizationId, id: ids(at), at }));
      await store.insertProfile(profile);
      return { data: toProtoProfile(profile) };
    },

    getProfile: async (request, call) => {
      const profile = await store.getProfile(call.organizationId, request.id);
      return { data: toProtoProfile(profile ?? unknownProfile()) };
    },

    listProfiles: async (request, call) => {
      const page = rowsOf(request.page);
      const { rows, total } = await store.listProfiles(call.organizationId, {
        ...page,
        nameEquals: request.filter?.name?.eq,
        nameContains: request.filter?.name?.contains,
      });
      return { data: rows.map(toProtoProfile), meta: toProtoPageMeta(page, total) };
    },

    updateProfile: async (request, call) => {
      const input = request.profile ?? create(MessagingProfileInputSchema);
      const paths = pathsOfUpdate(request.updateMask, populatedPaths(input), ALL_PATHS);
      const profile = await within("profile", () =>
        store.updateProfile(call.organizationId, request.id, (current) =>
          changeProfile(current, input, paths, clock()),
        ),
      );
      return { data: toProtoProfile(profile ?? unknownProfile()) };
    },

    deleteProfile: async (request, call) => {
      const profile = await store.deleteProfile(call.organizationId, request.id, clock());
      return { data: toProtoProfile(profile ?? unknownProfile()) };
    },

    listProfileNumbers: async (request, call) => {
      const { organizationId } = call;
      const page = rowsOf(request.page);
      if ((await store.getProfile(organizationId, request.id)) === undefined) unknownProfile();
      const { rows, total } = await store.listNumbers(organizationId, { ...page, messagingProfileId: request.id });
      return { data: rows.map((row) => toProtoMessagingSettings(row, clock())), meta: toProtoPageMeta(page, total) };
    },
  };
}

function toProtoProfile(profile: MessagingProfile): pb.MessagingProfile {
  return create(MessagingProfileSchema, {
    recordType: "messaging_profile",
    id: profile.id,
    organizationId: profile.organizationId,
    name: profile.name,
    enabled: profile.enabled,
    ...(profile.webhookUrl !== undefined && { webhookUrl: profile.webhookUrl }),
    ...(profile.webhookFailoverUrl !== undefined && { webhookFailoverUrl: profile.webhookFailoverUrl }),
    webhookApiVersion: "2",
    redactionLevel: REDACTION_LEVEL,
    whitelistedDestinations: [...profile.whitelistedDestinations],
    ...(profile.poolSettings !== undefined && { numberPoolSettings: profile.poolSettings }),
    validityPeriodSeconds: profile.validityPeriodSeconds,
    createdAt: timestampFromMs(profile.createdAt),
    updatedAt: timestampFromMs(profile.updatedAt),
  });
}
