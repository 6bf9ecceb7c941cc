import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import { failure } from "../domain/failure.ts";

/** Throws NOT_FOUND for a profile. Another organization's profile gets the same failure. */
export function unknownProfile(pointer?: string): never {
  throw failure(
    ErrorReason.NOT_FOUND,
    "Your organization has no messaging profile with this id; list the profiles to see their ids.",
    pointer,
  );
}

/** Throws NOT_FOUND for a phone number. */
export function unknownNumber(): never {
  throw failure(
    ErrorReason.NOT_FOUND,
    "Your organization has no phone number with this id; list the phone numbers to see their ids.",
  );
}

/** Throws NOT_FOUND for a message. */
export function unknownMessage(): never {
  throw failure(ErrorReason.NOT_FOUND, "Your organization has no message with this id.");
}

/** Throws NOT_FOUND for a carrier, and names the configured ones. */
export function unknownCarrier(carriers: readonly string[]): never {
  throw failure(ErrorReason.NOT_FOUND, `No carrier has this name; the configured carriers are ${carriers.join(", ")}.`);
}

/** Throws NOT_FOUND for a sticky mapping. */
export function unknownMapping(): never {
  throw failure(ErrorReason.NOT_FOUND, "The recipient has no sticky mapping on this messaging profile.");
}

/** Throws NOT_FOUND for an opt-out. */
export function unknownOptOut(): never {
  throw failure(ErrorReason.NOT_FOUND, "The recipient has not opted out of this messaging profile.");
}
