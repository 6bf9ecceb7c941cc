import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { makePool, rowsOf, sendTo } from "../../operation/program.ts";
import { startServer, type TestServer } from "../../server.ts";
import { jsonOf, ONE_SENTENCE } from "../numberpool.ts";
import { createNumberFiles, importing, phoneNumbersIn } from "./number-files.ts";

const folder = createNumberFiles();
const { fileOf } = folder;

afterAll(() => folder.remove());

describe("An import", () => {
  let server: TestServer;
  let profile: string;

  beforeAll(async () => {
    server = await startServer({ database: join(folder.path, "served.db") });
    profile = await makePool(server, [{ phone_number: "+12125550100" }]);
  });

  afterAll(() => server?.stop());

  it("registers each number with what its row says, beside a server that then sends from it", async () => {
    const file = fileOf(
      [
        "\ufefftags,phone_number,daily_segment_limit,segments_per_second,line_type,state,carrier,messaging_profile_id",
        `"a, b; ""c"" ;ü",+13105550101,100000000,0.5,long_code,active,sandbox,${profile}`,
        `"line\nbreak",+13105550102,,10000,longcode,paused,,${profile}`,
        ",+18005550103,0,,,draining,,",
        '"",+18005550104,,3,tollfree,,,',
        "",
      ].join("\r\n"),
    );
    const { code, stdout, stderr } = await importing(server.database, file);
    expect([code, stdout, stderr]).toEqual([0, `${file}: 4 of 4 rows imported into default.\n`, ""]);
    const of = async (number: string) => (await server.json("GET", `/v2/phone_numbers/${number}`)).body.data;
    expect(await of("+13105550101")).toMatchObject({
      messaging_profile_id: profile,
      carrier: "sandbox",
      line_type: "long_code",
      segments_per_second: 0.5,
      daily_segment_limit: 100_000_000,
      state: "active",
      country_code: "US",
      tags: ["a, b", '"c"', "ü"],
    });
    expect(await of("+13105550102")).toMatchObject({
      tags: ["line\nbreak"],
      state: "paused",
      segments_per_second: 1e4,
    });
    const plain = { messaging_profile_id: null, carrier: "sandbox", line_type: "toll_free", tags: [] };
    expect(await of("+18005550103")).toMatchObject({
      ...plain,
      daily_segment_limit: 0,
      segments_per_second: 3,
      state: "draining",
    });
    expect(await of("+18005550104")).toMatchObject({ ...plain, daily_segment_limit: null, state: "active" });

    await vi.waitFor(
      async () => {
        const { body } = await sendTo(server, profile, "+13105550100");
        expect(body.data.from.phone_number).toBe("+13105550101");
      },
      { timeout: 1_000, interval: 20 },
    );
  });

  it("gives the same numbers as the API does, with the same defaults", async () => {
    const [ours, theirs] = ["+442071838750", "+442071838751"] as const;
    const { code } = await importing(server.database, fileOf(`phone_number\n${ours}\n`));
    expect(code).toBe(0);
    expect((await server.json("POST", "/v2/phone_numbers", { phone_number: theirs })).status).toBe(200);
    const [mine, other] = rowsOf<Record<string, unknown>>(
      server.database,
      "SELECT * FROM phone_numbers WHERE phone_number IN (?, ?) ORDER BY phone_number",
      ours,
      theirs,
    );
    const own = { sequence: 0, id: "", phone_number: "", created_at: 0, updated_at: 0 };
    expect({ ...mine, ...own }).toEqual({ ...other, ...own });
    expect(mine?.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-/);
  });

  it("reports every bad row with its line, and writes nothing", async () => {
    const stranger = await jsonOf(server.database, "key", "create", "--organization", "stranger");
    let theirs = "";
    await vi.waitFor(async () => {
      const made = await server.json(
        "POST",
        "/v2/messaging_profiles",
        { name: "Theirs", whitelisted_destinations: ["US"] },
        { authorization: `Bearer ${stranger.token}` },
      );
      expect(made.status).toBe(200);
      theirs = made.body.data.id;
    });
    const before = phoneNumbersIn(server.database);
    const bad: [string, RegExp][] = [
      ["12125550100,,,,,,,", /^phone_number must be a possible number in E\.164 form/],
      ["+610412555010,,,,,,,", /^phone_number \+610412555010 has a national prefix after .* E\.164 .* \+61412555010 /],
      [",,sandbox,,,,,", /^phone_number is required\.$/],
      ["+12125550100,,,,,,,", /^The phone number is already registered\.$/],
      ["+12125550199,,,,,,,", /^The phone number is already on line 2\.$/],
      ["+12125550191,nonsense,,,,,,", /^The organization has no messaging profile with this id\.$/],
      [`+12125550191,${theirs},,,,,,`, /^The organization has no messaging profile with this id\.$/],
      ["+12125550191,,other,,,,,", /^carrier must be one of the configured carriers: sandbox\.$/],
      ["+12125550191,,,landline,,,,", /^line_type must be one of long_code, toll_free\.$/],
      ["+12125550191,,,,fast,,,", /^segments_per_second must be a number\.$/],
      ["+12125550191,,,,0,,,", /^segments_per_second must be a number from 0\.001 to 10000\.$/],
      ["+12125550191,,,,,1.5,,", /^daily_segment_limit must be an integer\.$/],
      ["+12125550191,,,,,-1,,", /^daily_segment_limit must be an integer from 0 to 100000000/],
      ["+12125550191,,,,,,asleep,", /^state must be one of active, draining, paused\.$/],
      [`+12125550191,,,,,,,${"x".repeat(101)}`, /^tags\[0\] must have 1 to 100 characters\.$/],
      ["+12125550191,,,,,,,a;;b", /^tags\[1\] must have 1 to 100 characters\.$/],
      [`+12125550191,,,,,,,${Array(21).fill("t").join(";")}`, /^tags must hold at most 20 labels\.$/],
      ["+12125550191", /^The row has 1 fields, the header 8\.$/],
      ["+12125550191,,,,,,,,", /^The row has 9 fields, the header 8\.$/],
      ['"+12125550191"x,,,,,,,', /^The row has text after a closing quote\.$/],
    ];
    const header =
      "phone_number,messaging_profile_id,carrier,line_type,segments_per_second,daily_segment_limit,state,tags";
    const rows = ["+12125550199,,,,,,,", ...bad.map(([row]) => row), "+12125550191,,,,,,,"];
    const file = fileOf([header, ...rows].join("\n"));
    const { code, stdout, stderr } = await importing(server.database, file);
    const [last, ...reported] = stderr.trimEnd().split("\n").reverse();
    expect([code, stdout]).toEqual([1, ""]);
    expect(reported.reverse()).toEqual(
      bad.map(([, reason], index) =>
        expect.stringMatching(`^${file}:${index + 3}: ${reason.source.replace(/^\^/, "")}`),
      ),
    );
    expect(last).toBe(
      `numberpool: ${file}: 20 of 22 rows are bad, so none was imported; correct the file, or skip them with --skip-bad.`,
    );
    expect(phoneNumbersIn(server.database)).toEqual(before);
    expect(server.stderr()).toBe("");
  });

  it("belongs to the named organization, which must exist", async () => {
    await jsonOf(server.database, "key", "create", "--organization", "x y");
    const file = fileOf("phone_number\n+12125550199\n");
    expect(await jsonOf(server.database, "number", "import", file, "--organization", "x y")).toEqual({
      file,
      organization: "x y",
      rows: 1,
      imported: 1,
      bad: 0,
      errors: [],
    });
    const { code, stdout, stderr } = await importing(server.database, file, "--organization", "X Y");
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(ONE_SENTENCE);
    expect(stderr).toContain('No organization is named "X Y"');
  });
});
