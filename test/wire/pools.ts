import type { TestServer } from "../server.ts";

/** A pool that is on, with equal weights. */
export const ON = { long_code_weight: 1, toll_free_weight: 1 };

let registered = 0;

/** A long code, or with a toll-free area code a toll-free number, unused in this process. */
export function freshNumber(areaCode = "212"): string {
  registered += 1;
  return `+1${areaCode}556${String(registered).padStart(4, "0")}`;
}

/** Makes a profile for the US with its pool on, with `fields` over the defaults; gives its id. */
export async function makeProfile(server: TestServer, fields: object = {}): Promise<string> {
  const body = { name: "Wire", whitelisted_destinations: ["US"], number_pool_settings: ON, ...fields };
  const { data } = await done(server.json("POST", "/v2/messaging_profiles", body));
  return data.id;
}

/** Registers a number with `fields`; gives the server's response. */
// biome-ignore lint/suspicious/noExplicitAny: a response whose shape the tests know.
export async function register(server: TestServer, fields: object): Promise<any> {
  return (await done(server.json("POST", "/v2/phone_numbers", fields))).data;
}

/** Makes a profile with this many long codes. */
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

/**
 * Repeats a call until its response is as wanted; throws with the last response after a timeout.
 */
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
