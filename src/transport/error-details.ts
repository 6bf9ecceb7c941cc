import { create, type DescMessage, type Message } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { errorForm, reasonName } from "../domain/error-form.ts";
import type { Refusal } from "../domain/failure.ts";

/** One detail of a failed RPC. */
export type ErrorDetail = { readonly desc: DescMessage; readonly value: Message };

/**
 * A refusal's details for RPC clients: reason as ErrorInfo, field as BadRequest, wait as RetryInfo.
 */
export function errorDetails({ reason, detail, pointer, retryAfterMs }: Refusal): ErrorDetail[] {
  const { code, title } = errorForm(reason);
  const metadata = { code, title, ...(pointer !== undefined && { pointer }) };
  const info = create(ErrorInfoSchema, { reason: reasonName(reason), domain: "numberpool", metadata });
  const details: ErrorDetail[] = [{ desc: ErrorInfoSchema, value: info }];
  if (pointer !== undefined) {
    const field = pointer.slice(1).replaceAll("/", ".");
    const value = create(BadRequestSchema, { fieldViolations: [{ field, description: detail }] });
    details.push({ desc: BadRequestSchema, value });
  }
  if (retryAfterMs !== undefined) {
    const value = create(RetryInfoSchema, { retryDelay: durationFromMs(Math.ceil(retryAfterMs)) });
    details.push({ desc: RetryInfoSchema, value });
  }
  return details;
}
