import { create, toBinary } from "@bufbuild/protobuf";
import { anyPack, durationFromMs } from "@bufbuild/protobuf/wkt";
import { Metadata, type StatusObject } from "@grpc/grpc-js";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../../../gen/google/rpc/error_details_pb.ts";
import { StatusSchema } from "../../../gen/google/rpc/status_pb.ts";
import { errorForm, reasonName } from "../../domain/error-form.ts";
import type { Refusal } from "../../domain/failure.ts";

/** A refusal as a gRPC status, with the reason as ErrorInfo, the field as BadRequest and the waiting time as RetryInfo. */
export function statusOf(refusal: Refusal): StatusObject {
  const { reason, detail, pointer, retryAfter } = refusal;
  const { rpcCode, code, title } = errorForm(reason);
  const info = create(ErrorInfoSchema, {
    reason: reasonName(reason),
    domain: "numberpool",
    metadata: { code, title, ...(pointer !== undefined && { pointer }) },
  });
  const details = [anyPack(ErrorInfoSchema, info)];
  if (pointer !== undefined) {
    const field = pointer.slice(1).replaceAll("/", ".");
    const violation = create(BadRequestSchema, { fieldViolations: [{ field, description: detail }] });
    details.push(anyPack(BadRequestSchema, violation));
  }
  if (retryAfter !== undefined) {
    const retry = create(RetryInfoSchema, { retryDelay: durationFromMs(Math.ceil(retryAfter)) });
    details.push(anyPack(RetryInfoSchema, retry));
  }
  const metadata = new Metadata();
  const status = create(StatusSchema, { code: rpcCode, message: detail, details });
  metadata.set("grpc-status-details-bin", Buffer.from(toBinary(StatusSchema, status)));
  return { code: rpcCode as number, details: detail, metadata };
}
