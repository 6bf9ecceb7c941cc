import { create, toBinary } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { Metadata, type StatusObject } from "@grpc/grpc-js";
import { StatusSchema } from "../../../gen/google/rpc/status_pb.ts";
import { errorForm } from "../../domain/error-form.ts";
import type { Refusal } from "../../domain/failure.ts";
import { errorDetails } from "../error-details.ts";

/** A refusal as a gRPC status, with its details. */
export function statusOf(refusal: Refusal): StatusObject {
  const metadata = new Metadata();
  metadata.set("grpc-status-details-bin", statusBytes(refusal));
  return { code: errorForm(refusal.reason).rpcCode as number, details: refusal.detail, metadata };
}

/** A refusal as the bytes of a google.rpc.Status. */
export function statusBytes(refusal: Refusal): Buffer {
  const details = errorDetails(refusal).map(({ desc, value }) => anyPack(desc, value));
  const { rpcCode } = errorForm(refusal.reason);
  return Buffer.from(toBinary(StatusSchema, create(StatusSchema, { code: rpcCode, message: refusal.detail, details })));
}
