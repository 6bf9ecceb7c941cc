import { expect } from "vitest";
import type { TestServer } from "../server.ts";

/**
 * Makes a profile with weights 5 and 1 that skips unhealthy numbers, and numbers of each type at a
 * rate; returns its id.
 */
export async function makeMixedPool(
  server: TestServer,
  { longCodes, tollFree, rate }: { readonly longCodes: number; readonly tollFree: number; readonly rate: number },
): Promise<string> {
  const { body } = await server.json("POST", "/v2/messaging_profiles", {
    name: "Campaign",
    whitelisted_destinations: ["US"],
    number_pool_settings: { long_code_weight: 5, toll_free_weight: 1, skip_unhealthy: true },
  });
  const numbers = [
    ...Array.from({ length: longCodes }, (_, index) => `+1212555${String(index).padStart(4, "0")}`),
    ...Array.from({ length: tollFree }, (_, index) => `+1800555${String(index).padStart(4, "0")}`),
  ];
  for (const phone_number of numbers) {
    const number = { phone_number, messaging_profile_id: body.data.id, segments_per_second: rate };
    expect((await server.json("POST", "/v2/phone_numbers", number)).status).toBe(200);
  }
  return body.data.id;
}
