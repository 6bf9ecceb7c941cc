import type { TestServer } from "../server.ts";

/** A pool that is on, both types alike. */
export const ON = { long_code_weight: 1, toll_free_weight: 1 };

let registered = 0;

/** A long code, or with a toll-free area code a toll-free number, that no test of this process has used. */
export function freshNumber(areaCode = "212"): string {
  registered += 1;
  return `+1${areaCode}556${String(registered).padStart(4, "0")}`;
}

/** Makes a profile that may text the US with its pool on, unless `fields` say otherwise, and gives its id. */
export async function makeProfile(server: TestServer, fields: object = {}): Promise<string> {
  const body = { name: "Wire", whitelisted_destinations: ["US"], number_pool_settings: ON, ...fields };
  const { data } = await done(server.json("POST", "/v2/messaging_profiles", body));
  return data.id;
}

/** Registers a number as `fields` say, and gives it as the server does. */
// biome-ignore lint/suspicious/noExplicitAny: an answer that tests know the shape of.
export async function register(server: TestServer, fields: object): Promise<any> {
  return (await done(server.json("POST", "/v2/phone_numbers", fields))).data;
}

/** Makes a profile with so many long codes of its own. */
export async function makePool(
  server: TestServer,
  { long = 1, profile = {}, number = {} }: { long?: number; profile?: object; number?: object } = {},
): Promise<{ readonly profileId: string; readonly numbers: readonly string[] }> {
  const profileId = await makeProfile(server, profile);
  const numbers = Array.from({ length: long }, () => freshNumber());
  for (const phone_number of numbers) {
    await register(server, { phone_number, messaging_profile_id: profileId, segments_per_second: 1000, ...number });
  }
  return { profileId, numbers };
}

/** Asks until the answer is as wanted, and gives it; throws with the last answer when it never is. */
export async function until<Answer>(
  ask: () => Promise<Answer>,
  isWanted: (answer: Answer) => boolean,
  within = 10_000,
): Promise<Answer> {
  const end = Date.now() + within;
  for (;;) {
    const answer = await ask();
    if (isWanted(answer)) return answer;
    if (Date.now() > end) throw new Error(`still ${JSON.stringify(answer)} after ${within} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function done(calling: ReturnType<TestServer["json"]>) {
  const { status, body } = await calling;
  if (status !== 200) throw new Error(`${status} ${JSON.stringify(body)}`);
  return body;
}
