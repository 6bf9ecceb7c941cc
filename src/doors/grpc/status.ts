import { create, toBinary } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { Metadata, type StatusObject } from "@grpc/grpc-js";
import { StatusSchema } from "../../../gen/google/rpc/status_pb.ts";
import { errorForm } from "../../domain/error-form.ts";
import type { Refusal } from "../../domain/failure.ts";
import { errorDetails } from "../error-details.ts";

/** A refusal as a gRPC status, with its details. */
export function statusOf(refusal: Refusal): StatusObject {
  const { rpcCode } = errorForm(refusal.reason);
  const details = errorDetails(refusal).map(({ desc, value }) => anyPack(desc, value));
  const status = create(StatusSchema, { code: rpcCode, message: refusal.detail, details });
  const metadata = new Metadata();
  metadata.set("grpc-status-details-bin", Buffer.from(toBinary(StatusSchema, status)));
  return { code: rpcCode as number, details: refusal.detail, metadata };
}
