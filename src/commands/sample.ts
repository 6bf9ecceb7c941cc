import { create } from "@bufbuild/protobuf";
import { MessagingProfileInputSchema } from "../../gen/numberpool/v1/messaging_profile_pb.ts";
import { PhoneNumberInputSchema } from "../../gen/numberpool/v1/phone_number_pb.ts";
import type { Ids } from "../domain/ids.ts";
import { newProfile } from "../domain/messaging-profile.ts";
import { newNumber } from "../domain/phone-number-record.ts";
import type { Organization } from "../store/organization-records.ts";
import type { Store } from "../store/store.ts";
import { makeKey, SCOPES } from "./organization.ts";

/** What the printed commands need. */
export type Sample = { readonly apiKey: string; readonly profileId: string };

/** Long codes of five area codes, and one toll-free number: none of them is anybody's. */
const NUMBERS = ["+12125550110", "+13125550111", "+14155550112", "+13055550113", "+15125550114", "+18005550115"];

/** Fills an empty database, so that the first send needs nothing but a paste; undefined when there is anything in it. */
export async function makeSample(
  store: Store,
  organization: Organization,
  at: number,
  ids: Ids,
): Promise<Sample | undefined> {
  const { total } = await store.listProfiles(organization.id, {
    offset: 0,
    limit: 1,
    nameEquals: undefined,
    nameContains: undefined,
  });
  if (total > 0) return undefined;
  const made = () => ({ organizationId: organization.id, id: ids(at), at });
  const input = create(MessagingProfileInputSchema, { name: "Sample", whitelistedDestinations: ["US", "CA"] });
  const profile = newProfile(input, made());
  await store.insertProfile(profile);
  for (const phoneNumber of NUMBERS) {
    const number = create(PhoneNumberInputSchema, { phoneNumber, messagingProfileId: profile.id, carrier: "sandbox" });
    await store.insertNumber(newNumber(number, made(), ["sandbox"]));
  }
  const { token } = await makeKey(store, organization, { name: "sample", scopes: SCOPES }, at);
  return { apiKey: token, profileId: profile.id };
}

/** The documentation's commands with the real key and id, ready to paste. */
export function sampleCommands({ apiKey, profileId }: Sample, http: string): string {
  const url = `http://${http}/v2`;
  const headers = `-H "Content-Type: application/json" -H "Authorization: Bearer ${apiKey}"`;
  return `
A sample profile with six numbers is ready. This is its API key, and it is not shown again:

  ${apiKey}

Turn its number pool on:

  curl -X PATCH ${headers} \\
    --data '{"number_pool_settings": {"long_code_weight": 5, "toll_free_weight": 1, "skip_unhealthy": true, "sticky_sender": true, "geomatch": true}}' \\
    ${url}/messaging_profiles/${profileId}

Send a message through it; the answer names the sender and why:

  curl -X POST ${headers} \\
    --data '{"messaging_profile_id": "${profileId}", "to": "+13125550100", "text": "Hello, World!"}' \\
    ${url}/messages/number_pool

See that it was delivered, with the id from the answer:

  curl -H "Authorization: Bearer ${apiKey}" ${url}/messages/ID

`;
}
