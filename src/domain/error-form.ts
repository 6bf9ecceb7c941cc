import { getOption, hasOption } from "@bufbuild/protobuf";
import { type ErrorForm, error } from "../../gen/numberpool/v1/enum_options_pb.ts";
import { type ErrorReason, ErrorReasonSchema } from "../../gen/numberpool/v1/error_reason_pb.ts";

/** A reason's HTTP status, documented code, title and RPC status, from the contract's catalogue. */
export function errorForm(reason: ErrorReason): ErrorForm {
  const form = FORMS.get(reason);
  if (form === undefined) throw new Error(`The error catalogue has no entry for reason ${reason}.`);
  return form;
}

/** A reason's name without its prefix, "INVALID_TO". */
export function reasonName(reason: ErrorReason): string {
  return (ErrorReasonSchema.value[reason]?.name ?? "").replace("ERROR_REASON_", "");
}

const FORMS = new Map<number, ErrorForm>(
  ErrorReasonSchema.values
    .filter((value) => hasOption(value, error))
    .map((value) => [value.number, getOption(value, error)]),
);
