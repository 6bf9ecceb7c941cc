import { create } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Decision } from "../../gen/numberpool/v1/decision_pb.ts";
import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import { MessageStatus } from "../../gen/numberpool/v1/message_pb.ts";
import {
  type PoolSendService,
  type SenderPreview,
  SenderPreviewSchema,
} from "../../gen/numberpool/v1/pool_send_service_pb.ts";
import type { TimeRange } from "../../gen/numberpool/v1/time_range_pb.ts";
import { failure, type Refusal } from "../domain/failure.ts";
import { earliestId } from "../domain/ids.ts";
import type { Message } from "../domain/message.ts";
import type { MessageEvent } from "../domain/message-event.ts";
import { checkSend } from "../domain/send.ts";
import { decideSend } from "../engine/decide-send.ts";
import type { MessageQuery } from "../store/messages.ts";
import type { Methods } from "./call.ts";
import { fillPage, type RowMeasures } from "./fill-page.ts";
import { toProtoAcceptance, toProtoEvent } from "./message-event-form.ts";
import { statusFrom, toProtoDecision, toProtoMessage, toProtoSendError, toProtoSender } from "./message-form.ts";
import { CURSOR_ROWS, rowsAfter, toProtoCursorMeta } from "./page.ts";
import type { ServiceParts } from "./parts.ts";
import { unknownMessage, unknownProfile } from "./unknown.ts";

type Queries = Pick<
  Methods<typeof PoolSendService>,
  "getMessage" | "listMessages" | "listMessageEvents" | "previewSender"
>;

/** Approximate JSON bytes of the fields that have a fixed size. */
const MESSAGE_BYTES = 2_000;
const EVENT_BYTES = 500;

const MESSAGES: RowMeasures<Message> = {
  cursorOf: ({ id }) => id,
  bytesOf: ({ text, webhookUrl = "", webhookFailoverUrl = "" }) =>
    MESSAGE_BYTES + Buffer.byteLength(text) + webhookUrl.length + webhookFailoverUrl.length,
};
const EVENTS: RowMeasures<MessageEvent> = {
  cursorOf: ({ sequence }) => String(sequence),
  bytesOf: ({ error }) => EVENT_BYTES + (error?.detail.length ?? 0),
};

/** The read-only methods of PoolSendService. */
export function messageQueries(parts: ServiceParts): Queries {
  const { store } = parts;
  return {
    getMessage: async (request, call) => {
      const message = await store.getMessage(call.organizationId, request.id);
      return { data: toProtoMessage(message ?? unknownMessage()) };
    },

    listMessages: async ({ filter, page }, call) => {
      const status = filter?.status ?? MessageStatus.UNSPECIFIED;
      const domainStatus = statusFrom(status);
      if (status !== MessageStatus.UNSPECIFIED && domainStatus === undefined) {
        return { data: [], meta: toProtoCursorMeta(undefined) };
      }
      const filters = {
        messagingProfileId: filter?.messagingProfileId,
        to: filter?.to,
        from: filter?.from,
        status: domainStatus,
        ...idRangeOf(filter?.receivedAt),
      };
      const { organizationId } = call;
      const { rows, next } = await fillPage(
        rowsAfter(page, CURSOR_ROWS.id),
        (part) => store.listMessages(organizationId, { ...part, ...filters }),
        MESSAGES,
      );
      return { data: rows.map(toProtoMessage), meta: toProtoCursorMeta(next) };
    },

    listMessageEvents: async (request, call) => {
      const { organizationId } = call;
      const { after, limit } = rowsAfter(request.page, CURSOR_ROWS.sequence);
      const message = (await store.getMessage(organizationId, request.id)) ?? unknownMessage();
      // The acceptance is not stored as an event: it comes from the message itself.
      const isFirstPage = after === undefined;
      const query = { after, limit: isFirstPage ? limit - 1 : limit };
      const { rows, next } = await fillPage(
        query,
        (part) => store.listMessageEvents(organizationId, message.id, part),
        EVENTS,
      );
      const events = rows.map((event) => toProtoEvent(event, message));
      return { data: isFirstPage ? [toProtoAcceptance(message), ...events] : events, meta: toProtoCursorMeta(next) };
    },

    previewSender: previewSender(parts),
  };
}

/** The method `PreviewSender`: decides as a send would, and charges nothing. */
function previewSender({ store, pools, clock, stickyLifetimeMs }: ServiceParts): NonNullable<Queries["previewSender"]> {
  return async (request, call) => {
    const { organizationId } = call;
    const profileId = request.messagingProfileId;
    if (profileId === undefined || profileId === "") {
      throw failure(ErrorReason.MISSING_PARAMETER, "messaging_profile_id is required.", "/messaging_profile_id");
    }
    const live = (await pools.load(organizationId, profileId)) ?? unknownProfile("/messaging_profile_id");
    const { profile } = live;
    const content = {
      to: request.to,
      text: request.text ?? "preview",
      encoding: request.encoding,
      type: request.type,
    };
    const send = checkSend(profile, content);
    if ("reason" in send) return { data: toProtoRefusedPreview(send) };
    const facts = await store.readRecipient({ organizationId, messagingProfileId: profile.id, to: send.to });
    const sendRequest = { to: send.to, parts: send.segments.parts, from: undefined };
    const decided = decideSend(live, sendRequest, facts, clock(), stickyLifetimeMs);
    if ("refusal" in decided) {
      const { refusal, decision } = decided;
      return { data: toProtoRefusedPreview(refusal, decision && toProtoDecision(decision)) };
    }
    const { sender, decision, waitMs } = decided;
    return {
      data: create(SenderPreviewSchema, {
        outcome: { case: "from", value: toProtoSender(sender.from, sender) },
        decision: toProtoDecision(decision),
        waitSeconds: Math.round(waitMs) / 1000,
      }),
    };
  };
}

/** The preview of a send that would be refused, with the decision if an enabled pool refuses it. */
function toProtoRefusedPreview(refusal: Refusal, decision?: Decision): SenderPreview {
  const preview = create(SenderPreviewSchema, { outcome: { case: "error", value: toProtoSendError(refusal) } });
  return decision === undefined ? preview : { ...preview, decision };
}

/** A time range as an id range: an id contains the time of acceptance. */
function idRangeOf(range: TimeRange | undefined): Pick<MessageQuery, "fromId" | "beforeId"> {
  return {
    fromId: range?.gte && earliestId(Math.ceil(millisecondsOf(range.gte))),
    beforeId: range?.lte && earliestId(Math.floor(millisecondsOf(range.lte)) + 1),
  };
}

function millisecondsOf({ seconds, nanos }: Timestamp): number {
  return Number(seconds) * 1000 + nanos / 1e6;
}
