import { create, toBinary } from "@bufbuild/protobuf";
import {
  PoolSendService,
  SendMessageRequestSchema,
  SendMessagesRequestSchema,
} from "../gen/numberpool/v1/pool_send_service_pb.ts";
import { grpcHeaders } from "./http2-frames.ts";
import { DIGITS, type Template, templateOf } from "./template.ts";

/** Messages in a batch. */
export const BATCH = 500;

/** The text of every message: one segment, of ordinary length. */
const TEXT = "Your parcel arrives today between 14:00 and 16:00. Reply STOP to opt out of these texts.";

/** Area codes of recipients and of senders: six states, with overlays. */
export const AREA_CODES = [
  ...["212", "646", "718", "917", "315", "716", "312", "773", "872", "217"],
  ...["415", "628", "213", "323", "310", "619", "305", "786", "407", "813"],
  ...["512", "737", "713", "832", "214", "469", "206", "425", "509", "253"],
] as const;

const recipient = (index: number) => `+1${AREA_CODES[index % AREA_CODES.length]}${DIGITS}`;

/** The target of requests. */
export type Target = { readonly token: string; readonly profileId: string };

/** JSON sends, one for each area code. */
export function jsonSends(target: Target): Template[] {
  return AREA_CODES.map((_, index) => httpPost("/v2/messages/number_pool", target, jsonItem(target, index)));
}

/** A JSON batch. */
export function jsonBatch(target: Target): Template[] {
  const messages = Array.from({ length: BATCH }, (_, index) => jsonItem(target, index));
  return [httpPost("/v2/messages/number_pool/batch", target, { messages })];
}

/** gRPC sends, one for each area code. */
export function grpcSends(target: Target): Template[] {
  return AREA_CODES.map((_, index) =>
    templateOf(toBinary(SendMessageRequestSchema, create(SendMessageRequestSchema, grpcItem(target, index)))),
  );
}

/** A gRPC batch. */
export function grpcBatch(target: Target): Template[] {
  const messages = Array.from({ length: BATCH }, (_, index) => grpcItem(target, index));
  return [templateOf(toBinary(SendMessagesRequestSchema, create(SendMessagesRequestSchema, { messages })))];
}

/** The HEADERS frame of a call to PoolSendService, in base64. */
export function grpcHeadersOf(method: "SendMessage" | "SendMessages", { token }: Target): string {
  return grpcHeaders(`/${PoolSendService.typeName}/${method}`, "127.0.0.1", `Bearer ${token}`).toString("base64");
}

/** Kannel's sends by HTTP GET, one for each area code. */
export function kannelSends(username: string, password: string): Template[] {
  return AREA_CODES.map((_, index) => {
    const query = new URLSearchParams({ username, password, from: "12125550110", to: recipient(index), text: TEXT });
    return templateOf(`GET /cgi-bin/sendsms?${query} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`);
  });
}

/** One message as JSON; the index selects the area code. */
export function jsonItem({ profileId }: Target, index: number) {
  return { messaging_profile_id: profileId, to: recipient(index), text: TEXT };
}

/** One message as a gRPC request. */
export function grpcItem({ profileId }: Target, index: number) {
  return { messagingProfileId: profileId, to: recipient(index), text: TEXT };
}

function httpPost(path: string, { token }: Target, body: unknown): Template {
  const content = JSON.stringify(body);
  const head = [
    `POST ${path} HTTP/1.1`,
    "host: 127.0.0.1",
    `authorization: Bearer ${token}`,
    "content-type: application/json",
    `content-length: ${content.length}`,
  ];
  return templateOf(`${head.join("\r\n")}\r\n\r\n${content}`);
}
