import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { jsonOf, ONE_SENTENCE } from "../cli/numberpool.ts";
import { API_KEY, startServer, type TestServer, temporaryFolder } from "../server.ts";
import { freshDatabase } from "../store/postgres-database.ts";
import { makePool, until } from "../wire/pools.ts";
import { run } from "./program.ts";

const SKIPPING = { long_code_weight: 1, toll_free_weight: 1, skip_unhealthy: true };

const servers: TestServer[] = [];
const folder = temporaryFolder();
let database: string;

beforeAll(async () => {
  database = await freshDatabase();
  servers.push(await startServer({ database }), await startServer({ database }));
});

afterAll(async () => {
  for (const server of servers) if (server.process.exitCode === null) expect(await server.stop()).toBe(0);
  folder.remove();
});

/** Runs the command, which needs no database. */
async function reset(number: string, url: string, key: string | undefined, ...args: readonly string[]) {
  const command = run(["number", "reset-health", number, "--url", url, ...args], {
    NUMBERPOOL_DATABASE: `${folder.path}/none.db`,
    ...(key !== undefined && { NUMBERPOOL_API_KEY: key }),
  });
  const { code } = await command.exited;
  return { code, stdout: command.stdout(), stderr: command.stderr() };
}

describe("numberpool number reset-health", () => {
  it("calls one process, and all processes of the database pick the number again", async () => {
    const [one, two] = servers as [TestServer, TestServer];
    const { profileId, numbers } = await makePool(one, { profile: { number_pool_settings: SKIPPING } });
    const [number] = numbers as [string];
    /** The code of a refusal from the process's memory, "" for none. */
    const refusalBy = async (server: TestServer) => {
      const preview = { messaging_profile_id: profileId, to: "+13125550100" };
      const { body } = await server.json("POST", "/v2/messages/number_pool/preview", preview);
      return body.data.error?.code ?? "";
    };
    const fail = async () => {
      const failing = { messaging_profile_id: profileId, from: number, to: "+13125550109", text: "Fails" };
      await Promise.all(Array.from({ length: 12 }, () => one.json("POST", "/v2/messages", failing)));
      for (const server of servers)
        await until(
          () => refusalBy(server),
          (code) => code === "40321",
        );
    };

    await fail();
    const outcome = await reset(number, one.url, API_KEY, "--json");
    expect([outcome.code, outcome.stderr]).toEqual([0, ""]);
    const { data } = (await two.json("GET", `/v2/phone_numbers/${number}`)).body;
    expect(JSON.parse(outcome.stdout)).toEqual({
      id: data.id,
      phone_number: number,
      health_reset_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
    });
    expect(data).toMatchObject({
      health: { healthy: true },
      health_reset_at: JSON.parse(outcome.stdout).health_reset_at,
    });
    expect(await refusalBy(one)).toBe("");
    await until(
      () => refusalBy(two),
      (code) => code === "",
      2_000,
    );
  });

  it("ends with one sentence when there is no such number, key, scope or server", async () => {
    const [one] = servers as [TestServer];
    const { numbers } = await makePool(one);
    const { token } = await jsonOf(database, "key", "create", "--organization", "default", "--scopes", "send,read");
    const outcomes = [
      [await reset("+12125550000", one.url, API_KEY), /refused with 404/],
      [await reset(numbers[0] as string, one.url, undefined), /NUMBERPOOL_API_KEY/],
      [await reset(numbers[0] as string, one.url, token), /refused with 403/],
      [
        await reset(numbers[0] as string, "http://127.0.0.1:9", API_KEY),
        /No server answers at http:\/\/127\.0\.0\.1:9/,
      ],
    ] as const;
    for (const [{ code, stdout, stderr }, why] of outcomes) {
      expect([code, stdout]).toEqual([1, ""]);
      expect(stderr).toMatch(ONE_SENTENCE);
      expect(stderr).toMatch(why);
    }
  });
});
