import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { readNumberFile } from "../../../src/cli/number-file.ts";
import { makePool, PROGRAM, ROOT, rowsOf, run, sendTo } from "../../operation/program.ts";
import { startServer, type TestServer, temporaryFolder } from "../../server.ts";
import { jsonOf, numberpool, ONE_SENTENCE } from "../numberpool.ts";

const folder = temporaryFolder();
let databases = 0;
let files = 0;

afterAll(() => folder.remove());

/** A new database with the default organization. */
async function emptyDatabase(): Promise<string> {
  databases += 1;
  const database = join(folder.path, `numbers-${databases}.db`);
  await jsonOf(database, "key", "create", "--organization", "default");
  return database;
}

function fileOf(content: string | Uint8Array): string {
  files += 1;
  const path = join(folder.path, `numbers-${files}.csv`);
  writeFileSync(path, content);
  return path;
}

const importing = (database: string, file: string, ...more: string[]) =>
  numberpool(database, "number", "import", file, ...more);
const phoneNumbersIn = (database: string) =>
  rowsOf<{ phone_number: string }>(database, "SELECT phone_number FROM phone_numbers ORDER BY sequence").map(
    (row) => row.phone_number,
  );
/** So many numbers, all different, of many area codes. */
const manyNumbers = (count: number) =>
  Array.from({ length: count }, (_, index) => `+1${212 + (index % 3)}${2_000_000 + index}`);

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
    const [last, ...told] = stderr.trimEnd().split("\n").reverse();
    expect([code, stdout]).toEqual([1, ""]);
    expect(told.reverse()).toEqual(
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

describe("A file of numbers", () => {
  let database: string;

  beforeAll(async () => {
    database = await emptyDatabase();
  });

  it.each<[string, string | Uint8Array, string]>([
    ["that is empty", "", " is empty; the first line must name the columns."],
    ["of empty lines", "\n\r\n", " is empty; the first line must name the columns."],
    [
      "with unknown columns",
      "phone_number,Carrier,colour\n",
      ':1: unknown column "Carrier", "colour"; the columns are phone_number, messaging_profile_id, carrier, line_type, segments_per_second, daily_segment_limit, state, tags.',
    ],
    [
      "with a former name",
      "phone_number,daily_limit\n",
      ":1: the column daily_limit is called daily_segment_limit now; use that name.",
    ],
    ["without its header", "+12125550100\n", ':1: unknown column "+12125550100"; the columns are '],
    ["with a column twice", "\nphone_number,state,state\n", ":2: the header names state twice."],
    ["without numbers", "carrier\nsandbox\n", ":1: the column phone_number is missing."],
    ["with a broken header", 'phone_number,"tags\n', ":1: the header has a quote that is never closed."],
    ["in UTF-16", Buffer.from("\ufeffphone_number\n+12125550100\n", "utf16le"), " is not UTF-8."],
  ])("%s is refused in one sentence", (_what, content, told) => {
    const file = fileOf(content);
    expect(() => readNumberFile(file)).toThrow(`${file}${told}`);
    expect(() => readNumberFile(file)).toThrow(/^[^\n]+\.$/);
  });

  it("with an unknown column is refused by the program, whatever is skipped", async () => {
    const file = fileOf("phone_number,colour\n+12125550100,red\n");
    const { code, stdout, stderr } = await importing(database, file, "--skip-bad");
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(ONE_SENTENCE);
    expect(stderr).toContain(`numberpool: ${file}:1: unknown column "colour"; the columns are phone_number, `);
    expect(phoneNumbersIn(database)).toEqual([]);
  });

  it("that cannot be read is refused in one sentence", async () => {
    const missing = join(folder.path, "missing.csv");
    const { code, stderr } = await importing(database, missing);
    expect([code, stderr]).toEqual([1, `numberpool: ${missing} cannot be read (ENOENT).\n`]);
    expect(() => readNumberFile(folder.path)).toThrow(`${folder.path} cannot be read (EISDIR).`);
  });

  it("with nothing but its header is imported", async () => {
    const { code, stdout } = await importing(database, fileOf('"phone_number"\r\n'));
    expect(code).toBe(0);
    expect(stdout).toMatch(/: 0 of 0 rows imported into default\.\n$/);
  });
});

describe("Bad rows", () => {
  it("are reported up to a hundred, then counted; with --skip-bad the others are imported once", async () => {
    const database = await emptyDatabase();
    const good = manyNumbers(1_500);
    const rows = good.flatMap((number, index) => (index % 10 === 0 ? [number, `bad ${index}`] : [number]));
    const file = fileOf(["phone_number", ...rows].join("\n"));

    const strict = await importing(database, file);
    expect([strict.code, strict.stdout]).toEqual([1, ""]);
    const lines = strict.stderr.trimEnd().split("\n");
    expect(lines).toHaveLength(102);
    expect(lines[0]).toMatch(new RegExp(`^${file}:3: phone_number must be `));
    expect(lines[99]).toMatch(new RegExp(`^${file}:${99 * 11 + 3}: `));
    expect(lines[100]).toBe(`${file}: 50 rows more.`);
    expect(lines[101]).toContain("150 of 1,650 rows are bad");
    expect(phoneNumbersIn(database)).toEqual([]);

    const first = await importing(database, file, "--skip-bad");
    expect([first.code, first.stdout]).toEqual([
      0,
      `${file}: 1,500 of 1,650 rows imported into default; 150 rows skipped.\n`,
    ]);
    expect(first.stderr.trimEnd().split("\n")).toEqual(lines.slice(0, 101));
    expect(phoneNumbersIn(database)).toEqual(good);

    const again = await numberpool(database, "number", "import", file, "--skip-bad", "--json");
    const outcome = JSON.parse(again.stdout);
    expect({ ...outcome, errors: outcome.errors.length }).toEqual({
      file,
      organization: "default",
      rows: 1_650,
      imported: 0,
      bad: 1_650,
      errors: 100,
    });
    expect(outcome.errors[0]).toEqual({ line: 2, reason: "The phone number is already registered." });
    const refused = await numberpool(database, "number", "import", file, "--json");
    expect([refused.code, JSON.parse(refused.stdout)]).toEqual([1, outcome]);
    expect(phoneNumbersIn(database)).toEqual(good);
  });
});

describe("A long import", () => {
  it("beside a server under load delays no send", async () => {
    const server = await startServer({ database: join(folder.path, "busy.db") });
    const profile = await makePool(server, [{ phone_number: "+12125550100", segments_per_second: 1_000 }]);
    await sendTo(server, profile, "+13125550100");
    const rows = manyNumbers(4_000).map((number) => `${number},${profile}`);
    const file = fileOf(["phone_number,messaging_profile_id", ...rows].join("\n"));
    let isOver = false;
    let slowest = 0;
    let refused = 0;
    const sending = Promise.all(
      Array.from({ length: 2 }, async () => {
        while (!isOver) {
          const since = performance.now();
          const { status } = await sendTo(server, profile, "+13125550100");
          if (status !== 200) refused += 1;
          slowest = Math.max(slowest, performance.now() - since);
        }
      }),
    );
    expect((await importing(server.database, file)).code).toBe(0);
    await vi.waitFor(
      async () => {
        const { body } = await sendTo(server, profile, "+13125550100");
        expect(body.data.decision.pool_size).toBe(4_001);
      },
      { timeout: 3_000, interval: 20 },
    );
    isOver = true;
    await sending;
    expect(refused).toBe(0);
    expect(slowest).toBeLessThan(2_000);
    expect(server.stderr()).toBe("");
    expect(await server.stop()).toBe(0);
  });

  it("refuses a number that another organization has before the first is written, unless that is allowed", async () => {
    const database = await emptyDatabase();
    await jsonOf(database, "key", "create", "--organization", "other");
    const [taken = "", free = ""] = manyNumbers(2);
    expect((await importing(database, fileOf(`phone_number\n${taken}`), "--organization", "other")).code).toBe(0);
    const file = fileOf(["phone_number", free, taken].join("\n"));
    const { code, stderr } = await importing(database, file);
    expect(code).toBe(1);
    expect(stderr).toContain(
      `${file}:3: Another organization has registered the phone number; --allow-shared-numbers allows`,
    );
    expect(phoneNumbersIn(database)).toEqual([taken]);
    expect((await importing(database, file, "--allow-shared-numbers")).code).toBe(0);
    expect(phoneNumbersIn(database)).toEqual([taken, free, taken]);
  });

  it("that is interrupted says what was written, and the next run with --skip-bad completes it", async () => {
    const database = await emptyDatabase();
    const numbers = manyNumbers(8_000);
    const file = fileOf(["phone_number", ...numbers].join("\n"));
    const started = run(["number", "import", file], { NUMBERPOOL_DATABASE: database });
    await vi.waitFor(() => expect(phoneNumbersIn(database).length).toBeGreaterThan(0), {
      timeout: 15_000,
      interval: 5,
    });
    started.process.kill("SIGINT");
    const { code } = await started.exited;
    const written = phoneNumbersIn(database);
    expect([code, started.stdout()]).toEqual([1, ""]);
    expect(started.stderr()).toMatch(ONE_SENTENCE);
    expect(started.stderr()).toContain(
      `numberpool: ${written.length} of ${numbers.length} rows were written before the import ended (interrupted); run it again with --skip-bad`,
    );
    expect(written.length).toBeLessThan(numbers.length);
    expect(written).toEqual(numbers.slice(0, written.length));

    const rest = await jsonOf(database, "number", "import", file, "--skip-bad");
    expect([rest.imported, rest.bad]).toEqual([numbers.length - written.length, written.length]);
    expect(phoneNumbersIn(database)).toEqual(numbers);
  });

  const hasScript = spawnSync("script", ["--version"]).status === 0;

  it.skipIf(!hasScript)(
    `shows its progress on a terminal${hasScript ? "" : " (skipped: script is not installed)"}, and only there`,
    async () => {
      const database = await emptyDatabase();
      const file = fileOf(["phone_number", ...manyNumbers(2_000)].join("\n"));
      const command = [process.execPath, PROGRAM, "number", "import", file, "--database", database].join(" ");
      const shown = spawnSync("script", ["-qefc", command, "/dev/null"], { cwd: ROOT, encoding: "utf8" });
      expect(shown.status).toBe(0);
      const [bar = ""] = shown.stdout.split("\x1b[K");
      expect(bar).toMatch(/^\r(checking|importing) \[=* *\] \d+ %$/);
      expect(shown.stdout.split("\x1b[K").at(-1)).toBe(`${file}: 2,000 of 2,000 rows imported into default.\r\n`);
      const piped = await importing(database, file, "--skip-bad");
      expect(piped.stderr).not.toContain("\x1b");
    },
  );
});
