import type { StickyMapping } from "../../domain/recipient.ts";
import type { OptOut } from "../recipients.ts";
import type { Row } from "./row.ts";

/** A sticky mapping from its row. */
export function mappingFrom(row: Row): StickyMapping {
  return {
    organizationId: row.organization_id as string,
    messagingProfileId: row.messaging_profile_id as string,
    to: row.to as string,
    phoneNumberId: row.phone_number_id as string,
    profileGeneration: row.profile_generation as number,
    numberGeneration: row.number_generation as number,
    lastMessageAt: row.last_message_at as number,
  };
}

/** An opt-out from its row. */
export function optOutFrom(row: Row): OptOut {
  return {
    organizationId: row.organization_id as string,
    messagingProfileId: row.messaging_profile_id as string,
    to: row.to as string,
    phoneNumber: row.phone_number as string,
    keyword: row.keyword as string,
    createdAt: row.created_at as number,
  };
}
