import { timestampMs } from "@bufbuild/protobuf/wkt";
import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import type { CreateMessageRequest, SendMessageRequest } from "../../gen/numberpool/v1/pool_send_service_pb.ts";
import { Failure, failure } from "../domain/failure.ts";
import { checkSend, checkSendAt } from "../domain/send.ts";
import { checkUrl } from "../domain/text.ts";
import type { Item } from "../engine/accept/decide-item.ts";
import type { Call } from "./call.ts";
import type { ServiceParts } from "./parts.ts";
import { unknownProfile } from "./unknown.ts";

/** A request for one message. */
export type SendRequest = SendMessageRequest | CreateMessageRequest;

type ItemParts = Pick<ServiceParts, "store" | "pools" | "clock">;

/** Checks a request: an item that is ready for its pool, or its refusal. */
export async function itemOf({ store, pools, clock }: ItemParts, call: Call, request: SendRequest): Promise<Item> {
  try {
    const { from, profileId } = await addressOf(store, call, request);
    const live =
      pools.peek(call.organizationId, profileId) ??
      (await pools.load(call.organizationId, profileId)) ??
      unknownProfile("/messaging_profile_id");
    const send = checkSend(live.profile, request);
    if ("reason" in send) return { refusal: send };
    const sendAt = request.sendAt === undefined ? undefined : timestampMs(request.sendAt);
    const refusal = checkSendAt(sendAt, clock());
    if (refusal !== undefined) return { refusal };
    return {
      live,
      send,
      from: from === undefined ? undefined : (live.idByPhoneNumber.get(from) ?? ""),
      sendAt,
      webhookUrl: checkUrl(request.webhookUrl, "webhook_url") || undefined,
      webhookFailoverUrl: checkUrl(request.webhookFailoverUrl, "webhook_failover_url") || undefined,
      useProfileWebhooks: request.useProfileWebhooks ?? true,
    };
  } catch (error) {
    if (error instanceof Failure) return { refusal: error.refusal };
    throw error;
  }
}

/** The profile of a send, and the sender that the request names. */
async function addressOf(
  store: ItemParts["store"],
  call: Call,
  request: SendRequest,
): Promise<{ from: string | undefined; profileId: string }> {
  const profileId = request.messagingProfileId;
  if (request.$typeName === "numberpool.v1.SendMessageRequest") {
    if (request.from !== undefined) {
      throw failure(
        ErrorReason.BAD_REQUEST,
        "SendMessage does not accept `from`, because the pool picks the sender; omit it, or use CreateMessage.",
        "/from",
      );
    }
    if (profileId === undefined || profileId === "") {
      throw failure(ErrorReason.MISSING_PARAMETER, "messaging_profile_id is required.", "/messaging_profile_id");
    }
    return { from: undefined, profileId };
  }
  if (request.from === undefined || request.from === "") {
    if (profileId !== undefined && profileId !== "") return { from: undefined, profileId };
    throw failure(
      ErrorReason.MISSING_PARAMETER,
      "`from` or messaging_profile_id is required: a sender, or a profile whose pool picks one.",
      "/from",
    );
  }
  const { from } = request;
  if (profileId !== undefined && profileId !== "") return { from, profileId };
  const found = from.startsWith("+") ? await store.getNumber(call.organizationId, from) : undefined;
  const ownProfileId = found?.number.messagingProfileId;
  if (ownProfileId !== undefined) return { from, profileId: ownProfileId };
  throw failure(
    ErrorReason.INVALID_FROM,
    "`from` is not a number of any of your messaging profiles; register it and assign it to one.",
    "/from",
  );
}
