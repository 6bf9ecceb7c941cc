import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import { failure } from "../domain/failure.ts";

/** Throws that there is no such profile, of the caller's organization or at all: the answer is the same. */
export function unknownProfile(pointer?: string): never {
  throw failure(
    ErrorReason.NOT_FOUND,
    "There is no messaging profile with this id in your organization; list the profiles for their ids.",
    pointer,
  );
}

/** Throws that there is no such phone number. */
export function unknownNumber(): never {
  throw failure(
    ErrorReason.NOT_FOUND,
    "There is no phone number with this id in your organization; list the phone numbers for their ids.",
  );
}

/** Throws that there is no such message. */
export function unknownMessage(): never {
  throw failure(ErrorReason.NOT_FOUND, "There is no message with this id in your organization.");
}

/** Throws that there is no such carrier among the configured ones. */
export function unknownCarrier(carriers: readonly string[]): never {
  throw failure(
    ErrorReason.NOT_FOUND,
    `There is no carrier with this name; the configured ones are ${carriers.join(", ")}.`,
  );
}

/** Throws that there is no such sticky mapping. */
export function unknownMapping(): never {
  throw failure(ErrorReason.NOT_FOUND, "The recipient has no sticky mapping on this messaging profile.");
}

/** Throws that there is no such opt-out. */
export function unknownOptOut(): never {
  throw failure(ErrorReason.NOT_FOUND, "The recipient has not opted out of this messaging profile.");
}
