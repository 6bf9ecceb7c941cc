import { create } from "@bufbuild/protobuf";
import { MessagingProfileInputSchema } from "../../gen/numberpool/v1/messaging_profile_pb.ts";
import { PhoneNumberInputSchema } from "../../gen/numberpool/v1/phone_number_pb.ts";
import type { Ids } from "../domain/ids.ts";
import { newProfile } from "../domain/messaging-profile.ts";
import { newNumber } from "../domain/phone-number-record.ts";
import type { Organization } from "../store/organizations.ts";
import type { Store } from "../store/store.ts";
import { createKey, SCOPES } from "./api-keys.ts";

/** The key and the profile of the sample, for the printed commands. */
export type Sample = { readonly apiKey: string; readonly profileId: string };

/** Long codes of five area codes, and one toll-free number, all reserved for fiction. */
const NUMBERS = ["+12125550110", "+13125550111", "+14155550112", "+13055550113", "+15125550114", "+18005550115"];

/**
 * Fills an empty database with a profile, numbers and a key, so that a first send is one paste.
 * Undefined: it is not empty.
 */
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
  const created = () => ({ organizationId: organization.id, id: ids(at), at });
  const input = create(MessagingProfileInputSchema, { name: "Sample", whitelistedDestinations: ["US", "CA"] });
  const profile = newProfile(input, created());
  await store.insertProfile(profile);
  for (const phoneNumber of NUMBERS) {
    const number = create(PhoneNumberInputSchema, { phoneNumber, messagingProfileId: profile.id, carrier: "sandbox" });
    await store.insertNumber(newNumber(number, created(), ["sandbox"]));
  }
  const { token } = await createKey(store, organization, { name: "sample", scopes: SCOPES }, at);
  return { apiKey: token, profileId: profile.id };
}

/** The documentation's commands with the actual key and id, ready to paste. */
export function sampleCommands({ apiKey, profileId }: Sample, http: string): string {
  const url = `http://${http}/v2`;
  const headers = `-H "Content-Type: application/json" -H "Authorization: Bearer ${apiKey}"`;
  return `
A sample profile with six numbers is ready. Its API key, which is not shown again:

  ${apiKey}

Turn on its number pool:

  curl -X PATCH ${headers} \\
    --data '{"number_pool_settings": {"long_code_weight": 5, "toll_free_weight": 1, "skip_unhealthy": true, "sticky_sender": true, "geomatch": true}}' \\
    ${url}/messaging_profiles/${profileId}

Send a message through the pool; the answer names the sender and the reason:

  curl -X POST ${headers} \\
    --data '{"messaging_profile_id": "${profileId}", "to": "+13125550100", "text": "Hello, World!"}' \\
    ${url}/messages/number_pool

See its delivery, with the id from the answer:

  curl -H "Authorization: Bearer ${apiKey}" ${url}/messages/ID

`;
}
